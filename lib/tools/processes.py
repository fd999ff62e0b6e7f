"""The processes of this machine, from /proc, and the end of this one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import NoReturn


def command_lines() -> Iterator[tuple[int, list[bytes]]]:
    """Each process's id and command line, split into words; processes that end are left out."""
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            words = command_line(int(name))
        except OSError:  # it has ended
            continue
        yield int(name), words


def command_line(pid: int) -> list[bytes]:
    """A process's command line, split into words; raises OSError where there is none."""
    with open("/proc/%d/cmdline" % pid, "rb") as stream:
        return stream.read().split(b"\0")


def stat_of(pid: int) -> list[str]:
    """The words of /proc/PID/stat after the command's name; raises OSError.

    The first is the state (field 3 of proc(5)), the twentieth when the process began.
    """
    with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as stream:
        # The name, in brackets, may hold anything.
        return stream.read().rpartition(")")[2].split()


def user_of(pid: int) -> int | None:
    """The user whose rights a process has; None if there is no such process."""
    try:
        with open("/proc/%d/status" % pid, encoding="ascii", errors="replace") as stream:
            lines = stream.read().splitlines()
    except OSError:
        return None
    uids = [line.split() for line in lines if line.startswith("Uid:")]
    return int(uids[0][2]) if uids else None  # the effective one


def in_container(pid: int) -> bool:
    """Whether a process belongs to a container on this machine, or has ended."""
    try:
        with open("/proc/%d/status" % pid, encoding="ascii", errors="replace") as stream:
            lines = stream.read().splitlines()
    except OSError:
        return True
    # Its number in each namespace from ours inwards.
    return any(line.startswith("NSpid:") and len(line.split()) > 2 for line in lines)


def uses_replaced(pid: int, name: str) -> bool:
    """Whether a process has mapped a file that was replaced or removed, by a part of its path."""
    try:
        with open("/proc/%d/maps" % pid, encoding="utf-8", errors="replace") as stream:
            return any(name in line and line.endswith(" (deleted)\n") for line in stream)
    except OSError:  # it has ended
        return False


def leave(code: int) -> NoReturn:
    """End this process at once.

    This skips libgfapi's teardown, which takes ten seconds, and threads that wait for a volume
    that is unavailable.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
