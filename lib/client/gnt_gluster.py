"""The table of `gnt-gluster`'s commands, and its entry point."""

from __future__ import annotations

import sys

from ganeti import cli

from ganeti_gluster.client import disk, plugin
from ganeti_gluster.errors import GanetiGlusterError

JSON_OPT = cli.cli_option(
    "--json", dest="json", default=False, action="store_true", help="Print JSON, for programs"
)
LOCAL_OPT = cli.cli_option(
    "--local",
    dest="local",
    default=False,
    action="store_true",
    help="This node only; works on nodes that are not the master",
)

# As in every other command of Ganeti: function, arguments, options, usage, help.
commands = {
    "plugin status": (
        plugin.ShowStatus,
        cli.ARGS_MANY_NODES,
        [JSON_OPT, LOCAL_OPT, cli.NOHDR_OPT, cli.SEP_OPT],
        "[<node>...]",
        "Show whether the gluster template is this package's, on every node",
    ),
    "plugin disable": (
        plugin.Disable,
        cli.ARGS_NONE,
        [cli.DRY_RUN_OPT],
        "",
        "Give this node stock Ganeti's gluster template back",
    ),
    "plugin enable": (
        plugin.Enable,
        cli.ARGS_NONE,
        [cli.DRY_RUN_OPT],
        "",
        "Undo 'plugin disable' on this node",
    ),
    "disk info": (
        disk.ShowInfo,
        cli.ARGS_MANY_INSTANCES,
        [JSON_OPT],
        "<instance>...",
        "Show what the volume knows of the disks of instances",
    ),
}


def _join_words(argv: list[str]) -> list[str]:
    """Make one word of a command that has two, as Ganeti's library wants it."""
    if len(argv) > 2 and " ".join(argv[1:3]) in commands:
        return [argv[0], " ".join(argv[1:3]), *argv[3:]]
    return argv


def Main() -> int:
    """Run the command in `sys.argv`; returns its exit status."""
    sys.argv = _join_words(sys.argv)
    try:
        result: int = cli.GenericMain(commands)
    except (GanetiGlusterError, OSError) as err:
        cli.ToStderr("Failure: %s", err)
        return 1
    return result
