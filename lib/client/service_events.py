"""`gnt-gluster swift events` and `services events`: changes of the services."""

from __future__ import annotations

import datetime
import json
import re
import time
from collections.abc import Iterable
from typing import Any

from ganeti import cli, errors

from ganeti_gluster.client.options import JSON_OPT
from ganeti_gluster.client.service_table import moment
from ganeti_gluster.core.services.events import Event
from ganeti_gluster.core.services.store import Store, connect
from ganeti_gluster.tools.decode import as_data

FOLLOW_SECONDS = 1.0
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

FOLLOW_OPT = cli.cli_option(
    "--follow",
    dest="follow",
    default=False,
    action="store_true",
    help="Keep printing new events as they happen, until interrupted",
)
SINCE_OPT = cli.cli_option(
    "--since",
    dest="since",
    default=None,
    metavar="TIME",
    help="Only events since this time: 90m, 2h, 3d, 2026-11-21, or '2026-11-21 09:30'",
)
OPTIONS = [JSON_OPT, FOLLOW_OPT, SINCE_OPT]


def parse_since(text: str, now: float) -> float:
    """The time that `text` means, in seconds since the epoch; raises OpPrereqError."""
    ago = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if ago:
        return now - int(ago.group(1)) * _UNITS[ago.group(2)]
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise errors.OpPrereqError(
            "'%s' is not a valid time; use 90m, 2h, 3d, 2026-11-21, or '2026-11-21 09:30'" % text,
            errors.ECODE_INVAL,
        ) from None


def show(opts: Any, type: str | None) -> int:
    """Print the events of a type (all for None), and with --follow those that come."""
    since = None if opts.since is None else parse_since(opts.since, time.time())
    with connect() as store:
        # Before the rest: what is stored in between is not to be missed.
        last = _last(store)
        events = store.events(since=since)
        _print(opts, (event for event in events if _concerns(event, type)))
        if opts.follow:
            _follow(opts, store, type, events[-1].id if events else last)
    return 0


def _last(store: Store) -> int:
    newest = store.events(limit=1)
    return newest[0].id if newest else 0


def _follow(opts: Any, store: Store, type: str | None, after: int) -> None:
    try:
        while True:
            time.sleep(FOLLOW_SECONDS)
            for event in store.events(after=after):
                after = event.id
                if _concerns(event, type):
                    _print(opts, [event])
    except KeyboardInterrupt:
        return


def _concerns(event: Event, type: str | None) -> bool:
    """Whether it is of that type, or of a whole node."""
    return type is None or event.type in ("", type)


def _print(opts: Any, events: Iterable[Event]) -> None:
    """A line for each event; JSON, too, since events may never end."""
    for event in events:
        if opts.json:
            line = json.dumps(as_data(event), sort_keys=True)
        else:
            line = "%s  %s" % (moment(event.time), event.line())
        cli.ToStdout("%s", line)
