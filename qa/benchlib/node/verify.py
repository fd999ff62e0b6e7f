"""verify.py: `gnt-gluster verify` of a cluster with many images, all of them sound.

    verify.py fill VOLUME COUNT    make the images, and the configuration that has them
    verify.py limit VOLUME RUNS    verify, each time in a new process
    verify.py ours VOLUME          verify once, which is what is measured
    verify.py clear VOLUME         remove images and configuration

The configuration is a copy of the cluster's own with an instance for each image,
put in its place in the measured process alone: Ganeti itself never sees it.  Nodes,
volume and images are asked for real.  The peer is the time that it may take.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from typing import Any

import listing
from sides import OURS, PEER, answer, command_seconds

NAME = "verify-10000"
WORK = "verify-10000-cpu"
LIMIT_SECONDS = 5.0
DIRECTORY = "ganeti"
CONFIGURATION = "/var/tmp/bench-verify.json"
MIB = listing.SIZE

sys.path.insert(0, os.path.realpath("/usr/share/ganeti/default"))


def path_of(index: int) -> str:
    """The image of an instance."""
    return "%s/%s.0" % (DIRECTORY, uuid_of(index))


def uuid_of(index: int) -> str:
    """The UUID of an instance; that of its disk differs in the first digit."""
    return "00000000-0000-4000-8000-%012d" % index


def configuration(real: dict[str, Any], count: int) -> dict[str, Any]:
    """The cluster's configuration with `count` instances more, of one disk each."""
    node = next(iter(real["nodes"]))
    for index in range(count):
        instance, disk = uuid_of(index), "1" + uuid_of(index)[1:]
        real["instances"][instance] = {
            "name": "bench-%05d" % index,
            "uuid": instance,
            "primary_node": node,
            "disks": [disk],
            # What verification does not use, but has to read.
            **{"os": "guest+default", "hypervisor": "kvm", "hvparams": {}, "osparams": {}},
            **{"beparams": {"minmem": 128, "maxmem": 128, "vcpus": 1}, "admin_state": "up"},
            **{"nics": [{"mac": "aa:00:00:6f:8d:bc", "nicparams": {}, "uuid": instance}]},
            **{"ctime": 1.0, "mtime": 1.0, "serial_no": 1, "tags": []},
        }
        real["disks"][disk] = {
            "uuid": disk,
            "dev_type": "gluster",
            "logical_id": ["loop", path_of(index)],
            "size": listing.SIZE // MIB,
            **{"children": [], "nodes": [], "iv_name": "disk/0", "mode": "rw", "params": {}},
            **{"ctime": 1.0, "mtime": 1.0, "serial_no": 1},
        }
    return real


def fill(volume: str, count: int) -> None:
    """Make images and configuration; the volume has no other images."""
    from ganeti import pathutils

    listing.fill(volume, [path_of(index) for index in range(count)])
    with open(pathutils.CLUSTER_CONF_FILE, encoding="utf-8") as stream:
        real = json.load(stream)
    with open(CONFIGURATION, "w", encoding="utf-8") as stream:
        json.dump(configuration(real, count), stream)


def clear(volume: str) -> None:
    """Remove what `fill` made; no-op if there is nothing."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(CONFIGURATION)
    listing.clear(volume, DIRECTORY)


def verify() -> int:
    """`gnt-gluster verify` by the larger configuration; its exit status."""
    from ganeti import pathutils

    from ganeti_gluster.client import gnt_gluster

    pathutils.CLUSTER_CONF_FILE = CONFIGURATION
    sys.argv = ["gnt-gluster", "verify"]
    return gnt_gluster.Main()


def measure(volume: str) -> tuple[float, float]:
    """Seconds of one verification, which must find nothing: passed, and of the processor."""
    argv = [sys.executable, "-B", os.path.abspath(__file__), OURS, volume]
    before = processor_seconds()
    return command_seconds(argv, silent=True), processor_seconds() - before


def processor_seconds() -> float:
    """What children that have ended took of the processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    action, volume, *rest = sys.argv[1:]
    status = 0
    if action == OURS:
        status = verify()
    elif action == "fill":
        fill(volume, int(rest[0]))
    elif action == "clear":
        clear(volume)
    else:
        runs = int(rest[0])
        measure(volume)  # tells the nodes of the volume, once
        passed, worked = zip(*(measure(volume) for _ in range(runs)), strict=True)
        limit = [LIMIT_SECONDS] * runs
        answer({NAME: {OURS: [*passed], PEER: limit}, WORK: {OURS: [*worked], PEER: limit}})
    sys.stdout.flush()
    os._exit(status)  # no glfs_fini, which takes 10 s


if __name__ == "__main__":
    main()
