"""qemu.py VOLUME RUNS NAME: requests of QEMU's block layer, by three ways to one image.

NAME is one of `disk_requests.MEASURES`: `read-4k-d32` are reads of 4 KiB, 32 at a time.
By turns, each alone on the image: our server of the image, which is started and ended each
time; QEMU's own gluster driver, where there is one; and the file in stock Ganeti's mount, by
aio=threads, Ganeti's default, which is mounted for that.  `qemu-img bench` with cache=none
makes the requests, strewn over a written image.

What counts is the time that qemu-img gives for the run: opening and closing are left out.
The processor's time is that of qemu-img and of our server between the two lines that
qemu-img prints before and after the run.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import mount
import served
from sides import OURS, answer, order

from benchlib import disk_requests
from benchlib.disk_requests import DRIVER, FUSE, MEASURES, Measure, Taken
from benchlib.figures import SKIPPED, qemu_seconds

PATH = "bench-qemu.0"
SIZE = 256 << 20
RUN_SECONDS = 120


@contextlib.contextmanager
def target(side: str, volume: str) -> Iterator[tuple[str, list[int]]]:
    """Where qemu-img finds the image by a way, and the processes that serve it there."""
    if side == OURS:
        with served.server(served.spec_of(volume), PATH) as server:
            yield "nbd+unix:///?socket=%s" % server.socket_path, [served.process_of(server)]
    elif side == DRIVER:
        yield "gluster://%s:%d/%s/%s" % (mount.SERVER, mount.PORT, volume, PATH), []
    else:
        with mount.mount_of(volume):
            yield "%s/%s" % (mount.MOUNT_POINT, PATH), []


def run(where: str, servers: list[int], measure: Measure) -> Taken:
    """One run, to its end: a client that is killed leaves work for the healer.

    How it ends does not count: QEMU's gluster driver, on a sharded volume of GlusterFS 11.1,
    crashes while it disconnects, long after the run.
    """
    command = disk_requests.argv(where, measure)
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        killer = threading.Timer(RUN_SECONDS, process.kill)
        killer.start()
        assert process.stdout is not None
        marks, said = [], []
        for line in process.stdout:
            said.append(line)
            if line.startswith(("Sending ", "Run completed ")):
                processes = [process.pid, *servers]
                marks.append(sum(map(served.processor_seconds, processes)))
        process.wait()
        killer.cancel()
    try:
        passed = qemu_seconds("".join(said))
        begun, ended = marks
    except ValueError as err:
        sys.exit("%s: exit code %d: %s" % (where, process.returncode, err))
    return Taken(passed / measure.count, (ended - begun) / measure.count)


def samples_of(volume: str, runs: int, name: str, sides: list[str]) -> dict[str, list[Taken]]:
    """`runs` of each side, by turns."""
    found: dict[str, list[Taken]] = {side: [] for side in sides}
    for index in range(runs):
        for side in order(index, sides):
            with target(side, volume) as (where, servers):
                found[side].append(run(where, servers, MEASURES[name]))
    return found


def main() -> None:
    volume, runs, name = sys.argv[1:]
    why = served.why_no_driver()
    sides = [OURS, FUSE] if why else [OURS, DRIVER, FUSE]
    mount.unmount()
    with served.written_image(served.spec_of(volume), PATH, SIZE):
        found = samples_of(volume, int(runs), name, sides)
    answer({**disk_requests.samples(found, name), SKIPPED: disk_requests.skipped(name, why)})
    sys.stdout.flush()
    os._exit(0)  # without the ten seconds that libgfapi takes


if __name__ == "__main__":
    main()
