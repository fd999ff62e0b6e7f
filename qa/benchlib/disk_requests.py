"""The requests of qemu.py, which runs within a node: what is asked of qemu-img, and the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .figures import OURS, PEER

DRIVER, FUSE = "disk", "fuse"
PROCESSOR = "disk-cpu"


class Measure(NamedTuple):
    """One kind of requests.

    `stride`, in requests, is odd, so that every block is met before one is met again.
    """

    kind: str
    request: int
    depth: int
    count: int
    stride: int


MEASURES = {
    "read-4k-d1": Measure("read", 4096, 1, 5000, 1021),
    "read-4k-d32": Measure("read", 4096, 32, 20000, 1021),
    "write-4k-d1": Measure("write", 4096, 1, 1000, 1021),
    "write-4k-d32": Measure("write", 4096, 32, 5000, 1021),
    "read-1m": Measure("read", 1 << 20, 4, 500, 37),
    "write-1m": Measure("write", 1 << 20, 4, 150, 37),
}


class Taken(NamedTuple):
    """Seconds of one request: passed, and of the processor."""

    passed: float
    worked: float


def argv(where: str, measure: Measure) -> list[str]:
    """The measured command; by `stdbuf` it tells its time before it closes the image."""
    return [
        *["stdbuf", "--output=L", "qemu-img", "bench", "-f", "raw", "-t", "none"],
        *["-d", str(measure.depth), "-s", str(measure.request)],
        *["-S", str(measure.stride * measure.request), "-c", str(measure.count)],
        *(["-w"] if measure.kind == "write" else []),
        where,
    ]


def samples(found: Mapping[str, Sequence[Taken]], name: str) -> dict[str, dict[str, list[float]]]:
    """Ours against each of the others, by the names that the catalogue has for them.

    For FUSE the processor's time is left out: most of it is the mount's.
    """
    answers = {}
    for side, row, index in ((DRIVER, DRIVER, 0), (DRIVER, PROCESSOR, 1), (FUSE, FUSE, 0)):
        if side in found:
            answers["%s-%s" % (row, name)] = {
                OURS: [taken[index] for taken in found[OURS]],
                PEER: [taken[index] for taken in found[side]],
            }
    return answers


def skipped(name: str, why: str) -> dict[str, str]:
    """What there is to say where QEMU has no gluster driver, by the same names."""
    return {"%s-%s" % (row, name): why for row in (DRIVER, PROCESSOR) if why}
