"""Starts and stops by users, kept in files until the sync stores them as events."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path

from ganeti_gluster import constants
from ganeti_gluster.core.services.control import DONE, FAILED, Outcome
from ganeti_gluster.core.services.events import SERVICE_ACTION, Event, message
from ganeti_gluster.tools import decode, private
from ganeti_gluster.tools.decode import NotUnderstood

#: So many wait for a sync at most: without one, nobody reads them.
MOST = 1000
_SUFFIX = ".json"


def event(verb: str, user: str, outcomes: Sequence[Outcome]) -> Event:
    """What a user did to services of one type on one node; there is at least one outcome.

    It names those that were started or stopped, or should have been.
    """
    names = [outcome.service for outcome in outcomes if outcome.result in (DONE, FAILED)]
    failed = [outcome.service for outcome in outcomes if outcome.result == FAILED]
    text = "%s by %s" % (verb, user)
    if len(names) > 1:
        text += ": %s" % ", ".join(names)
    if failed:
        text += "; failed: %s" % ", ".join(failed)
    return Event(
        time.time(),
        SERVICE_ACTION,
        type=outcomes[0].type,
        node=outcomes[0].node,
        service=names[0] if len(names) == 1 else "",
        message=message(text),
        uid=uuid.uuid4().hex,
    )


def keep(events: Iterable[Event], directory: str | None = None) -> None:
    """Keep events for the next sync; raises OSError."""
    for each in events:
        private.write_json(
            os.path.join(_in(directory), each.uid + _SUFFIX), decode.as_data(each), durable=True
        )


def kept(directory: str | None = None) -> list[Event]:
    """The events that wait for a sync, in their order."""
    found = []
    for name in _names(_in(directory)):
        # A file that is broken is no event.
        with contextlib.suppress(NotUnderstood, OSError, UnicodeDecodeError):
            text = Path(_in(directory), name).read_text(encoding="utf-8")
            found.append(decode.build(Event, decode.plain(text)))
    return sorted(found, key=lambda each: each.time)


def forget(events: Iterable[Event], directory: str | None = None) -> None:
    """Remove events that are stored."""
    for each in events:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(_in(directory), each.uid + _SUFFIX))


def _in(directory: str | None) -> str:
    return directory or constants.SERVICES_BY_USERS


def _names(directory: str) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return [name for name in os.listdir(directory) if name.endswith(_SUFFIX)][:MOST]
    return []
