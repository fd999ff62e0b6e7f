"""The name of what a dry run has shown, by which somebody says yes to just that."""

from __future__ import annotations

import hashlib
import re

#: The last line of a dry run.
LINE = "Plan: %s"
NAME = "[0-9a-f]{12}"

_SHOWN = re.compile(LINE % ("(%s)" % NAME))


def name_of(what: tuple[object, ...]) -> str:
    """The name of a plan: of other things it is another one."""
    return hashlib.sha256(repr(what).encode()).hexdigest()[:12]


def shown_in(lines: list[str]) -> str:
    """The name in the last line of a dry run's output, "" if there is none."""
    found = _SHOWN.fullmatch(lines[-1]) if lines else None
    return found[1] if found else ""
