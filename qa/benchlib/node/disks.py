"""disks.py VOLUME ROUNDS cold|mounted|open: the life of a disk, ours and stock's in turn.

With `cold` nothing is mounted when stock Ganeti creates and removes, as on a
node without another disk of the volume; what it leaves mounted after the
creation is there for the operations between.  With `mounted` a file of the
mount is open all the time, as by a virtual machine with access=kernelspace, so
stock's own umount, which it tries after each creation and removal, fails.
With `open` it is as with `cold`, but the disk is open: ours has its server then.
Ours mounts nothing.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mount
from sides import GROWTH_MIB, OURS, PEER, Samples, answer, order

DIRECTORY = "ganeti"
SIZE_MIB = 1024
# Each with the size in MiB that it finds.
OPERATIONS = (
    ("request", 0),
    ("create", SIZE_MIB),
    ("attach", SIZE_MIB),
    ("size", SIZE_MIB),
    ("grow", SIZE_MIB),
    ("remove", SIZE_MIB + GROWTH_MIB),
)
OPEN_OPERATIONS = (
    ("create", SIZE_MIB),
    ("open", SIZE_MIB),
    ("attach", SIZE_MIB),
    ("size", SIZE_MIB),
    ("close", SIZE_MIB),
    ("remove", SIZE_MIB),
)
PROGRAMS = {OURS: "ours", PEER: "stock"}


class AttachDaemon:
    """A running daemon.py; a context manager that ends it."""

    def __init__(self, side: str, volume: str) -> None:
        script = Path(__file__).with_name("daemon.py")
        self._process = subprocess.Popen(
            [sys.executable, "-B", str(script), PROGRAMS[side], volume],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> AttachDaemon:
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def seconds(self, operation: str, path: str, size: int) -> float:
        """Let it do one operation."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it says itself what is wrong
            self._process.stdin.write(json.dumps([operation, path, size]) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            sys.exit(1)
        return float(line)


@contextlib.contextmanager
def busy_mount(volume: str, daemon: AttachDaemon) -> Iterator[None]:
    """Mount the volume and keep a file of it open in the block."""
    path = "%s/bench-open.0" % DIRECTORY
    daemon.seconds("create", path, SIZE_MIB)
    mount.mount(volume)
    try:
        with open("%s/%s" % (mount.MOUNT_POINT, path), "rb"):
            yield
    finally:
        daemon.seconds("remove", path, SIZE_MIB)
        mount.unmount()


def operations(state: str) -> tuple[tuple[str, int], ...]:
    """What is done with a disk, in order."""
    return OPEN_OPERATIONS if state == "open" else OPERATIONS


def life(daemons: dict[str, AttachDaemon], index: int, state: str) -> dict[str, dict[str, float]]:
    """Create, use and remove a disk on each side; the seconds by operation and side."""
    seconds: dict[str, dict[str, float]] = {}
    for operation, size in operations(state):
        for side in order(index):
            if state != "mounted" and side == PEER and operation in ("create", "remove"):
                mount.unmount()
            path = "%s/bench-%s-%d.0" % (DIRECTORY, side, index)
            taken = daemons[side].seconds(operation, path, size)
            seconds.setdefault(operation, {})[side] = taken
    return seconds


def main() -> None:
    volume, rounds, state = sys.argv[1:]
    samples: dict[str, Samples] = {name: {OURS: [], PEER: []} for name, _ in operations(state)}
    mount.unmount()
    with contextlib.ExitStack() as stack:
        daemons = {side: stack.enter_context(AttachDaemon(side, volume)) for side in PROGRAMS}
        if state == "mounted":
            stack.enter_context(busy_mount(volume, daemons[OURS]))
        else:
            stack.callback(mount.unmount)
        life(daemons, 0, state)  # fills the file caches, and is not counted
        for index in range(int(rounds)):
            for operation, by_side in life(daemons, index, state).items():
                for side, seconds in by_side.items():
                    samples[operation][side].append(seconds)
    answer(samples)


if __name__ == "__main__":
    main()
