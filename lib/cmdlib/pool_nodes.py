"""The pool's agents on the cluster's nodes, through Ganeti's SSH."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from ganeti import pathutils

from ganeti_gluster import constants as our_constants
from ganeti_gluster.cmdlib import cluster
from ganeti_gluster.core.pool.agents import Agents
from ganeti_gluster.core.pool.facts import CandidateFacts
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import private

LOCK_FILE = our_constants.RUN_DIR + "/pool.lock"
LOG_FILE = os.path.join(pathutils.LOG_DIR, "gluster-pool.log")

LOOK_SECONDS = 60


def agents() -> Agents:
    """The nodes of this cluster."""
    return Agents(cluster.SshChannel())


def look(
    workers: Agents,
    names: Sequence[str],
    *,
    directory: str,
    volume: str,
    device: str,
    hosts: Mapping[str, str] | None = None,
) -> tuple[dict[str, CandidateFacts], dict[str, str]]:
    """The facts about the nodes, and why there are none of some.

    `hosts` is what nodes are called in the pool, where that is not their name.
    """
    arguments: Mapping[str, Any] = {
        "servers": [(hosts or {}).get(node, node) for node in names],
        "directory": directory,
        "volume": volume,
        "device": device,
    }
    answers, errors = workers.try_all(
        "look",
        {node: {**arguments, "now": time.time()} for node in names},
        timeout=LOOK_SECONDS,
    )
    return {node: answers[node] for node in names if node in answers}, errors


def exclusive(*, seconds: float = 0) -> AbstractContextManager[int]:
    """One at a time changes the pool; raises if another still does after `seconds`."""
    refusal = GanetiGlusterError(
        "another command is changing the pool", hint="wait until it has finished"
    )
    return private.locked(LOCK_FILE, seconds=seconds, refusal=refusal)


def logger() -> logging.Logger:
    """The log of what was done to the pool, on the node where it was started."""
    log = logging.getLogger("ganeti_gluster.core.pool")
    if not log.handlers:
        handler = logging.StreamHandler(private.append(LOG_FILE))
        handler.setFormatter(logging.Formatter("%(asctime)s pid=%(process)d %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
    return log
