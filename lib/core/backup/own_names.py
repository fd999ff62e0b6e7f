"""The names of the backups and snapshots that a schedule takes, which no user's has.

They have the schedule's name and the time: `scheduled-nightly-20261128-023000`, in UTC.
"""

from __future__ import annotations

import calendar
import re
import time

from ganeti_gluster.core.snapshot import catalogue
from ganeti_gluster.errors import InvalidParameter

PREFIX = "scheduled-"
#: A schedule's name, so short that there is room for the rest.
SCHEDULE = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")

_NAME = re.compile(r"%s(%s)-(\d{8}-\d{6})" % (PREFIX, SCHEDULE.pattern))


def make(schedule: str, moment: float) -> str:
    """The name of what this schedule takes at this moment."""
    return "%s%s-%s" % (PREFIX, schedule, catalogue.default_name(moment))


def moment(name: str, schedule: str) -> float | None:
    """When what has this name was begun, None if it is not this schedule's."""
    found = _NAME.fullmatch(name)
    if found is None or found[1] != schedule:
        return None
    try:
        return float(calendar.timegm(time.strptime(found[2], "%Y%m%d-%H%M%S")))
    except ValueError:
        return None


def refuse(name: str) -> None:
    """Raise `InvalidParameter` for a name that a user must not give."""
    if name.startswith(PREFIX):
        raise InvalidParameter("name %s: names that begin with %s are the schedule's"
                               % (name, PREFIX))  # fmt: skip
