"""The table of `gnt-gluster`'s commands, and its entry point."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import sys
from collections.abc import Callable
from typing import Any

from ganeti import cli, constants, errors, ssconf

from ganeti_gluster import __version__
from ganeti_gluster.client import (
    backup,
    backup_schedule,
    copy,
    disk,
    monitor,
    node,
    orphans,
    plugin,
    pool,
    snapshot,
    status,
    swift,
    upgrade,
    verify,
    volume,
    web,
)
from ganeti_gluster.client import words as word_list
from ganeti_gluster.client.options import NotConfirmed
from ganeti_gluster.cmdlib import restricted  # noqa: F401  # late elsewhere: see `whole`
from ganeti_gluster.errors import GanetiGlusterError, in_words

BINARY = "gnt-gluster"
CommandFunction = Callable[[Any, list[str]], int]

# As in every other command of Ganeti: function, arguments, options, usage, help.
commands = {
    **plugin.COMMANDS,
    **pool.COMMANDS,
    **node.COMMANDS,
    **upgrade.COMMANDS,
    **disk.COMMANDS,
    **snapshot.COMMANDS,
    **backup.COMMANDS,
    **backup_schedule.COMMANDS,
    **copy.COMMANDS,
    **volume.COMMANDS,
    **swift.COMMANDS,
    **web.COMMANDS,
    **orphans.COMMANDS,
    **verify.COMMANDS,
    **status.COMMANDS,
    **monitor.COMMANDS,
}


_REPOSITORY_ALONE = ["backup %s" % verb for verb in ("init", "list", "verify", "remove", "prune")]

#: What works on a node that is not the master; the others do with --local at the most.
ON_ANY_NODE = frozenset(
    name
    for name in commands
    if name.split(" ")[0] in ("image", "monitor", "web")
    or name in ("plugin disable", "plugin enable", "swift events", "services events")
    # What needs the repository alone, for when the cluster is lost.
    or name in _REPOSITORY_ALONE
)


def _on_master(function: CommandFunction, line: str) -> CommandFunction:
    """The command as it is on the master; elsewhere it says where to run it."""

    def run(opts: Any, args: list[str]) -> int:
        if not getattr(opts, "local", False):
            _check_master(line, local=hasattr(opts, "local"))
        return function(opts, args)

    return run


def _check_master(line: str, *, local: bool) -> None:
    try:
        master, myself = ssconf.GetMasterAndMyself()
    except errors.ConfigurationError as err:
        raise errors.OpPrereqError(
            "This machine is not part of a Ganeti cluster", errors.ECODE_INVAL
        ) from err
    if master != myself:
        raise errors.OpPrereqError(
            "This is not the master node; run on %s: %s%s"
            % (master, line, " (or here, with --local, for this node alone)" if local else ""),
            errors.ECODE_STATE,
        )


def Main() -> int:
    """Run the command in `sys.argv`; returns its exit status."""
    try:
        return _run(sys.argv[1:])
    except BrokenPipeError:
        return int(constants.EXIT_FAILURE)
    finally:
        _flush()


def _flush() -> None:
    """Write what is left; where nobody reads any more it goes nowhere, without a word."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        with contextlib.suppress(io.UnsupportedOperation):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(words: list[str]) -> int:
    if words == ["--version"]:
        cli.ToStdout(
            "%s (ganeti-gluster) %s, Ganeti %s", BINARY, __version__, constants.RELEASE_VERSION
        )
        return 0
    joined = word_list.join(words, commands)
    if not joined or joined[0] not in commands:
        return _no_command(words)
    if os.geteuid() != 0 and not word_list.wants_help(words):
        cli.ToStderr("Failure: %s must be run as root", BINARY)
        return int(constants.EXIT_FAILURE)
    line = shlex.join([BINARY, *words])
    name = joined[0]
    function, *rest = commands[name]
    chosen = function if name in ON_ANY_NODE else _on_master(function, line)
    sys.argv = [sys.argv[0], *joined]
    try:
        result: int = cli.GenericMain({**commands, name: (chosen, *rest)})
    except NotConfirmed as err:
        cli.ToStderr("%s", err)
        return int(constants.EXIT_CONFIRMATION)
    except BrokenPipeError:
        raise
    except (GanetiGlusterError, OSError) as err:
        cli.ToStderr("Failure: %s", in_words(err))
        return int(constants.EXIT_FAILURE)
    return result


def _no_command(words: list[str]) -> int:
    """Show the commands, where they are asked for or none is named, or say which was meant."""
    group = words[0] if words and words[0] in word_list.groups(commands) else ""
    rest = words[1:] if group else words
    asked = bool(rest) and word_list.wants_help(rest[:1])
    if rest and not asked:
        cli.ToStderr("Failure: %s", word_list.complaint(words, commands))
        return int(constants.EXIT_FAILURE)
    for line in word_list.usage(BINARY, commands, group):
        cli.ToStdout("%s", line)
    return 0 if asked else int(constants.EXIT_FAILURE)
