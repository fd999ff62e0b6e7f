"""The state of image servers, queried from their nodes by the master."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from ganeti_gluster.core.pool.agents import Channel
from ganeti_gluster.core.serve.control import LOST, SERVING, WAITING
from ganeti_gluster.core.verify.bounded import look
from ganeti_gluster.tools import decode
from ganeti_gluster.tools.command import CommandFailed
from ganeti_gluster.tools.decode import Moment, Name, NotUnderstood, OneOf, Sentence

_COMMAND = ("/usr/bin/python3", "-P", "-m", "ganeti_gluster.core.serve.fleet", "status")
_SECONDS = 15.0
#: Seconds beside, to end a command that takes longer.
_MORE_SECONDS = 5.0


@dataclass(frozen=True)
class ServerState:
    """A server's status, as in `serve.control.Status`; a newer server may send more fields."""

    state: Annotated[str, OneOf((SERVING, WAITING, LOST))]
    waiting: Moment
    why: Sentence


def statuses(nodes: Iterable[str], channel: Channel) -> dict[str, dict[str, ServerState]]:
    """The status of each node's servers, by key; nothing for a node that does not answer."""
    answers = look(
        {node: partial(_ask, node, channel) for node in nodes}, seconds=_SECONDS + _MORE_SECONDS
    )
    for answer in answers.values():
        if not isinstance(answer.error, CommandFailed | NotUnderstood | TimeoutError | None):
            raise answer.error
    return {node: answer.value or {} for node, answer in answers.items()}


def _ask(node: str, channel: Channel) -> dict[str, ServerState]:
    done = channel(node, list(_COMMAND), timeout=_SECONDS)
    if done.exit_code != 0:
        return {}
    found: dict[str, ServerState] = decode.value(
        dict[Name, ServerState], decode.plain(done.stdout)
    )
    return found


def in_words(status: ServerState) -> str:
    """How an open image is served: "serving", or since when requests wait and why."""
    if status.state == LOST and status.why:
        return "%s: %s" % (status.state, status.why)
    if status.state != WAITING:
        return status.state
    if not status.waiting:
        return "requests waiting: %s" % status.why
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(status.waiting))
    return "requests waiting since %s: %s" % (clock, status.why)
