"""From timings to figures: medians, ratios, the table and the JSON file."""

from __future__ import annotations

import dataclasses
import json
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

OURS = "ours"
PEER = "peer"
# In a script's answer: why rows were not measured, by name.
SKIPPED = "skipped"

HEADERS = ("name", "unit", "ours", "peer", "peer_name", "ratio", "runs")

_PSS = re.compile(r"^Pss: +([0-9]+) kB$", re.MULTILINE)
_QEMU_RUN = re.compile(r"^Run completed in ([0-9.]+) seconds\.$", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """One comparison: medians in `unit`, and `ratio`, which is better below 1."""

    name: str
    unit: str
    ours: float
    peer: float
    peer_name: str
    ratio: float
    runs: int


def row(
    name: str, unit: str, scale: float, peer_name: str, samples: Mapping[str, Sequence[float]]
) -> Row:
    """The figures of one benchmark from its `samples`, in seconds or bytes, by side.

    `scale` is how many of `unit` one of them is.  Raises ValueError where a side
    has no sample or one that is not positive.
    """
    middle = {}
    for side in (OURS, PEER):
        values = samples.get(side, ())
        if not values or min(values) <= 0:
            raise ValueError("%s: %s: not a list of figures: %r" % (name, side, list(values)))
        middle[side] = statistics.median(values)
    return Row(
        name,
        unit,
        _rounded(middle[OURS] * scale),
        _rounded(middle[PEER] * scale),
        peer_name,
        _rounded(middle[OURS] / middle[PEER]),
        min(len(samples[side]) for side in (OURS, PEER)),
    )


def _rounded(value: float) -> float:
    """Four digits that count: no run is repeated more exactly than that."""
    return float("%.4g" % value)


def table_lines(rows: Iterable[Row]) -> list[str]:
    """The rows as a table with a header: words to the left, numbers to the right."""
    cells = [HEADERS]
    for found in rows:
        values = dataclasses.asdict(found)
        cells.append(tuple(_cell(values[name]) for name in HEADERS))
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADERS))]
    words = [name in ("name", "unit", "peer_name") for name in HEADERS]
    return [
        "  ".join(
            cell.ljust(width) if word else cell.rjust(width)
            for cell, width, word in zip(line, widths, words, strict=True)
        ).rstrip()
        for line in cells
    ]


def _cell(value: object) -> str:
    return "%.3g" % value if isinstance(value, float) and value < 1000 else _plain(value)


def _plain(value: object) -> str:
    return "%.0f" % value if isinstance(value, float) else str(value)


def to_json(rows: Iterable[Row]) -> str:
    """The rows as a JSON list of objects, each a `Row`."""
    return json.dumps([dataclasses.asdict(found) for found in rows], indent=2) + "\n"


def processor_seconds(stat: str, ticks: int) -> float:
    """What a process took of the processor, user and system, by its `/proc/PID/stat`.

    `ticks` a second.  Threads that have ended are in it.
    """
    words = stat.rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / ticks


def memory_bytes(smaps_rollup: str) -> int:
    """A process's memory by its `/proc/PID/smaps_rollup`; what is shared counts by its part.

    Raises ValueError where the text does not tell.
    """
    found = _PSS.search(smaps_rollup)
    if found is None:
        raise ValueError("the memory of a process is not told: %r" % smaps_rollup[-500:])
    return int(found.group(1)) * 1024


def qemu_seconds(output: str) -> float:
    """How long the run of `qemu-img bench` took by its own account.

    It leaves out the opening of the image and the ten seconds that libgfapi
    takes to disconnect.  Raises ValueError where the output does not tell.
    """
    found = _QEMU_RUN.search(output)
    if found is None:
        raise ValueError("qemu-img bench does not tell its time: %r" % output[-500:])
    return float(found.group(1))
