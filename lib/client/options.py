"""Options that several commands of `gnt-gluster` have, and the question that some ask."""

from __future__ import annotations

from typing import Any

from ganeti import cli

from ganeti_gluster.constants import MIB
from ganeti_gluster.errors import GanetiGlusterError, InvalidParameter

JSON_OPT = cli.cli_option(
    "--json", dest="json", default=False, action="store_true", help="Print JSON instead of text"
)
LOCAL_OPT = cli.cli_option(
    "--local",
    dest="local",
    default=False,
    action="store_true",
    help="Only this node; also works on nodes other than the master",
)
NODE_OPT = cli.cli_option(
    "-n",
    "--node",
    dest="nodes",
    default=[],
    action="append",
    metavar="NODE",
    completion_suggest=cli.OPT_COMPL_ONE_NODE,
    help="Only this node; can be given several times",
)
LIMIT_OPT = cli.cli_option(
    "--bandwidth-limit",
    dest="limit",
    default=None,
    type="int",
    metavar="MIB",
    help="Copy at most this many MiB per second",
)
CHECKSUM_OPT = cli.cli_option(
    "--checksum",
    dest="checksum",
    default=False,
    action="store_true",
    help="Read back what was copied and compare it",
)


class NotConfirmed(GanetiGlusterError):
    """The answer was no, or nobody was there to give one; nothing was done."""


def confirm(opts: Any, question: str, *, otherwise: str) -> bool:
    """Ask, unless --yes or --force is given; whether there was a question.

    Raises `NotConfirmed`, which says what was not done: that is `otherwise`.
    """
    if opts.confirm or opts.force:
        return False
    if not cli.AskUser(question):
        raise NotConfirmed(otherwise, hint="use --yes to skip this question")
    return True


def bandwidth(opts: Any) -> int | None:
    """The bytes a second of --bandwidth-limit, None without it."""
    if opts.limit is None:
        return None
    if opts.limit < 1:
        raise InvalidParameter(
            "bandwidth limit %d: it must be at least 1 MiB per second" % opts.limit
        )
    return int(opts.limit) * MIB
