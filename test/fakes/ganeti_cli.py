"""The part of `ganeti.cli` that runs commands, in the way of Ganeti's own: on optparse.

What it says and its exit statuses are Ganeti's, see lib/cli.py and lib/cli_opts.py there.
"""

from __future__ import annotations

import copy
import optparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

EXIT_FAILURE = 1


class GenericError(Exception):
    """What all of Ganeti's errors derive from."""


class OpPrereqError(GenericError):
    """What was asked for cannot be done."""


class OpExecError(GenericError):
    """What was begun has failed."""


class HooksAbort(GenericError):
    """A hook has refused what was asked for."""


class ConfigurationError(GenericError):
    """The configuration is damaged."""


ERRORS = {
    "GenericError": GenericError,
    "OpPrereqError": OpPrereqError,
    "OpExecError": OpExecError,
    "ConfigurationError": ConfigurationError,
    "HooksAbort": HooksAbort,
}


class Argument:
    """How many words there may be of a kind; the choices are for a shell to complete."""

    def __init__(self, min: int = 0, max: int | None = None, choices: Sequence[str] = ()) -> None:
        self.min = min
        self.max = max


def _split(option: optparse.Option, opt: str, value: str) -> list[str]:
    return value.split(",") if value else []


class CliOption(optparse.Option):
    """An option, with what completes it in a shell."""

    ATTRS = [*optparse.Option.ATTRS, "completion_suggest"]
    TYPES = (*optparse.Option.TYPES, "list")
    TYPE_CHECKER = {**optparse.Option.TYPE_CHECKER, "list": _split}


_COMMON_OPTS = [CliOption("-d", "--debug", default=0, action="count"), CliOption("--reason")]

_ONE = [Argument(min=1, max=1)]
#: What tables of commands are made of.
NAMES: dict[str, Any] = {
    "cli_option": CliOption,
    "ArgChoice": Argument,
    "ArgInstance": Argument,
    "ArgNode": Argument,
    "ArgUnknown": Argument,
    "ARGS_NONE": [],
    "ARGS_ONE_INSTANCE": _ONE,
    "ARGS_ONE_NODE": _ONE,
    "ARGS_MANY_INSTANCES": [Argument()],
    "ARGS_MANY_NODES": [Argument()],
    "CONFIRM_OPT": CliOption("--yes", dest="confirm", action="store_true", default=False),
    "DRY_RUN_OPT": CliOption("--dry-run", action="store_true", default=False),
    "FIELDS_OPT": CliOption("-o", "--output", dest="output"),
    "FORCE_OPT": CliOption("-f", "--force", dest="force", action="store_true", default=False),
    "NOHDR_OPT": CliOption("--no-headers", dest="no_headers", action="store_true", default=False),
    "SEP_OPT": CliOption("--separator", dest="separator", default=None),
    "USEUNITS_OPT": CliOption("--units", dest="units", choices=("h", "m", "g", "t"), default=None),
}


def ToStdout(text: str, *values: object) -> None:
    """Print a line."""
    print(text % values if values else text)


def ToStderr(text: str, *values: object) -> None:
    """Print a line of what is not the result."""
    print(text % values if values else text, file=sys.stderr)


def ParseFields(selected: str | None, default: list[str]) -> list[str]:
    """The fields of --output."""
    if selected is None:
        return default
    if selected.startswith("+"):
        return default + selected[1:].split(",")
    return selected.split(",")


def GenericMain(commands: Mapping[str, tuple[Any, ...]]) -> int:
    """Run the command in `sys.argv`; returns its exit status, or exits as optparse does."""
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if command not in commands:
        for line in _usage(os.path.basename(sys.argv[0]), commands):
            ToStdout("%s", line)
        return 0 if command == "--help" else EXIT_FAILURE
    function, wanted, options, usage, description = commands[command]
    parser = optparse.OptionParser(
        # A list that is a default is appended to, once in a process as commands have theirs.
        option_list=copy.deepcopy([*options, *_COMMON_OPTS]),
        description=description,
        formatter=optparse.TitledHelpFormatter(),
        usage="%%prog %s %s" % (command, usage),
    )
    parser.disable_interspersed_args()
    opts, args = parser.parse_args(sys.argv[2:])
    wrong = _wrong_number(wanted, args)
    if wrong:
        ToStderr("Error: Command %s expects %s", command, wrong)
        return EXIT_FAILURE
    return _call(function, opts, args)


def _usage(binary: str, commands: Mapping[str, tuple[Any, ...]]) -> Iterator[str]:
    yield "Usage: %s {command} [options...] [argument...]" % binary
    yield "%s <command> --help to see details, or man %s" % (binary, binary)
    yield "Commands:"
    for name, (*_, description) in sorted(commands.items()):
        yield " %s - %s" % (name, description)


def _wrong_number(wanted: Sequence[Argument], args: Sequence[str]) -> str:
    if not wanted:
        return "no arguments" if args else ""
    least = sum(each.min for each in wanted)
    if wanted[-1].max is not None:
        most = sum(each.max or 0 for each in wanted)
        if least == most != len(args):
            return "%d argument(s)" % least
        if len(args) > most:
            return "only %d argument(s)" % most
    return "at least %d argument(s)" % least if len(args) < least else ""


def _call(function: Callable[[Any, list[str]], int], opts: Any, args: list[str]) -> int:
    try:
        return function(opts, args)
    except GenericError as err:
        status, text = _format(err)
        ToStderr("%s", text)
        return status
    except KeyboardInterrupt:
        ToStderr("Aborted.")
        return EXIT_FAILURE


def _format(err: GenericError) -> tuple[int, str]:
    if isinstance(err, ConfigurationError):
        return 2, "Corrupt configuration file: %s\nAborting." % err
    if isinstance(err, OpPrereqError):
        start = "Failure: prerequisites not met for this operation:\n"
        if len(err.args) == 2:
            return 1, start + "error type: %s, error details:\n%s" % (err.args[1], err.args[0])
        return 1, start + str(err)
    if isinstance(err, OpExecError):
        return 1, "Failure: command execution error:\n%s" % err
    return 1, "Unhandled Ganeti error: %s" % err
