"""copies.py VOLUME RUNS cp|convert [SUFFIX]: one image copied by ours and by another program.

`copies.py make VOLUME` makes a volume of one brick for it on this node, and `copies.py
delete VOLUME` takes it away; SUFFIX goes to the end of the answer's name.

The image is 4 GiB and holds 1 GiB, in pieces of 1 MiB with holes of 3 MiB between
them.  Ours is `gnt-gluster image copy` as a user has it, from start to end.  The
other is `cp --sparse=always` on stock Ganeti's mount, or `qemu-img convert` to an
image that is there and empty, with 16 requests in any order; qemu-img takes 10 s
to disconnect, in libgfapi, which counts as well, as does a sync after cp.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys

import mount
from sides import OURS, PEER, answer, command_seconds, in_turn

SOURCE = "bench-copy-source"
TARGETS = {OURS: "bench-copy-ours", PEER: "bench-copy-peer"}
SIZE = 4 << 30
PIECE = 1 << 20
STRIDE = 4 << 20
COPY_SECONDS = 600
BRICKS = "/srv/gluster/brick1"


def place(name: str) -> str:
    """Where a file of the volume is in the mount."""
    return "%s/%s" % (mount.MOUNT_POINT, name)


def fill() -> None:
    """Make the source, through the mount."""
    data = os.urandom(PIECE)
    with open(place(SOURCE), "wb") as stream:
        stream.truncate(SIZE)
        for offset in range(0, SIZE, STRIDE):
            stream.seek(offset)
            stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def commands(volume: str, side: str, peer: str) -> list[list[str]]:
    """The measured commands, one after the other."""
    if side == OURS:
        images = ["%s/%s" % (volume, name) for name in (SOURCE, TARGETS[OURS])]
        server = "--host=%s:%d" % (mount.SERVER, mount.PORT)
        return [["gnt-gluster", "image", "copy", server, *images]]
    target = place(TARGETS[PEER])
    if peer == "cp":
        return [["cp", "--sparse=always", place(SOURCE), target], ["sync", target]]
    uri = "gluster://%s:%d/%s/" % (mount.SERVER, mount.PORT, volume)
    return [
        [
            *("qemu-img", "convert", "-n", "--target-is-zero", "-W", "-m", "16"),
            *("-f", "raw", "-O", "raw", uri + SOURCE, uri + TARGETS[PEER]),
        ]
    ]


def remove(name: str) -> None:
    """Remove a copy, if there is one."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(place(name))


def seconds(volume: str, side: str, peer: str) -> float:
    """One copy to a target that is not there, or there and empty for qemu-img."""
    remove(TARGETS[side])
    if side == PEER and peer == "convert":
        with open(place(TARGETS[PEER]), "wb") as stream:
            stream.truncate(SIZE)
    try:
        return sum(command_seconds(argv, COPY_SECONDS) for argv in commands(volume, side, peer))
    finally:
        remove(TARGETS[side])


def check(volume: str) -> None:
    """That ours is a copy, once, not measured."""
    for argv in commands(volume, OURS, ""):
        command_seconds(argv, COPY_SECONDS)
    subprocess.run(["cmp", place(SOURCE), place(TARGETS[OURS])], check=True)
    remove(TARGETS[OURS])


def gluster(*words: str) -> None:
    """A command of glusterd's, which must succeed."""
    command_seconds(["gluster", "--mode=script", "volume", *words])


def make(volume: str) -> None:
    """A started volume of one brick, beside those of the testbed's own."""
    server = os.uname().nodename
    gluster("create", volume, "%s:%s/%s" % (server, BRICKS, volume), "force")
    gluster("start", volume)


def delete(volume: str) -> None:
    """The end of that volume, and of its brick."""
    gluster("stop", volume, "force")
    gluster("delete", volume)
    shutil.rmtree(os.path.join(BRICKS, volume))


def main() -> None:
    if sys.argv[1] in ("make", "delete"):
        {"make": make, "delete": delete}[sys.argv[1]](sys.argv[2])
        return
    volume, runs, peer, *suffix = sys.argv[1:]
    with mount.mount_of(volume):
        fill()
        try:
            check(volume)
            samples = in_turn(lambda side: seconds(volume, side, peer), int(runs))
        finally:
            for name in (SOURCE, *TARGETS.values()):
                remove(name)
    answer({"copy-vs-%s%s" % (peer, "".join(suffix)): samples})


if __name__ == "__main__":
    main()
