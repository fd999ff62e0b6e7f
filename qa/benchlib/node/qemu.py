"""qemu.py VOLUME RUNS read|write: QEMU's block layer over libgfapi and over FUSE.

One preallocated image, `qemu-img bench` with 4 KiB requests at depth 32 and
cache=none on gluster://… and on the file in stock Ganeti's mount, for which
Ganeti's default is aio=threads.  The requests are strewn over the image.  What
counts is the time that qemu-img gives for the run: it leaves out the opening of
the image and the closing, which takes 10 s by libgfapi.
"""

from __future__ import annotations

import os
import subprocess
import sys

import mount
from sides import OURS, PEER, answer, in_turn

# The package of this script's folder: the parsing is tested there.
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from benchlib.figures import qemu_seconds

PATH = "bench-qemu.0"
SIZE = 256 << 20
REQUEST = 4096
DEPTH = 32
# Odd, in requests, so that every block is met before one is met again.
STRIDE = 1021 * REQUEST
COUNTS = {"read": 20000, "write": 5000}
RUN_SECONDS = 120


def argv(target: str, kind: str) -> list[str]:
    """The measured command; by `stdbuf` it tells its time before it closes the image."""
    return [
        *["stdbuf", "--output=L", "qemu-img", "bench", "-f", "raw", "-t", "none"],
        *["-d", str(DEPTH), "-s", str(REQUEST), "-S", str(STRIDE), "-c", str(COUNTS[kind])],
        *(["-w"] if kind == "write" else []),
        target,
    ]


def seconds_per_request(target: str, kind: str) -> float:
    """One run, to its end: a client that is killed leaves work for the healer.

    How it ends does not count: on a sharded volume of GlusterFS 11.1 it crashes
    while it disconnects, long after the run.
    """
    done = subprocess.run(
        argv(target, kind),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=RUN_SECONDS,
        check=False,
    )
    output = done.stdout.decode("utf-8", "replace")
    try:
        return qemu_seconds(output) / COUNTS[kind]
    except ValueError as err:
        sys.exit("%s: exit code %d: %s" % (target, done.returncode, err))


def fill(volume: str) -> None:
    """Write all of the image, so that every block is there, through the mount."""
    data = os.urandom(1 << 20)
    with open("%s/%s" % (mount.MOUNT_POINT, PATH), "wb") as stream:
        for _ in range(SIZE // len(data)):
            stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def main() -> None:
    volume, runs, kind = sys.argv[1:]
    targets = {
        OURS: "gluster://%s:%d/%s/%s" % (mount.SERVER, mount.PORT, volume, PATH),
        PEER: "%s/%s" % (mount.MOUNT_POINT, PATH),
    }
    with mount.mount_of(volume):
        fill(volume)
        try:
            samples = in_turn(lambda side: seconds_per_request(targets[side], kind), int(runs))
        finally:
            os.unlink(targets[PEER])
    answer({"qemu-%s-4k" % kind: samples})


if __name__ == "__main__":
    main()
