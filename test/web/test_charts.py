"""The charts' shapes and their texts."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from ganeti_gluster.web import charts, words


def svg(markup: str) -> ET.Element:
    return ET.fromstring("<div>%s</div>" % markup)[0]


@pytest.mark.parametrize(
    ("used", "tone", "width"),
    [(0, "good", "0.00"), (80, "good", "80.00"), (81, "warn", "81.00"), (96, "bad", "96.00")],
)
def test_a_bar_is_as_long_as_it_is_full(used: int, tone: str, width: str) -> None:
    found = svg(charts.bar(used, 100, label="x"))

    assert (found[1].get("class"), found[1].get("width")) == ("fill-" + tone, width)
    assert found.get("aria-label") == "x: %d %% of 100 B used" % used


@pytest.mark.parametrize("total", [None, 0])
def test_a_bar_of_what_is_not_known_says_so(total: int | None) -> None:
    assert svg(charts.bar(1, total, label="x")).get("aria-label") == "x: not known"


def test_labels_are_escaped() -> None:
    assert svg(charts.bar(1, 2, label='"><script>')).get("aria-label", "").startswith('"><script>')
    assert "<script" not in charts.timeline(
        [], current="RUNNING", start=0, end=1, label="<script>"
    )


def test_a_line_goes_from_its_first_to_its_last_point() -> None:
    found = svg(charts.line([(0, 0), (60, 5), (120, 10)], label="Heals"))

    assert found[1].get("points") == "0.00,56.00 300.00,30.00 600.00,4.00"
    assert found.get("aria-label") == "Heals: now 10, at most 10 in 2 min"


@pytest.mark.parametrize("points", [[], [(1.0, 2.0)]])
def test_one_point_is_no_line(points: list[tuple[float, float]]) -> None:
    assert "not enough data yet" in charts.line(points, label="Heals")


def test_a_flat_line_of_zeroes_can_be_drawn() -> None:
    assert "56.00" in charts.line([(0, 0), (1, 0)], label="Heals")


def test_a_timeline_is_as_wide_and_high_as_its_statuses() -> None:
    changes = [
        (-50.0, "STOPPED", "RUNNING"),
        (50.0, "RUNNING", "STOPPED"),
        (75.0, "STOPPED", "PARTIALLY_UP"),
    ]
    found = svg(charts.timeline(changes, current="PARTIALLY_UP", start=0, end=100, label="node1"))

    assert [(one.get("class"), one.get("width"), one.get("height")) for one in found] == [
        ("fill-good pale", "300.00", "60.00"),
        ("fill-bad", "150.00", "15.00"),
        ("fill-warn", "150.00", "36.00"),
    ]
    assert found.get("aria-label") == (
        "node1 in the last 1 min: Up for 50 s, then Down for 25 s, then Partially up for 25 s"
    )


def test_without_a_change_a_timeline_shows_what_is() -> None:
    found = svg(charts.timeline([], current="STOPPED", start=0, end=100, label="node1"))

    assert [(one.get("class"), one.get("width")) for one in found] == [("fill-bad pale", "600.00")]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "?"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (8 << 30, "8.0 GiB")],
)
def test_sizes(value: int | None, text: str) -> None:
    assert words.size(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "never"),
        (0.4, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (7200, "2 h"),
        (200000, "2 days"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert words.duration(seconds) == text
