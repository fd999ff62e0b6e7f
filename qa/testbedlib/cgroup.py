"""Control groups: who belongs to a testbed, asked from the kernel.

Everything a testbed starts runs in its own cgroup (version 2, in a mount of its
own, so that it works beside any host's layout).  Killing by cgroup reaches all
of it at once and can never reach a process that is not ours.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from . import command
from .errors import TestbedError

KILL_SECONDS = 30


def is_mounted(point: Path) -> bool:
    """Whether `point` is the root of a mounted cgroup2."""
    return (point / "cgroup.controllers").exists()


def mount(point: Path) -> None:
    """Mount the cgroup2 hierarchy; no-op if it is there."""
    if not is_mounted(point):
        point.mkdir(parents=True, exist_ok=True)
        command.run(["mount", "-t", "cgroup2", "cgroup2", str(point)], timeout=10)


def unmount(point: Path) -> None:
    """Undo `mount`; no-op if it is not there."""
    while is_mounted(point):
        command.run(["umount", str(point)], timeout=10)


def processes(group: Path) -> list[int]:
    """The processes of a group and of all groups below it."""
    found: list[int] = []
    for directory, _, _ in os.walk(group):
        with contextlib.suppress(OSError):
            found += map(int, Path(directory, "cgroup.procs").read_text().split())
    return found


def is_populated(group: Path) -> bool:
    """Whether any process lives in the group or below."""
    try:
        return "populated 1" in (group / "cgroup.events").read_text()
    except OSError:
        return False


def join(group: Path) -> None:
    """Move the calling process into the group, which must exist."""
    with open(group / "cgroup.procs", "wb", buffering=0) as procs:
        procs.write(b"0")


def freeze(group: Path, seconds: float = 2.0) -> bool:
    """Stop every process of the group; False if some did not within `seconds`."""
    (group / "cgroup.freeze").write_text("1")
    end = time.monotonic() + seconds
    while "frozen 1" not in (group / "cgroup.events").read_text():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


def thaw(group: Path) -> None:
    """Undo `freeze`."""
    with contextlib.suppress(FileNotFoundError):
        (group / "cgroup.freeze").write_text("0")


def send_kill(group: Path) -> None:
    """SIGKILL to every process of the group and below, at once."""
    with contextlib.suppress(FileNotFoundError):
        (group / "cgroup.kill").write_text("1")


def wait_empty(group: Path, seconds: float) -> bool:
    """Whether the group is empty within `seconds`."""
    end = time.monotonic() + seconds
    while is_populated(group):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def remove(group: Path) -> None:
    """Remove an empty group and all below it; no-op if it is not there."""
    for directory, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(directory)


def destroy(group: Path) -> None:
    """Kill and remove a group; raises TestbedError if a process would not die."""
    if not group.is_dir():
        return
    send_kill(group)
    if not wait_empty(group, KILL_SECONDS):
        raise TestbedError(
            "processes do not die: %s" % processes(group),
            hint="they wait in the kernel; see /proc/PID/stack",
        )
    end = time.monotonic() + KILL_SECONDS
    while True:  # a group stays busy for a moment after its last process
        try:
            remove(group)
            return
        except OSError as err:
            if time.monotonic() > end:
                raise TestbedError("cannot remove %s: %s" % (group, err)) from err
            time.sleep(0.02)
