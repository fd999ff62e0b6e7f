"""The commands by which systemd runs a program of ours in a unit of its own.

systemd replaces `$NAME`, `${NAME}` and `$$` in the words of a command, and `%` with the
letter after it in a unit's file; what we are given to run a program on may have both.
Measured with systemd 252 and 257: what systemd-run is given has no `%` replaced, neither
the command nor a property.  It makes a file of it in which `$` is quoted once more, so
that after a `daemon-reload` a word that was quoted by us is another one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ganeti_gluster.errors import InvalidParameter

_RESTART = "Restart="
_NEVER = "Restart=no"
_PLAIN = r"[A-Za-z0-9_./:@%+=-]+"


def run_argv(
    name: str,
    description: str,
    program: Sequence[str],
    *,
    properties: Sequence[str] = (),
    options: Sequence[str] = (),
) -> list[str]:
    """The command that has systemd run `program` in the unit `name`, word by word as given.

    `options` are systemd-run's own.  Raises `InvalidParameter` for a `$` where systemd
    starts the program again by itself: see above.
    """
    again = any(value.startswith(_RESTART) and value != _NEVER for value in properties)
    if again and any("$" in word for word in program):
        raise InvalidParameter("a unit that is started again can have no '$': %s" % list(program))
    return [
        "systemd-run",
        "--quiet",
        "--collect",
        *options,
        "--unit=%s" % name,
        "--description=%s" % description,
        *("--property=%s" % value for value in properties),
        "--",
        *(_literal(word) for word in program),
    ]


def command_property(name: str, program: Sequence[str]) -> str:
    """A property with a command, for example ExecStopPost, for `run_argv`."""
    return "%s=%s" % (name, " ".join(_quoted(_literal(word)) for word in program))


def file_value(text: str) -> str:
    """A path as it goes into a file of a unit, where it is no command."""
    return text.replace("%", "%%")


def _literal(word: str) -> str:
    return word.replace("$", "$$")


def _quoted(word: str) -> str:
    if re.fullmatch(_PLAIN, word):
        return word
    return '"%s"' % word.replace("\\", "\\\\").replace('"', '\\"')
