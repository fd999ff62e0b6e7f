"""An instance's serial console, read from the socket of its QEMU.

QEMU drops what nobody reads, so a console is attached before the guest can say
something there, and read until the QEMU ends.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from testbedlib.node import Node

from . import guest
from .errors import DemoFailed

#: As Ganeti names it; /var/run would lead out of the node's tree, as it is a link.
SOCKET = "/run/ganeti/kvm-hypervisor/ctrl/%s.serial"
POLL_SECONDS = 0.02
EVIDENCE_LINES = 20
CHUNK = 65536

Result = TypeVar("Result")


class Console:
    """The console of an instance on one node, read by a thread of its own."""

    def __init__(self, node: Node, instance: str) -> None:
        self.node_name = node.name
        self._path = node.inside(SOCKET % instance)
        self._chunks: list[tuple[float, bytes]] = []
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._connect() as connection:
            connection.settimeout(0.5)
            while not self._closed.is_set():
                try:
                    data = connection.recv(CHUNK)
                except TimeoutError:
                    continue
                except OSError:  # as a QEMU ends that is killed
                    return
                if not data:
                    return
                self._chunks.append((time.monotonic(), data))

    def _connect(self) -> socket.socket:
        """Wait until the QEMU is there; a stale socket refuses."""
        while not self._closed.is_set():
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                connection.connect(self._path)
                return connection
            except OSError:
                connection.close()
                self._closed.wait(POLL_SECONDS)
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def chunks(self) -> list[tuple[float, bytes]]:
        """What was read so far."""
        return list(self._chunks)

    def wait_end(self, seconds: float) -> None:
        """Return when the QEMU has ended and all it sent is read."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise DemoFailed(
                "the console on %s is still open after %g s" % (self.node_name, seconds),
                evidence=tail(self.chunks()),
            )

    def close(self) -> None:
        """Stop reading; may be repeated."""
        self._closed.set()
        self._thread.join(5)


class Boot:
    """One boot of the guest, from console to console as it is migrated.

    The stream is one: a QEMU is done sending before the next one resumes.
    """

    def __init__(self, node: Node, instance: str) -> None:
        self._instance = instance
        self._consoles = [Console(node, instance)]

    @property
    def node(self) -> str:
        """Where the guest runs now, or is about to."""
        return self._consoles[-1].node_name

    def follow_to(self, node: Node) -> None:
        """Attach to the node that the guest is about to be migrated to."""
        self._consoles.append(Console(node, self._instance))

    def _chunks(self) -> list[tuple[float, bytes]]:
        return [chunk for console in self._consoles for chunk in console.chunks()]

    def events(self) -> list[guest.GuestEvent]:
        """All the guest said since it booted, in order."""
        return guest.parse(self._chunks())

    def here(self) -> list[guest.GuestEvent]:
        """What it said where it runs now."""
        return guest.parse(self._consoles[-1].chunks())

    def text(self) -> str:
        """All of the console."""
        return "\n".join(_lines(self._chunks()))

    def evidence(self, line: int | None = None) -> str:
        """The last lines of the console, or those around a line."""
        chunks = self._chunks()
        return tail(chunks) if line is None else around(chunks, line)

    def wait(
        self, condition: Callable[[list[guest.GuestEvent]], Result], seconds: float, what: str
    ) -> Result:
        """The first true result of `condition` on the events, which must be unbroken."""
        end = time.monotonic() + seconds
        while True:
            events = self.events()
            self.check()
            result = condition(events)
            if result:
                return result
            if time.monotonic() > end:
                raise DemoFailed(
                    "the guest did not say within %g s: %s" % (seconds, what),
                    evidence=self.evidence(),
                )
            time.sleep(POLL_SECONDS)

    def check(self) -> None:
        """Raises `DemoFailed` with the console's end if a record is missing."""
        try:
            guest.check_unbroken(self.events())
        except DemoFailed as err:
            raise DemoFailed(err.message, evidence=self.evidence(err.line)) from err

    def wait_end(self, seconds: float) -> None:
        """Return when no QEMU has the console open any more."""
        for console in self._consoles:
            console.wait_end(seconds)

    def close(self) -> None:
        for console in self._consoles:
            console.close()


def _lines(chunks: list[tuple[float, bytes]]) -> list[str]:
    """A console's lines, fit for printing."""
    text = b"".join(data for _, data in chunks).decode("ascii", "replace")
    return [
        "".join(c if c.isprintable() else "?" for c in line.rstrip("\r"))
        for line in text.split("\n")
    ]


def tail(chunks: list[tuple[float, bytes]], lines: int = EVIDENCE_LINES) -> str:
    """The last lines of a console."""
    return "\n".join([line for line in _lines(chunks) if line.strip()][-lines:])


def around(chunks: list[tuple[float, bytes]], line: int, lines: int = EVIDENCE_LINES) -> str:
    """The lines of a console up to a line, and a few after it."""
    shown = _lines(chunks)[max(line - lines, 0) : line + 4]
    return "\n".join(each for each in shown if each.strip())
