"""Options that several commands of `gnt-gluster` have."""

from __future__ import annotations

from ganeti import cli

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
