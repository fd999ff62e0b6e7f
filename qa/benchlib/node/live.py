"""live.py VOLUME RUNS: what a live snapshot costs the guest, in the latency of its writes.

A QEMU with a virtio disk, which the image's server serves, and no system in it: its
monitor writes through the device's own block backend, 4 KiB at a time, strewn over a
written image, as a guest would.  A run is the 99th percentile of these writes: while
another process takes snapshots of the disk to the same volume, one after the other, and
with none.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import served
from served import DISK
from sides import OURS, answer, in_turn

from ganeti_gluster.core import image
from ganeti_gluster.core.copy import Options, copy
from ganeti_gluster.core.copy.images import NewImage
from ganeti_gluster.core.snapshot import live
from ganeti_gluster.core.snapshot.nbd import NbdSource
from ganeti_gluster.core.snapshot.work import LIVE_THREADS
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.storage import qmp

PATH, TARGET = "bench-live.0", "bench-live.snapshot"
SIZE = 256 << 20
REQUEST = 4096
# Odd, in requests, so that every block is met before one is met again.
STRIDE = 1021 * REQUEST
WRITES = 300


def main() -> None:
    volume, words = sys.argv[1], sys.argv[2:]
    spec = served.spec_of(volume)
    if words[0] == "copy":
        take_snapshots(spec, words[1])
        os._exit(0)
    remove_target(spec)  # of a run that was interrupted
    with contextlib.ExitStack() as stack:
        stack.callback(remove_target, spec)
        stack.enter_context(served.written_image(spec, PATH, SIZE))
        server = stack.enter_context(served.server(spec, PATH))
        guest = stack.enter_context(served.qemu(served.served_node(server), monitors=2))
        samples = in_turn(
            lambda side: measure(side == OURS, volume, *guest.sockets), int(words[0])
        )
    answer({"live-snapshot-p99": samples})
    sys.stdout.flush()
    os._exit(0)  # without the ten seconds that libgfapi takes


def remove_target(spec: VolumeSpec) -> None:
    with connect(spec) as volume:
        for path in (TARGET, TARGET + ".partial"):
            image.remove(volume, path)


def measure(snapshots: bool, volume: str, guest: str, other: str) -> float:
    """One run, in seconds."""
    with contextlib.ExitStack() as stack:
        if snapshots:
            argv = [sys.executable, os.path.abspath(__file__), volume, "copy", other]
            process = stack.enter_context(
                subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            assert process.stdin is not None and process.stdout is not None
            process.stdout.readline()  # the first snapshot is under way
        times = sorted(write_times(guest))
        if snapshots:
            process.stdin.close()
            process.wait(120)
            if process.returncode != 0:
                sys.exit("the snapshots failed: exit code %d" % process.returncode)
    return times[len(times) * 99 // 100]


def write_times(socket: str) -> Iterator[float]:
    """How long each write took, the way of the command included."""
    path = "/machine/peripheral/%s/virtio-backend" % DISK
    with qmp.connected(socket) as monitor:
        for number in range(WRITES):
            place = number * STRIDE % SIZE
            command = 'qemu-io -d %s "write -q %d %d"' % (path, place, REQUEST)
            start = time.perf_counter()
            said = monitor.execute("human-monitor-command", {"command-line": command})
            yield time.perf_counter() - start
            if said:
                sys.exit("QEMU: %s" % said)


def take_snapshots(spec: VolumeSpec, socket: str) -> None:
    """Take one after the other until standard input ends."""
    told = False
    os.set_blocking(0, False)
    with connect(spec) as volume:
        while sys.stdin.buffer.read() != b"":
            image.remove(volume, TARGET)
            with live.frozen(lambda: qmp.connected(socket), [DISK]) as frozen:
                if not told:
                    print("begun", flush=True)
                    told = True
                (device,) = frozen.devices
                with NbdSource("the disk", frozen.socket, device.view) as source:
                    copy(source, NewImage(volume, TARGET), Options(threads=LIVE_THREADS))


if __name__ == "__main__":
    main()
