"""Requests from the process that serves to the one that may carry them out.

Everything that the first one can request is defined here: a verb with nodes and services, or one
of the commands of commands.py, about what the second one knows.  Both sides exchange lines of
JSON.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from queue import Empty, SimpleQueue
from typing import Any

from ganeti_gluster.core.services.config import GLUSTER_SWIFT
from ganeti_gluster.core.services.control import Outcome
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import decode
from ganeti_gluster.tools.decode import Name, NotUnderstood, Serial
from ganeti_gluster.web.actions import Order, make_order
from ganeti_gluster.web.commands import CommandOrder

#: The longest line of an order, in bytes; a hundred nodes with long names fit.
MAX_LINE = 64 * 1024

#: The line that says that somebody looks, and the seconds between two of them.
LOOK = b"look"
LOOK_EVERY = 10.0

#: Seconds for a command to begin.
BEGIN_SECONDS = 30.0

#: The name of lines that carry outcomes, beside those of facts.
OUTCOME = "outcome"

log = logging.getLogger(__name__)


class OrderFailed(GanetiGlusterError):
    """The other process could not carry an order out."""


@dataclass(frozen=True)
class _Asked:
    """What the asking side sends."""

    id: Serial
    verb: Name
    nodes: tuple[Name, ...]
    services: tuple[Name, ...]
    user: Name = ""
    type: Name = GLUSTER_SWIFT


@dataclass(frozen=True)
class _AskedCommand:
    """What the asking side sends to have a command begun."""

    id: Serial
    command: CommandOrder


class Orders:
    """The asking side; thread-safe."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._last = 0
        self._waiting: dict[int, SimpleQueue[dict[str, Any]]] = {}
        self._looked = -LOOK_EVERY

    def __call__(self, order: Order, report: Callable[[Outcome], None]) -> None:
        """Have an order carried out; a Controller of actions.py."""
        with self._asked(asdict(order)) as answers:
            while True:
                said = answers.get()
                for outcome in said["outcomes"]:
                    report(decode.build(Outcome, outcome))
                if said["end"]:
                    break
        if said["error"]:
            raise OrderFailed(said["error"])

    def begin(self, order: CommandOrder) -> int:
        """Have a command begun, and return its number; raises OrderFailed."""
        with self._asked({"command": asdict(order)}) as answers:
            try:
                said = answers.get(timeout=BEGIN_SECONDS)
            except Empty:
                raise OrderFailed("no answer within %d s" % BEGIN_SECONDS) from None
        if said["error"]:
            raise OrderFailed(said["error"])
        return int(said["begun"])

    @contextlib.contextmanager
    def _asked(self, request: dict[str, Any]) -> Iterator[SimpleQueue[dict[str, Any]]]:
        """Send a request, and take its answers in the block."""
        answers: SimpleQueue[dict[str, Any]] = SimpleQueue()
        with self._lock:
            self._last += 1
            number = self._last
            self._waiting[number] = answers
        try:
            self._send(json.dumps({"id": number, **request}).encode("ascii") + b"\n")
            yield answers
        finally:
            with self._lock:
                del self._waiting[number]

    def look(self) -> None:
        """Tell that somebody looks at the page; no more often than is needed."""
        now = time.monotonic()
        if now - self._looked >= LOOK_EVERY:
            self._looked = now
            self._send(LOOK + b"\n")

    def hear(self, said: dict[str, Any]) -> None:
        """Take an answer, as `answer` makes it."""
        with self._lock:
            waiting = self._waiting.get(said["id"])
        if waiting is not None:
            waiting.put(said)


def answer(
    number: int,
    outcomes: list[Outcome],
    *,
    end: bool = False,
    error: str = "",
    begun: int = 0,
) -> bytes:
    """A line for `Orders.hear`; `begun` is the number of a command."""
    said = {
        "name": OUTCOME,
        "id": number,
        "outcomes": [decode.as_data(outcome) for outcome in outcomes],
        "end": end,
        "error": error,
        "begun": begun,
    }
    return json.dumps(said).encode("ascii") + b"\n"


#: Carries an order out, and reports the outcomes of each node as they come.
CarryOut = Callable[[Order, Callable[[list[Outcome]], None]], None]


def obey(
    line: bytes,
    carry_out: CarryOut,
    send: Callable[[bytes], None],
    *,
    begin: Callable[[CommandOrder], int],
    known_nodes: Callable[[], list[str]],
    known_services: Callable[[str], list[str]],
) -> None:
    """Do what a line asks for, if it is an order for what there is, and answer it.

    The line comes from the process that talks to the network, and is not trusted.
    """
    number = 0
    try:
        data = decode.plain(line, longest=MAX_LINE)
        is_command = isinstance(data, dict) and "command" in data
        said: _Asked | _AskedCommand
        said = decode.build(_AskedCommand, data) if is_command else decode.build(_Asked, data)
        number = said.id
    except NotUnderstood as err:
        log.error("not an order: %s", err.detail)
        send(answer(number, [], end=True, error="not an order"))
        return
    error, begun = "", 0
    try:
        if isinstance(said, _AskedCommand):
            begun = begin(said.command)
        else:
            order = make_order(
                said.verb,
                said.nodes,
                said.services,
                known_nodes=known_nodes(),
                known_services=known_services(said.type),
                type=said.type,
            )
            carry_out(
                replace(order, user=said.user), lambda outcomes: send(answer(number, outcomes))
            )
    except GanetiGlusterError as err:
        error = str(err)
    except Exception as err:  # whatever it is, the process that waits gets it
        log.exception("order %d", number)
        error = str(err) or type(err).__name__
    send(answer(number, [], end=True, error=error, begun=begun))
