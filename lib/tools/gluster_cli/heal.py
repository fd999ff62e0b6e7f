"""Pending heals of a brick, as the other bricks know them.

Only running bricks are queried, and each reports what it knows about the others: the number of
pending heals is the largest number, not the sum.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass

CONNECTED = "Connected"

# GlusterFS 10 and 11 write, of a brick that does not answer, "Failed to process
# entries completely. (Transport endpoint is not connected)totalNumberOfEntries0".
_GARBAGE = re.compile(r"totalNumberOfEntries\d+$")


@dataclass(frozen=True)
class BrickHeal:
    """What one brick knows of entries to heal; the counts are None if it did not answer."""

    brick: str
    connected: bool
    status: str
    total: int | None
    pending: int | None
    split_brain: int | None
    healing: int | None


@dataclass(frozen=True)
class HealEntries:
    """The entries that one brick knows: paths on the volume, or `<gfid:…>`.

    A shard is `/.shard/GFID.N`; `gfids` has the GFIDs in the same order.  `count` is
    None if the brick did not answer.
    """

    brick: str
    connected: bool
    status: str
    paths: tuple[str, ...]
    gfids: tuple[str, ...]
    count: int | None


def summary_words(volume: str) -> tuple[str, ...]:
    """The question for numbers."""
    return ("volume", "heal", volume, "info", "summary")


def split_brain_words(volume: str) -> tuple[str, ...]:
    """The question for the paths that need a decision."""
    return ("volume", "heal", volume, "info", "split-brain")


def parse_summary(answer: ET.Element) -> list[BrickHeal]:
    """The bricks of `heal info summary`."""
    return [
        BrickHeal(
            brick=brick.findtext("name", ""),
            connected=brick.findtext("status") == CONNECTED,
            status=_status(brick),
            total=_number(brick, "totalNumberOfEntries"),
            pending=_number(brick, "numberOfEntriesInHealPending"),
            split_brain=_number(brick, "numberOfEntriesInSplitBrain"),
            healing=_number(brick, "numberOfEntriesPossiblyHealing"),
        )
        for brick in answer.iterfind("healInfo/bricks/brick")
    ]


def parse_entries(answer: ET.Element) -> list[HealEntries]:
    """The bricks of `heal info` and of `heal info split-brain`."""
    return [
        HealEntries(
            brick=brick.findtext("name", ""),
            connected=brick.findtext("status") == CONNECTED,
            status=_status(brick),
            paths=tuple(entry.text or "" for entry in brick.iterfind("file")),
            gfids=tuple(entry.get("gfid", "") for entry in brick.iterfind("file")),
            count=_number(brick, "numberOfEntries"),
        )
        for brick in answer.iterfind("healInfo/bricks/brick")
    ]


def _status(brick: ET.Element) -> str:
    return _GARBAGE.sub("", brick.findtext("status", ""))


def _number(brick: ET.Element, name: str) -> int | None:
    text = brick.findtext(name, "")
    return int(text) if text.isdecimal() else None
