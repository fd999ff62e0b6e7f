"""The output of the services' state on a terminal."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

from ganeti_gluster.core.services.model import ClusterServices, ServiceStatus

# Select Graphic Rendition of ECMA-48.
_CODES = {"green": "32", "red": "31", "amber": "33", "grey": "90"}


def wants_colour() -> bool:
    """Whether standard output is a terminal whose owner does not mind colours."""
    return (
        sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    )


def word(status: ServiceStatus) -> str:
    """The status in words: "Up", "Down", …; what is not known has a question mark."""
    return "%s ?" % status.word if status is ServiceStatus.UNKNOWN else status.word


def paint(text: str, status: ServiceStatus, *, colour: bool) -> str:
    """The text in the colour of a status."""
    return "\033[%sm%s\033[0m" % (_CODES[status.colour], text) if colour else text


def overview(snapshot: ClusterServices, type: str, title: str, *, colour: bool) -> list[str]:
    """The lines for one type: the cluster, a table of nodes and services, the reasons."""
    whole = snapshot.aggregate(type=type)
    head = "%s: %s" % (title, paint(word(whole.status), whole.status, colour=colour))
    if not whole.members:
        return ["%s is not expected on any node" % title]
    lines = [head, "", *_matrix(snapshot, type, colour=colour)]
    reasons = _reasons(snapshot, type)
    return [*lines, "", *reasons] if reasons else lines


def _matrix(snapshot: ClusterServices, type: str, *, colour: bool) -> list[str]:
    names = list(dict.fromkeys(service.name for service in snapshot.select(type=type)))
    rows: list[list[tuple[str, ServiceStatus | None]]] = [
        [(text, None) for text in ("Node", *names, "Together")]
    ]
    for node in snapshot.nodes(type):
        row: list[tuple[str, ServiceStatus | None]] = [(node, None)]
        for name in (*names, None):
            status = snapshot.aggregate(type=type, node=node, service=name).status
            row.append((word(status), status))
        rows.append(row)
    widths = [max(len(row[at][0]) for row in rows) for at in range(len(rows[0]))]
    return ["  ".join(_cells(row, widths, colour=colour)).rstrip() for row in rows]


def _cells(
    row: Sequence[tuple[str, ServiceStatus | None]], widths: Sequence[int], *, colour: bool
) -> list[str]:
    return [
        (paint(text, status, colour=colour) if status else text) + " " * (width - len(text))
        for (text, status), width in zip(row, widths, strict=True)
    ]


def _reasons(snapshot: ClusterServices, type: str) -> list[str]:
    """Why what does not run does not: a line for a silent node, else for each service."""
    lines = []
    for node in snapshot.nodes(type):
        if node in snapshot.failures:
            lines.append("%s: %s" % (node, snapshot.failures[node]))
            continue
        for service in snapshot.select(type=type, node=node):
            if service.message and service.status is not ServiceStatus.NOT_INSTALLED:
                lines.append("%s %s: %s" % (node, service.name, service.message))
    return lines


def moment(seconds: float | None) -> str:
    """A time for people, in the node's time zone; "-" for none."""
    if seconds is None:
        return "-"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
