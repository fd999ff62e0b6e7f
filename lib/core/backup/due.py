"""What has become of each schedule so far, and so what is due, late or too old.

The master keeps it in a file.  One that became the master has none, or an old one: the
repositories themselves tell when the last backup was made, and are asked before another is.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated

from ganeti_gluster import constants
from ganeti_gluster.core.verify.finding import Finding
from ganeti_gluster.tools import decode, private
from ganeti_gluster.tools.decode import Count, Moment, Name, NotUnderstood, Sentence

#: Seconds after its time when a backup that was not even tried counts as missed.
GRACE = 3600.0
#: Seconds until one that failed is tried again: doubled with each failure, up to the second.
RETRY, LONGEST_RETRY = 900.0, 4 * 3600.0
#: Seconds by which clocks may differ: what is later than that is of one that was wrong.
CLOCKS = 3600.0


@dataclass(frozen=True)
class ScheduleEntry:
    """An instance in a schedule.

    `last` is when what is there was begun, None if nothing is.  `due` is the first of the
    schedule's times after that, and `overdue` the one after it; None if there is none.
    `failures` are those since, the last one at `tried` for the reason `error`.
    """

    schedule: Name
    instance: Name
    last: Moment | None = None
    due: Moment | None = None
    overdue: Moment | None = None
    failures: Count = 0
    tried: Moment = 0.0
    error: Sentence = ""

    @property
    def next_try(self) -> float | None:
        """When it is to be made."""
        if self.due is None or not self.failures:
            return self.due
        pause: float = min(RETRY * 2 ** min(self.failures - 1, 10), LONGEST_RETRY)
        return max(self.due, self.tried + pause)

    def is_of_future(self, now: float) -> bool:
        """Whether it is of a clock that was ahead."""
        return max(self.last or 0.0, self.tried) > now + CLOCKS

    def is_due(self, now: float) -> bool:
        """Whether it is to be made now."""
        moment = self.next_try
        return moment is not None and moment <= now

    def state(self, now: float) -> str:
        """In a word what is wrong: "failed", "old" or "missed"; "ok" if nothing is."""
        if self.failures:
            return "failed"
        if self.is_old(now):
            return "old"
        return "missed" if self.due is not None and self.due + GRACE <= now else "ok"

    def is_old(self, now: float) -> bool:
        """Whether two times of the schedule have passed without a backup."""
        return self.overdue is not None and self.overdue + GRACE <= now

    def made(self, begun: float, times: Times) -> ScheduleEntry:
        """As it is once that is there which was begun at this moment."""
        return times.of(ScheduleEntry(self.schedule, self.instance, last=begun))

    def failed(self, now: float, error: str) -> ScheduleEntry:
        """As it is after another failure."""
        text = decode.printable(error)
        return replace(self, failures=self.failures + 1, tried=now, error=text)


@dataclass(frozen=True)
class ScheduleState:
    """What is in the file: when it was `written`, `since` when each schedule has been known, when
    the next is due, and when what no backup needs was last freed in each repository."""

    since: Mapping[Name, Moment] = field(default_factory=dict)
    next: Moment | None = None
    entries: tuple[ScheduleEntry, ...] = ()
    pruned: Mapping[Annotated[str, decode.Longest(4096)], Moment] = field(default_factory=dict)
    written: Moment = 0.0

    def entry(self, schedule: str, instance: str) -> ScheduleEntry | None:
        """What is known of an instance in a schedule."""
        wanted = (schedule, instance)
        return next((e for e in self.entries if (e.schedule, e.instance) == wanted), None)

    def with_entry(self, entry: ScheduleEntry) -> ScheduleState:
        """The same with this one in the place of the other that there may be."""
        key = (entry.schedule, entry.instance)
        others = [each for each in self.entries if (each.schedule, each.instance) != key]
        return replace(self, entries=(*others, entry))


def load(path: str | None = None) -> ScheduleState:
    """What is known; nothing where there is no file, or none that is understood."""
    try:
        with open(path or constants.BACKUP_STATE, encoding="utf-8") as stream:
            return decode.build(ScheduleState, json.load(stream))
    except (OSError, ValueError, NotUnderstood):
        return ScheduleState()


def save(state: ScheduleState, path: str | None = None) -> None:
    """Keep it."""
    private.write_json(path or constants.BACKUP_STATE, decode.as_data(state))


class Times:
    """The times of a schedule; `next_elapse` tells one of an expression after a moment."""

    def __init__(
        self, expressions: Iterable[str], next_elapse: Callable[[str, float], float | None]
    ) -> None:
        self._expressions = tuple(expressions)
        self._next_elapse = next_elapse
        # Between two of these there is none.
        self._known: list[tuple[float, float | None]] = []

    def after(self, moment: float) -> float | None:
        """The first one after this moment; None if there is none any more."""
        for begin, end in self._known:
            if begin <= moment and (end is None or moment < end):
                return end
        found = [self._next_elapse(each, moment) for each in self._expressions]
        end = min((each for each in found if each is not None), default=None)
        self._known.append((moment, end))
        return end

    def of(self, entry: ScheduleEntry, *, since: float = 0.0) -> ScheduleEntry:
        """An entry with its times; `since` counts where there was no backup yet."""
        due = self.after(since if entry.last is None else entry.last)
        overdue = None if due is None else self.after(due)
        return replace(entry, due=due, overdue=overdue)


def when(moment: float) -> str:
    """A moment for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def findings(entries: Iterable[ScheduleEntry], now: float) -> Iterator[Finding]:
    """What is wrong with them."""
    for entry in entries:
        of = partial(Finding.of, schedule=entry.schedule)
        if entry.failures:
            text = "schedule %s failed at %s: %s" % (
                entry.schedule,
                when(entry.tried),
                entry.error,
            )
            yield of("BACKUP_FAILED", entry.instance, text)
        if entry.is_old(now):
            text = "schedule %s has made nothing since %s" % (
                entry.schedule,
                "it began" if entry.last is None else when(entry.last),
            )
            yield of("BACKUP_OLD", entry.instance, text)
        elif entry.state(now) == "missed" and entry.due is not None:
            text = "schedule %s has not made what was due at %s" % (
                entry.schedule,
                when(entry.due),
            )
            yield of("BACKUP_MISSED", entry.instance, text)
