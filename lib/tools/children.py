"""Work in forked children: whatever one of them leaves behind, or hangs in, ends with it.

A child has all that its parent has loaded, so it begins at once.  What it returns are bytes.
One that cannot be killed, since the kernel waits for a disk that is dead, is left alone.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ganeti_gluster.errors import GanetiGlusterError

#: Bytes that a child may return.
LONGEST = 8 * 1024 * 1024
_PART = 65536


@dataclass
class Child:
    """A child that works for `seconds` at most; `process` and `pipe` are descriptors."""

    name: str
    pid: int
    process: int
    pipe: int
    until: float
    answer: bytearray
    killed: bool = False
    said_all: bool = False

    def take(self) -> None:
        """Take what it has returned until now."""
        while True:
            try:
                part = os.read(self.pipe, _PART)
            except BlockingIOError:
                return
            if not part or len(self.answer) + len(part) > LONGEST:
                self.said_all = True
                return
            self.answer += part

    def late(self) -> bool:
        """Whether its time is over, and it has not been killed for that."""
        return not self.killed and time.monotonic() >= self.until

    def kill(self) -> None:
        """Have it ended."""
        self.killed = True
        os.kill(self.pid, signal.SIGKILL)

    def end(self) -> bytes | None:
        """What it returned, None if it failed; only after its descriptor has shown its end."""
        self.take()
        os.close(self.pipe)
        os.close(self.process)
        _, status = os.waitpid(self.pid, 0)
        return bytes(self.answer) if status == 0 else None


def start(
    name: str, work: Callable[[], bytes], *, seconds: float, closed: Iterable[int] = ()
) -> Child:
    """Fork a child for `work`, without the descriptors `closed`.

    What it raises is said on stderr, and is no answer.
    """
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    pid = os.fork()
    if pid == 0:
        _work(name, work, writer, [reader, *closed])
    os.close(writer)
    until = time.monotonic() + seconds
    return Child(name, pid, os.pidfd_open(pid), reader, until, bytearray())


def _work(name: str, work: Callable[[], bytes], writer: int, closed: Iterable[int]) -> None:
    """The child's life."""
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        for descriptor in closed:
            os.close(descriptor)
        answer = memoryview(work())
        while answer:
            answer = answer[os.write(writer, answer) :]
        code = 0
    except (GanetiGlusterError, OSError) as err:
        print("%s: %s" % (name, err), file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Threads that hang, and libgfapi's teardown, would take their time.
        os._exit(code)


def wait(children: Iterable[Child], others: Iterable[tuple[int, int]], until: float) -> None:
    """Wait for output or the end of one of them, or for another descriptor (with its events)."""
    poll = select.poll()
    for descriptor, events in others:
        poll.register(descriptor, events)
    for child in children:
        poll.register(child.process, select.POLLIN)
        if child.killed:
            continue
        until = min(until, child.until)
        if not child.said_all:
            poll.register(child.pipe, select.POLLIN)
    poll.poll(max(0.0, until - time.monotonic()) * 1000)


def ended(child: Child) -> bool:
    """Whether a child has ended, and `Child.end` does not wait."""
    poll = select.poll()
    poll.register(child.process, select.POLLIN)
    return bool(poll.poll(0))
