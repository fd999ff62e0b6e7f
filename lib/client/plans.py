"""The option --plan: exactly what --dry-run has shown is done, or nothing."""

from __future__ import annotations

from typing import Any

from ganeti import cli

from ganeti_gluster.core import plans
from ganeti_gluster.errors import GanetiGlusterError

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
    cli.ToStdout(plans.LINE, plans.name_of(what))


def is_agreed(opts: Any, *what: object) -> bool:
    """Whether --plan says yes to `what`, so that nobody is asked.

    Raises `PlanChanged` if it names something else.
    """
    if opts.plan and opts.plan != plans.name_of(what):
        raise PlanChanged(
            "nothing was changed: this is no longer what plan %s was" % opts.plan,
            hint="use --dry-run again",
        )
    return bool(opts.plan)
