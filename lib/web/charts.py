"""Charts as SVG: pure functions from numbers to markup.

Each chart has a text alternative that says what it shows.  Colours are classes of style.css.
There is no inline style, because the page's policy forbids it.
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup, escape

from ganeti_gluster.core.services.model import ServiceStatus
from ganeti_gluster.web import words
from ganeti_gluster.web.facts import Sample

#: Width and height of charts over time, in the SVG's own units.
WIDTH = 600
HEIGHT = 60

# What a status is as a height, so that a timeline is readable without colours.
_LEVELS = {
    ServiceStatus.RUNNING.value: 1.0,
    ServiceStatus.PARTIALLY_UP.value: 0.6,
    ServiceStatus.STOPPED.value: 0.25,
    ServiceStatus.NOT_INSTALLED.value: 0.1,
    ServiceStatus.UNKNOWN.value: 0.1,
}


def bar(used: float | None, total: float | None, *, label: str) -> Markup:
    """How full something is; above 80 % it warns, above 95 % it is bad."""
    if used is None or not total:
        share, tone, text = 0.0, "off", "%s: not known" % label
    else:
        share = min(1.0, max(0.0, used / total))
        tone = "bad" if share > 0.95 else "warn" if share > 0.8 else "good"
        text = "%s: %d %% of %s used" % (label, round(share * 100), words.size(total))
    return Markup(
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" role="img"'
        ' aria-label="%s"><rect class="ground" width="100" height="8"/>'
        '<rect class="fill-%s" width="%s" height="8"/></svg>'
    ) % (text, tone, _number(share * 100))


def heals(samples: Sequence[Sample]) -> list[tuple[float, float]]:
    """The points of the line of entries that wait for a heal."""
    return [(one.at, float(one.heals)) for one in samples if one.heals is not None]


def space(samples: Sequence[Sample]) -> list[tuple[float, float]]:
    """The points of the line of GiB in use."""
    return [(one.at, round(one.used / 2**30, 2)) for one in samples if one.used is not None]


def line(points: Sequence[tuple[float, float]], *, label: str, unit: str = "") -> Markup:
    """A line over time from (time, value) points, the oldest first; from zero upwards."""
    if len(points) < 2:
        return Markup('<p class="muted">%s: not enough data yet.</p>') % label
    start, end = points[0][0], points[-1][0]
    span = (end - start) or 1.0
    top = max(value for _, value in points) or 1.0
    shape = " ".join(
        "%s,%s"
        % (
            _number((at - start) / span * WIDTH),
            _number((HEIGHT - 4) - value / top * (HEIGHT - 8)),
        )
        for at, value in points
    )
    most = max(value for _, value in points)
    text = "%s: now %g%s, at most %g%s in %s" % (
        *(label, points[-1][1], unit, most, unit),
        words.duration(span),
    )
    return Markup(
        '<svg class="line" viewBox="0 0 %d %d" preserveAspectRatio="none" role="img"'
        ' aria-label="%s"><polygon class="area" points="0,%d %s %d,%d"/>'
        '<polyline class="stroke" points="%s"/></svg>'
        '<p class="ends"><span>%s ago</span><span>at most %s</span><span>now</span></p>'
    ) % (
        *(WIDTH, HEIGHT, text, HEIGHT, shape, WIDTH, HEIGHT, shape),
        *(words.duration(span), "%g%s" % (most, unit)),
    )


def timeline(
    changes: Sequence[tuple[float, str, str]],
    *,
    current: str,
    start: float,
    end: float,
    label: str,
) -> Markup:
    """A status over time.

    `changes` are (time, old, new), the oldest first; `current` is the status at
    `end`.  Before the first change it is taken to be that one's old status, and shown
    paler: nobody may have looked then.
    """
    segments: list[tuple[float, float, str]] = []
    inside = [change for change in changes if start < change[0] <= end]
    at, status = start, inside[0][1] if inside else current
    for when, _, new in inside:
        segments.append((at, when, status))
        at, status = when, new
    segments.append((at, end, status))
    span = (end - start) or 1.0
    rects = Markup("").join(
        Markup('<rect class="fill-%s%s" x="%s" y="%s" width="%s" height="%s"/>')
        % (
            words.status_word(kind).tone,
            " pale" if (begin, until) == segments[0][:2] else "",
            _number((begin - start) / span * WIDTH),
            _number(HEIGHT - _LEVELS.get(kind, 0.1) * HEIGHT),
            _number((until - begin) / span * WIDTH),
            _number(_LEVELS.get(kind, 0.1) * HEIGHT),
        )
        for begin, until, kind in segments
    )
    text = "%s in the last %s: %s" % (
        label,
        words.duration(span),
        ", then ".join(
            "%s for %s" % (words.status_word(kind).text, words.duration(until - begin))
            for begin, until, kind in segments[-6:]
        ),
    )
    return Markup(
        '<svg class="timeline" viewBox="0 0 %d %d" preserveAspectRatio="none" role="img"'
        ' aria-label="%s">%s</svg>'
    ) % (WIDTH, HEIGHT, escape(text), rects)


def _number(value: float) -> str:
    return "%.2f" % value
