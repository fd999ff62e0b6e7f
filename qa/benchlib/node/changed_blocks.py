"""changed_blocks.py VOLUME RUNS: what it costs a guest's writes that changes are recorded.

Writes of 4 KiB, 32 at a time, as in qemu.py, by turns to an image that has a point, which
begins directly before each run, and to the same image without one.  So each run with a point
has all the marks that there can be: one for each region of the image.
"""

from __future__ import annotations

import os
import sys

import served
from qemu import SIZE, run
from sides import OURS, answer, in_turn

from benchlib.disk_requests import MEASURES
from ganeti_gluster.core.changed.points import begin, drop
from ganeti_gluster.core.volume import VolumeSpec

PATH = "bench-changed.0"
POINT = "bench"


def measure(spec: VolumeSpec, recorded: bool) -> float:
    """One run, in seconds for a request."""
    with served.server(spec, PATH) as server:
        if recorded:
            begin(spec, PATH, POINT)
        where = "nbd+unix:///?socket=%s" % server.socket_path
        passed = run(where, [served.process_of(server)], MEASURES["write-4k-d32"]).passed
        if recorded:
            drop(spec, PATH, POINT)
    return passed


def main() -> None:
    volume, runs = sys.argv[1:]
    spec = served.spec_of(volume)
    with served.written_image(spec, PATH, SIZE):
        samples = in_turn(lambda side: measure(spec, side == OURS), int(runs))
    answer({"changed-blocks-write-4k": samples})
    sys.stdout.flush()
    os._exit(0)  # without the ten seconds that libgfapi takes


if __name__ == "__main__":
    main()
