"""Work in forked children: what they return, and what they cannot hold up."""

from __future__ import annotations

import os
import signal
import time

import pytest

from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import children
from ganeti_gluster.tools.children import Child

pytestmark = pytest.mark.allow_process


def finish(child: Child) -> bytes | None:
    while not children.ended(child):
        children.wait([child], [], time.monotonic() + 10)
        if child.late():
            child.kill()
        if not child.killed:
            child.take()
    return child.end()


def test_what_a_child_returns_arrives_whole() -> None:
    data = os.urandom(1 << 20)
    assert finish(children.start("big", lambda: data, seconds=30)) == data
    assert finish(children.start("nothing", lambda: b"", seconds=30)) == b""


def test_one_that_fails_says_why_and_gives_no_answer(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail() -> bytes:
        raise GanetiGlusterError("no such thing")

    assert finish(children.start("measure", fail, seconds=30)) is None
    assert capfd.readouterr().err == "measure: no such thing\n"
    assert finish(children.start("bug", lambda: bytes(1 // 0), seconds=30)) is None
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_one_that_hangs_is_killed_after_its_time_and_holds_up_no_other() -> None:
    hangs = children.start("hangs", lambda: signal.pause() or b"", seconds=0)
    quick = children.start("quick", lambda: b"done", seconds=30)
    assert finish(quick) == b"done"
    assert hangs.late()
    assert finish(hangs) is None
    with pytest.raises(ProcessLookupError):
        os.kill(hangs.pid, 0)


def test_it_has_not_what_is_closed_for_it() -> None:
    descriptor = os.open("/dev/null", os.O_RDONLY)

    def look() -> bytes:
        try:
            os.fstat(descriptor)
        except OSError:
            return b"closed"
        return b"open"

    assert finish(children.start("a", look, seconds=30)) == b"open"
    assert finish(children.start("b", look, seconds=30, closed=[descriptor])) == b"closed"
    os.close(descriptor)


def test_another_descriptor_ends_the_wait() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"x")
    children.wait([], [(reader, 1)], time.monotonic() + 3600)
    os.close(reader)
    os.close(writer)
