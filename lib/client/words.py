"""The words of a command line of `gnt-gluster`: its commands, and what was meant by others."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

#: How much alike a word and the command that was meant are, as `difflib` counts it.
_ALIKE = 0.7
_HELP = ("-h", "--help")


def join(words: Sequence[str], commands: Collection[str]) -> list[str]:
    """The words, with a command of two words joined into one, as Ganeti's library expects."""
    if len(words) > 1 and " ".join(words[:2]) in commands:
        return [" ".join(words[:2]), *words[2:]]
    return list(words)


def groups(commands: Collection[str]) -> set[str]:
    """The first words of commands that have two."""
    return {command.split(" ")[0] for command in commands if " " in command}


def wants_help(words: Sequence[str]) -> bool:
    """Whether help is asked for, of one command or of some."""
    return any(word in _HELP for word in words)


def usage(binary: str, commands: Mapping[str, tuple[Any, ...]], group: str = "") -> list[str]:
    """The commands of a group, or all of them, each with what it does."""
    shown = {
        name: description
        for name, (*_, description) in sorted(commands.items())
        if not group or name.startswith(group + " ")
    }
    width = max(map(len, shown))
    return [
        "Usage: %s %s [options...] [argument...]"
        % (binary, "%s {command}" % group if group else "{command}"),
        "%s {command} --help shows the options of a command; see also man %s"
        % tuple(mark.join(filter(None, (binary, group))) for mark in (" ", "-")),
        "",
        "Commands:",
        *(" %s - %s" % (name.ljust(width), text) for name, text in shown.items()),
    ]


def complaint(words: Sequence[str], commands: Collection[str]) -> str:
    """That there is no such command, and which one may have been meant."""
    known = groups(commands)
    group = words[0] if words[0] in known else ""
    said = " ".join(words[:2]) if group else words[0]
    meant = _meant(words, commands, group)
    if meant:
        return "unknown command '%s'; did you mean '%s'?" % (said, meant)
    return "unknown command '%s'; see gnt-gluster %s--help" % (
        said,
        "%s " % group if group else "",
    )


def _meant(words: Sequence[str], commands: Collection[str], group: str) -> str:
    ordered = sorted(commands)
    if group:
        verbs = {name: name.partition(" ")[2] for name in ordered if name.startswith(group + " ")}
        close = difflib.get_close_matches(words[1], verbs.values(), 1, _ALIKE)
        return "%s %s" % (group, close[0]) if close else ""
    for text in (" ".join(words[:2]), words[0]) if len(words) > 1 else words:
        close = difflib.get_close_matches(text, ordered, 1, _ALIKE)
        if close:
            return close[0]
    # The second word alone, and then a group.
    last = [name for name in ordered if name.endswith(" %s" % words[0])]
    near = difflib.get_close_matches(words[0], sorted(groups(commands)), 1, _ALIKE)
    return (last or near or [""])[0]
