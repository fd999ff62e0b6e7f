"""A command of a node at a terminal, as a person has it."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import time
from collections.abc import Iterator, Sequence

from testbedlib.node import Node, enter_argv

INTERRUPT = "\x03"


class Terminal:
    """A terminal with one command; `text` is all that it has shown."""

    def __init__(self, pid: int, descriptor: int) -> None:
        self._pid = pid
        self._descriptor = descriptor
        self.text = ""

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def until(self, text: str, seconds: float) -> None:
        """Wait until `text` has been shown."""
        deadline = time.monotonic() + seconds
        while text not in self.text:
            assert self._read(deadline), "not shown: %r, but %r" % (text, self.text)

    def end(self, seconds: float) -> int:
        """Wait for the command's end and return its exit status.

        It is -2 after `INTERRUPT`, which ends nsenter(1) as well.
        """
        deadline = time.monotonic() + seconds
        while self._read(deadline):
            pass
        assert time.monotonic() < deadline, "it does not end: %r" % self.text
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        """Hang up, which ends a command that still runs."""
        os.close(self._descriptor)
        if self._pid:
            os.waitpid(self._pid, 0)

    def _read(self, deadline: float) -> bool:
        """Take what has been shown meanwhile; False at the end of it, or of the time."""
        ready = select.select([self._descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]
        try:
            data = os.read(self._descriptor, 65536) if ready else b""
        except OSError:  # how Linux tells that the other side is closed
            data = b""
        self.text += data.decode().replace("\r\n", "\n")
        return bool(data)


@contextlib.contextmanager
def terminal(node: Node, argv: Sequence[str], **environment: str) -> Iterator[Terminal]:
    """Run a command of a node at a terminal."""
    leader = node.leader()
    assert leader is not None, "%s does not run" % node.name
    command = ["/usr/bin/env", *("%s=%s" % pair for pair in environment.items()), *argv]
    entered = enter_argv(leader, command)
    pid, descriptor = pty.fork()
    if pid == 0:
        # Shells start what runs in the background with this signal ignored.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execve(entered[0], entered, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    found = Terminal(pid, descriptor)
    try:
        yield found
    finally:
        found.close()
