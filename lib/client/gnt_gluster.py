"""The table of `gnt-gluster`'s commands, and its entry point."""

from __future__ import annotations

import sys

from ganeti import cli

from ganeti_gluster.client import (
    copy,
    disk,
    monitor,
    orphans,
    plugin,
    pool,
    snapshot,
    status,
    swift,
    verify,
    volume,
    web,
)
from ganeti_gluster.cmdlib import restricted  # noqa: F401  # late elsewhere: see `whole`
from ganeti_gluster.errors import GanetiGlusterError, in_words

# As in every other command of Ganeti: function, arguments, options, usage, help.
commands = {
    **plugin.COMMANDS,
    **pool.COMMANDS,
    **disk.COMMANDS,
    **snapshot.COMMANDS,
    **copy.COMMANDS,
    **volume.COMMANDS,
    **swift.COMMANDS,
    **web.COMMANDS,
    **orphans.COMMANDS,
    **verify.COMMANDS,
    **status.COMMANDS,
    **monitor.COMMANDS,
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
        cli.ToStderr("Failure: %s", in_words(err))
        return 1
    return result
