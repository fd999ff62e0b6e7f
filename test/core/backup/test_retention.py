"""Which backups stay: the rules of Proxmox, on calendars with all their traps."""

from __future__ import annotations

import calendar
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganeti_gluster.core.backup.retention import KeepRules, decide

HOUR, DAY = 3600, 86400


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where clocks are set back, at 3:00 on 2026-10-25."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def at(text: str) -> float:
    """A moment by the local clock."""
    form = "%Y-%m-%d %H:%M" if " " in text else "%Y-%m-%d"
    return time.mktime((*time.strptime(text, form)[:8], -1))


def kept(moments: list[float], **rules: int) -> dict[str, str]:
    """Why each of those stays that do, by the local clock."""
    reasons = decide(moments, KeepRules(**rules))
    assert len(reasons) == len(moments)
    return {
        time.strftime("%Y-%m-%d %H:%M", time.localtime(moment)): why
        for moment, why in zip(moments, reasons, strict=True)
        if why
    }


def days(first: str, count: int, hour: int = 12) -> list[float]:
    start = time.strptime(first, "%Y-%m-%d")
    return [
        time.mktime((start.tm_year, start.tm_mon, start.tm_mday + n, hour, 0, 0, 0, 0, -1))
        for n in range(count)
    ]


def test_without_rules_all_stay() -> None:
    assert decide([1.0, 2.0], KeepRules()) == ["no rule", "no rule"]
    assert decide([], KeepRules(daily=3)) == []


def test_the_last_ones_whenever_they_were() -> None:
    moments = [at("2020-01-01"), at("2026-11-28 10:00"), at("2026-11-28 09:00")]
    assert kept(moments, last=2) == {"2026-11-28 10:00": "last", "2026-11-28 09:00": "last"}
    assert len(kept(moments, last=9)) == 3


def test_the_newest_of_each_day_and_days_without_a_backup_do_not_count() -> None:
    moments = [at("2026-11-%s" % day) for day in ("20 08:00", "20 20:00", "23 08:00", "27 01:00")]
    assert kept(moments, daily=3) == {
        "2026-11-20 20:00": "daily",
        "2026-11-23 08:00": "daily",
        "2026-11-27 01:00": "daily",
    }
    assert list(kept(moments, daily=2)) == ["2026-11-23 08:00", "2026-11-27 01:00"]


def test_each_rule_goes_on_where_the_one_before_ended() -> None:
    moments = days("2026-09-01", 89)  # until 28 November, a Saturday
    found = kept(moments, last=2, daily=3, weekly=2, monthly=2)
    assert found == {
        "2026-11-28 12:00": "last",
        "2026-11-27 12:00": "last",
        "2026-11-26 12:00": "daily",
        "2026-11-25 12:00": "daily",
        "2026-11-24 12:00": "daily",
        # The week from Monday 23 has some already.
        "2026-11-22 12:00": "weekly",
        "2026-11-15 12:00": "weekly",
        "2026-10-31 12:00": "monthly",
        "2026-09-30 12:00": "monthly",
    }


def test_several_backups_on_a_day_that_the_last_ones_cover() -> None:
    moments = [at("2026-11-28 %02d:00" % hour) for hour in (1, 2, 3)] + [at("2026-11-27 23:00")]
    assert kept(moments, last=1, daily=1) == {
        "2026-11-28 03:00": "last",
        "2026-11-27 23:00": "daily",
    }


def test_an_hour_that_comes_twice_is_two() -> None:
    first = calendar.timegm((2026, 10, 25, 0, 30, 0))  # 02:30 CEST
    moments = [float(first), float(first + HOUR), float(first + HOUR + 60)]
    assert [time.localtime(moment).tm_hour for moment in moments] == [2, 2, 2]
    assert decide(moments, KeepRules(hourly=9)) == ["hourly", "", "hourly"]
    assert decide(moments, KeepRules(daily=9)) == ["", "", "daily"]


def test_weeks_at_the_end_of_a_year_are_whole() -> None:
    moments = days("2026-12-28", 8)  # Monday to Monday; the week is 2026-53
    assert list(kept(moments, weekly=5)) == ["2027-01-03 12:00", "2027-01-04 12:00"]
    assert list(kept(moments, yearly=5)) == ["2026-12-31 12:00", "2027-01-04 12:00"]


def test_days_are_those_of_the_local_clock() -> None:
    moments = [at("2026-11-27 23:30"), at("2026-11-28 00:30")]
    assert len({time.gmtime(moment).tm_mday for moment in moments}) == 1
    assert len(kept(moments, daily=2)) == 2


def test_ten_years_of_hours() -> None:
    start = at("2017-01-01 00:30")
    moments = [start + n * HOUR * 6 for n in range(10 * 366 * 4)]
    found = list(
        kept(moments, last=3, hourly=24, daily=7, weekly=4, monthly=12, yearly=3).values()
    )
    assert {rule: found.count(rule) for rule in found} == {
        "last": 3, "hourly": 24, "daily": 7, "weekly": 4, "monthly": 12, "yearly": 3,
    }  # fmt: skip


RULES = st.builds(
    KeepRules, **{name: st.integers(0, 4) for name in KeepRules.__dataclass_fields__}
)
MOMENTS = st.lists(st.integers(0, 400).map(lambda n: 1.7e9 + n * 5 * HOUR), max_size=40)


@given(MOMENTS, RULES)
def test_what_holds_for_any_rules(moments: list[float], keep: KeepRules) -> None:
    reasons = decide(moments, keep)
    if keep.all:
        assert all(reasons)
        return
    if moments:
        assert any(why for why, at in zip(reasons, moments, strict=True) if at == max(moments))
    for rule in KeepRules.__dataclass_fields__:
        assert reasons.count(rule) <= getattr(keep, rule)
    # Of those that stay, all stay when the rules are applied again.
    left = [at for at, why in zip(moments, reasons, strict=True) if why]
    if len(set(left)) == len(left):
        assert all(decide(left, keep))
