"""The cluster's nodes as the pool's crew, over Ganeti's SSH."""

from __future__ import annotations

import logging
import os
import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from ganeti import constants, pathutils, ssconf, ssh

from ganeti_gluster import command, decode, private
from ganeti_gluster import constants as our_constants
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.pool.crew import Crew
from ganeti_gluster.pool.facts import NodeFacts

LOCK_FILE = our_constants.RUN_DIR + "/pool.lock"
LOG_FILE = os.path.join(pathutils.LOG_DIR, "gluster-pool.log")

LOOK_SECONDS = 60
#: Bytes that a node may answer: as many as the answer may have characters.
LONGEST_ANSWER = decode.LONGEST


@dataclass(frozen=True)
class ClusterNode:
    """A node as Ganeti has it."""

    name: str
    group: str
    offline: bool
    vm_capable: bool
    address: str


def cluster_nodes(client: Any) -> list[ClusterNode]:
    """All nodes of the cluster, by name."""
    fields = ["name", "group", "offline", "vm_capable", "pip"]
    return [ClusterNode(*row) for row in sorted(client.QueryNodes([], fields, False))]


class SshChannel:
    """Runs commands on nodes by Ganeti's SSH, and on this one without."""

    def __init__(self) -> None:
        store = ssconf.SimpleStore()
        self._runner = ssh.SshRunner(cluster_name=store.GetClusterName())
        self._own_name = ssconf.GetMasterAndMyself(ss=store)[1]
        self._ports = store.GetSshPortMap()

    def __call__(self, node: str, argv: Sequence[str], *, timeout: float) -> command.CommandResult:
        """Run `argv` on a node, whatever its exit status (255: not reached).

        A node that answers more than `LONGEST_ANSWER` raises `CommandFailed`.
        """
        if node != self._own_name:
            argv = self._runner.BuildCmd(
                node,
                constants.SSH_LOGIN_USER,
                shlex.join(argv),
                port=self._ports.get(node),
                quiet=False,
            )
        return command.run(argv, timeout=timeout, check=False, longest=LONGEST_ANSWER)


def crew() -> Crew:
    """The nodes of this cluster."""
    return Crew(SshChannel())


def look(
    workers: Crew, nodes: Sequence[str], *, directory: str, volume: str, device: str
) -> tuple[dict[str, NodeFacts], dict[str, str]]:
    """The facts about the nodes, and why there are none of some."""
    arguments: Mapping[str, Any] = {
        "servers": list(nodes),
        "directory": directory,
        "volume": volume,
        "device": device,
    }
    answers, errors = workers.try_all(
        "look",
        {node: {**arguments, "now": time.time()} for node in nodes},
        timeout=LOOK_SECONDS,
    )
    return {node: answers[node] for node in nodes if node in answers}, errors


def exclusive(*, seconds: float = 0) -> AbstractContextManager[int]:
    """One at a time changes the pool; raises if another still does after `seconds`."""
    refusal = GanetiGlusterError("another command is changing the pool", hint="wait for it to end")
    return private.locked(LOCK_FILE, seconds=seconds, refusal=refusal)


def logger() -> logging.Logger:
    """The log of what was done to the pool, on the node where it was started."""
    found = logging.getLogger("ganeti_gluster.pool")
    if not found.handlers:
        handler = logging.StreamHandler(private.append(LOG_FILE))
        handler.setFormatter(logging.Formatter("%(asctime)s pid=%(process)d %(message)s"))
        found.addHandler(handler)
        found.setLevel(logging.INFO)
        found.propagate = False
    return found
