"""The administrator's configuration files: sections of lines `NAME = VALUE`.

What is wrong in one is told by file, section and, where it helps, line.
"""

from __future__ import annotations

import configparser
import re

from ganeti_gluster.errors import GanetiGlusterError


class InvalidConfiguration(GanetiGlusterError):
    """A configuration file cannot be used."""


def read(path: str) -> str | None:
    """What is in the file, None if there is none; raises `InvalidConfiguration`."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as err:
        reason = getattr(err, "strerror", None) or "it is not UTF-8"
        raise InvalidConfiguration("%s cannot be read: %s" % (path, reason)) from err


def parse(text: str, path: str) -> configparser.ConfigParser:
    """Its sections; `path` is for messages.  Raises `InvalidConfiguration`."""
    parser = configparser.ConfigParser(
        interpolation=None, default_section="", delimiters=("=",), empty_lines_in_values=False
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(text, path)
    except configparser.Error as err:
        raise InvalidConfiguration("%s: %s" % (path, str(err).replace("\n", " "))) from err
    return parser


def line_of(text: str, section: str, key: str = "") -> int:
    """The number of the line with a section's name, or with a name in it; 0 if there is none."""
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("["):
            inside = line.startswith("[%s]" % section)
            if inside and not key:
                return number
        elif inside and key and line.partition("=")[0].strip() == key:
            return number
    return 0


class Within:
    """Put the file and the section, or the line in it, before a ValueError in the block."""

    def __init__(self, path: str, section: str, line: int = 0) -> None:
        self._where = "%s, %ssection [%s]" % (path, "line %d, " % line if line else "", section)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, err: BaseException | None, trace: object) -> None:
        if isinstance(err, ValueError):
            raise InvalidConfiguration("%s: %s" % (self._where, err)) from err


def number(key: str, value: str, allowed: tuple[int, int]) -> int:
    """A number in these bounds; raises ValueError."""
    if not value.isascii() or not value.isdigit() or not allowed[0] <= int(value) <= allowed[1]:
        raise ValueError("%s must be a number from %d to %d, not %r" % (key, *allowed, value))
    return int(value)


def switch(key: str, value: str) -> bool:
    """`on` or `off`; raises ValueError."""
    if value not in ("on", "off"):
        raise ValueError("%s must be on or off, not %r" % (key, value))
    return value == "on"


def match(pattern: re.Pattern[str], value: str, what: str) -> str:
    """The value, if it is all of the pattern; raises ValueError."""
    if not pattern.fullmatch(value):
        raise ValueError("%r is not a valid %s" % (value, what))
    return value
