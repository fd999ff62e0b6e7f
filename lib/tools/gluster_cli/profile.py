"""What a volume's bricks were asked, where `gluster volume profile` is on."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass


@dataclass(frozen=True)
class Calls:
    """The calls of one kind; latencies in nanoseconds."""

    name: str
    hits: int
    average: float
    least: float
    most: float


@dataclass(frozen=True)
class BrickProfile:
    """A brick's totals since profiling began: seconds, bytes read and written, calls."""

    brick: str
    seconds: int
    bytes_read: int
    bytes_written: int
    calls: tuple[Calls, ...]


def words(volume: str) -> tuple[str, ...]:
    """The question, which leaves the counters of intervals as they are."""
    return ("volume", "profile", volume, "info", "cumulative")


def is_off(reason: str) -> bool:
    """Whether a refusal says that profiling is off."""
    return reason.startswith("Profile on Volume") and "not started" in reason


def parse(answer: ET.Element) -> list[BrickProfile]:
    """The bricks in the answer that reported."""
    return [
        _brick(brick, totals)
        for brick in answer.iterfind("volProfile/brick")
        if (totals := brick.find("cumulativeStats")) is not None
    ]


def _brick(brick: ET.Element, totals: ET.Element) -> BrickProfile:
    return BrickProfile(
        brick=brick.findtext("brickName", ""),
        seconds=int(totals.findtext("duration", "0")),
        bytes_read=int(totals.findtext("totalRead", "0")),
        bytes_written=int(totals.findtext("totalWrite", "0")),
        calls=tuple(
            Calls(
                name=call.findtext("name", ""),
                hits=int(call.findtext("hits", "0")),
                average=float(call.findtext("avgLatency", "0")),
                least=float(call.findtext("minLatency", "0")),
                most=float(call.findtext("maxLatency", "0")),
            )
            for call in totals.iterfind("fopStats/fop")
        ),
    )
