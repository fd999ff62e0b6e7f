"""What the guest says on its console, and whether its records have a gap.

The lines are those of qa/os/guest/init::

    GUEST booted from=vda token=1f0c9a22 size=1073741824
    GUEST records=17
    GUEST wrote=18 size=1073741824
    GUEST lost=19
    GUEST failed wanted=1f0c9a22 found=
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from .errors import DemoFailed

#: The guest begins again at 1 after this record.
LAST_RECORD = 4000

BOOTED, RECORDS, WROTE, LOST, FAILED = "booted", "records", "wrote", "lost", "failed"

# The boot loader and the kernel may leave something before it on the line.
_LINE = re.compile(
    r"GUEST (?:"
    r"(?P<booted>booted) from=vda token=(?P<token>\S+) size=(?P<boot_size>\d+)"
    r"|records=(?P<records>\d+)"
    r"|wrote=(?P<wrote>\d+) size=(?P<size>\d+)"
    r"|lost=(?P<lost>\d+)"
    r"|(?P<failed>failed) .*"
    r")\s*\Z"
)


@dataclass(frozen=True)
class GuestEvent:
    """One line of the guest, which came at `time`; `size` of its disk in bytes.

    `line` is where it is on the console, counted from 0.
    """

    kind: str
    number: int = 0
    size: int = 0
    token: str = ""
    time: float = 0.0
    line: int = field(default=0, compare=False)


def parse_line(line: str, time: float = 0.0) -> GuestEvent | None:
    """What the guest says in a line, None if the line is not the guest's."""
    found = _LINE.search(line)
    if not found:
        return None
    if found["booted"]:
        return GuestEvent(BOOTED, size=int(found["boot_size"]), token=found["token"], time=time)
    if found["failed"]:
        return GuestEvent(FAILED, time=time)
    for kind in (RECORDS, WROTE, LOST):
        if found[kind]:
            return GuestEvent(kind, int(found[kind]), int(found["size"] or 0), time=time)
    raise AssertionError("not reached")


def parse(chunks: Iterable[tuple[float, bytes]]) -> list[GuestEvent]:
    """The events of a console; `chunks` are its bytes in order with their times.

    A line counts when its end has come, at the time of its end.
    """
    events = []
    count = 0
    rest = b""
    for time, chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            event = parse_line(line.decode("ascii", "replace"), time)
            if event:
                events.append(replace(event, line=count))
            count += 1
    return events


def last_acknowledged(events: Sequence[GuestEvent]) -> int:
    """The last record that must be found at the next boot, 0 if there is none."""
    numbers = [event.number for event in events if event.kind in (WROTE, RECORDS)]
    return max(numbers, default=0)


def follows(number: int, before: int) -> bool:
    """Whether the guest writes record `number` after record `before`."""
    return number == (1 if before >= LAST_RECORD else before + 1)


def check_unbroken(events: Sequence[GuestEvent]) -> None:
    """Raises `DemoFailed` unless all events are of one boot and no record is missing."""
    before: GuestEvent | None = None
    for event in events:
        if event.kind == LOST:
            raise DemoFailed("the guest could not write record %d" % event.number, line=event.line)
        if event.kind == FAILED:
            raise DemoFailed("the guest does not run from its disk", line=event.line)
        if before and event.kind in (BOOTED, RECORDS):
            raise DemoFailed(
                "the guest booted again after record %d" % before.number, line=event.line
            )
        if event.kind == WROTE:
            if before and not follows(event.number, before.number):
                raise DemoFailed(
                    "record %d follows record %d on the guest's console"
                    % (event.number, before.number),
                    line=event.line,
                )
            before = event


def check_reboot(before: Sequence[GuestEvent], after: Sequence[GuestEvent]) -> None:
    """Raises `DemoFailed` unless a new boot found all that was acknowledged before it.

    `after` begins with the boot; both are unbroken in themselves.
    """
    check_unbroken(after)
    tokens = {event.token for event in [*before, *after] if event.kind == BOOTED}
    if len(tokens) != 1:
        raise DemoFailed(
            "the guest booted from another disk: tokens %s" % ", ".join(sorted(tokens))
        )
    wanted = last_acknowledged(before)
    found = [event.number for event in after if event.kind == RECORDS]
    if len(found) != 1:
        raise DemoFailed("the guest did not say what it found on its disk")
    if found[0] < wanted:
        raise DemoFailed(
            "the guest found %d records, and %d had been acknowledged" % (found[0], wanted)
        )
    written = [event.number for event in after if event.kind == WROTE]
    if written and not follows(written[0], found[0]):
        raise DemoFailed("the guest found %d records and wrote %d" % (found[0], written[0]))


def longest_pause(events: Sequence[GuestEvent]) -> float:
    """The longest time in seconds between two records that follow each other."""
    times = [event.time for event in events if event.kind == WROTE]
    return max((later - earlier for earlier, later in pairwise(times)), default=0.0)
