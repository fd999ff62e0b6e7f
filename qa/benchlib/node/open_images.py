"""open_images.py VOLUME RUNS: what an image costs that a QEMU has open, and how a QEMU ends.

memory-open-image  the memory of a QEMU with one image, and of what serves it
stop-qemu          from `quit` to the end of the process

A QEMU with a virtio disk and no system in it, with our server of the image and with
QEMU's own gluster driver, by turns.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time

import served
from sides import OURS, PEER, Samples, answer, order

from benchlib.figures import SKIPPED
from ganeti_gluster.core.snapshot.live import MonitorFailed
from ganeti_gluster.storage import qmp

PATH = "bench-open.0"
SIZE = 64 << 20
END_SECONDS = 120
MEMORY, STOP = "memory-open-image", "stop-qemu"


def measure(side: str, volume: str) -> tuple[float, float]:
    """Bytes of memory, and seconds from `quit` to the end."""
    with contextlib.ExitStack() as stack:
        processes, node = [], served.driver_node(volume, PATH)
        if side == OURS:
            server = stack.enter_context(served.server(served.spec_of(volume), PATH))
            processes, node = [served.process_of(server)], served.served_node(server)
        guest = stack.enter_context(served.qemu(node))
        read(guest)
        memory = sum(map(served.memory_bytes, [guest.process.pid, *processes]))
        return memory, seconds_to_end(guest)


def read(guest: served.Qemu) -> None:
    """Let the guest's disk read something: from then on the image is in use."""
    path = "/machine/peripheral/%s/virtio-backend" % served.DISK
    with qmp.connected(guest.sockets[0]) as monitor:
        command = 'qemu-io -d %s "read -q 0 1M"' % path
        said = monitor.execute("human-monitor-command", {"command-line": command})
    if said:
        sys.exit("QEMU: %s" % said)


def seconds_to_end(guest: served.Qemu) -> float:
    """How long a QEMU takes to end; with what status does not count."""
    with qmp.connected(guest.sockets[0]) as monitor:
        started = time.perf_counter()
        with contextlib.suppress(MonitorFailed):  # it may be gone before it answers
            monitor.execute("quit")
        guest.process.wait(END_SECONDS)
        return time.perf_counter() - started


def main() -> None:
    volume, runs = sys.argv[1:]
    why = served.why_no_driver()
    if why:
        answer({SKIPPED: dict.fromkeys((MEMORY, STOP), why)})
        return
    samples: dict[str, Samples] = {name: {OURS: [], PEER: []} for name in (MEMORY, STOP)}
    with served.written_image(served.spec_of(volume), PATH, SIZE):
        for index in range(int(runs)):
            for side in order(index):
                for name, value in zip((MEMORY, STOP), measure(side, volume), strict=True):
                    samples[name][side].append(value)
    answer(samples)
    sys.stdout.flush()
    os._exit(0)  # without the ten seconds that libgfapi takes


if __name__ == "__main__":
    main()
