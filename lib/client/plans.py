"""What --dry-run has shown has a short name: with --plan exactly that is done, or nothing."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from ganeti import cli

from ganeti_gluster.errors import GanetiGlusterError

#: The last line of --dry-run.
_LINE = "Plan: %s"
SHOWN = re.compile(_LINE % "([0-9a-f]{12})")

PLAN_OPT = cli.cli_option(
    "--plan",
    dest="plan",
    default="",
    metavar="PLAN",
    help="Do not ask, and do exactly what --dry-run has shown with this plan, or nothing",
)


class PlanChanged(GanetiGlusterError):
    """What would be done is not what was shown."""


def show(*what: object) -> None:
    """Say by which name `what` can be agreed to."""
    cli.ToStdout(_LINE, _name(what))


def is_agreed(opts: Any, *what: object) -> bool:
    """Whether --plan says yes to `what`, so that nobody is asked.

    Raises `PlanChanged` if it names something else.
    """
    if opts.plan and opts.plan != _name(what):
        raise PlanChanged(
            "nothing was changed: this is no longer what plan %s was" % opts.plan,
            hint="use --dry-run again",
        )
    return bool(opts.plan)


def _name(what: tuple[object, ...]) -> str:
    return hashlib.sha256(repr(what).encode()).hexdigest()[:12]
