"""The FUSE mount of stock Ganeti: its place, its command, and its end."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from sides import wait_for

# Stock Ganeti's default, and the mount command of its GlusterVolume.
MOUNT_POINT = "/var/run/ganeti/gluster"
SERVER = "127.0.0.1"
PORT = 24007

SECONDS = 60


def mounted() -> bool:
    """Whether the volume is mounted there."""
    return os.path.ismount(MOUNT_POINT)


def mount(volume: str) -> None:
    """Mount the volume as stock Ganeti does; no-op if it is."""
    if mounted():
        return
    os.makedirs(MOUNT_POINT, exist_ok=True)
    argv = ["mount", "-t", "glusterfs", "-o", "server-port=%d" % PORT]
    subprocess.run([*argv, "%s:/%s" % (SERVER, volume), MOUNT_POINT], check=True, timeout=SECONDS)
    wait_for(mounted, SECONDS, "%s is mounted" % MOUNT_POINT)


def unmount() -> None:
    """End the mount and wait for the end of its process; no-op if there is none."""
    if mounted():
        subprocess.run(["umount", MOUNT_POINT], check=True, timeout=SECONDS)
    wait_for(lambda: not _clients(), SECONDS, "the FUSE client has ended")


@contextlib.contextmanager
def mount_of(volume: str) -> Iterator[None]:
    """The volume is mounted in the block, and not afterwards."""
    mount(volume)
    try:
        yield
    finally:
        unmount()


def _clients() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if words[0].endswith(b"glusterfs") and MOUNT_POINT.encode() in words:
                found.append(path.parent.name)
    return found
