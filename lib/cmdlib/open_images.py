"""What the servers of open images say, asked of their nodes from the master."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ganeti_gluster.core.pool.agents import Channel
from ganeti_gluster.tools.command import CommandFailed

_COMMAND = ("/usr/bin/python3", "-P", "-m", "ganeti_gluster.core.serve.fleet", "status")
_SECONDS = 15.0


def statuses(nodes: Iterable[str], channel: Channel) -> dict[str, dict[str, Any]]:
    """For each node what its servers say, by key; nothing for a node that does not answer."""
    return {node: _ask(node, channel) for node in nodes}


def _ask(node: str, channel: Channel) -> dict[str, Any]:
    try:
        done = channel(node, list(_COMMAND), timeout=_SECONDS)
        answer = json.loads(done.stdout) if done.exit_code == 0 else {}
    except (CommandFailed, ValueError):
        return {}
    return answer if isinstance(answer, dict) else {}


def in_words(status: Mapping[str, Any] | None) -> str:
    """How an open image is served: "serving", or since when requests wait and why."""
    if not isinstance(status, Mapping):
        return ""
    state, why = _text(status.get("state")), _text(status.get("why"))
    since = status.get("waiting")
    if state != "waiting":
        return ": ".join(filter(None, [state, why if state == "lost" else ""]))
    if isinstance(since, (int, float)) and 0 < since < 1 << 40:
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since))
        return "requests waiting since %s: %s" % (clock, why)
    return "requests waiting: %s" % why


def _text(value: object) -> str:
    """Text of a node's, fit for a terminal."""
    return "".join(c for c in value[:300] if c.isprintable()) if isinstance(value, str) else ""
