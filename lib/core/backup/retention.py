"""Which backups stay, as people know it from Proxmox: `keep-last`, `keep-daily` and so on.

The rules are applied in the order of the fields of `KeepRules`, each to the backups from the
newest on.  A rule keeps the newest backup of each of so many periods that have one.  Periods of
which an earlier rule keeps a backup neither count for it nor get another one, so each rule goes on
where the one before it ended.  Periods are those of the local calendar; weeks begin on Monday, as
in ISO 8601.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class KeepRules:
    """How many backups each rule keeps."""

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0

    @property
    def all(self) -> bool:
        """Whether there is no rule, and so everything stays."""
        return not any(getattr(self, each.name) for each in fields(self))


#: The period of a moment, for each rule but `last`, whose periods are the backups themselves.
_PERIODS: dict[str, Callable[[time.struct_time], object]] = {
    # When the clocks are set back, an hour comes twice.
    "hourly": lambda at: (at.tm_year, at.tm_yday, at.tm_hour, at.tm_gmtoff),
    "daily": lambda at: (at.tm_year, at.tm_yday),
    "weekly": lambda at: time.strftime("%G-%V", at),
    "monthly": lambda at: (at.tm_year, at.tm_mon),
    "yearly": lambda at: at.tm_year,
}


def decide(moments: Sequence[float], keep: KeepRules) -> list[str]:
    """Why each backup stays, "" if it does not; `moments` are when each was taken.

    With any rule at all the newest one stays.
    """
    if keep.all:
        return ["no rule"] * len(moments)
    newest_first = sorted(range(len(moments)), key=lambda i: moments[i], reverse=True)
    reasons = [""] * len(moments)
    for i in newest_first[: keep.last]:
        reasons[i] = "last"
    # What a rule has passed over is not looked at again: a later rule's period may be longer.
    passed = set(newest_first[: keep.last])
    for rule, period in _PERIODS.items():
        _apply(rule, getattr(keep, rule), period, moments, newest_first, reasons, passed)
    return reasons


def _apply(
    rule: str,
    count: int,
    period: Callable[[time.struct_time], object],
    moments: Sequence[float],
    newest_first: Sequence[int],
    reasons: list[str],
    passed: set[int],
) -> None:
    of = {i: period(time.localtime(moments[i])) for i in newest_first}
    covered = {of[i] for i in newest_first if reasons[i]}
    kept: set[object] = set()
    for i in newest_first:
        if i in passed or of[i] in covered:
            continue
        if of[i] not in kept:
            if len(kept) == count:
                return
            kept.add(of[i])
            reasons[i] = rule
        passed.add(i)
