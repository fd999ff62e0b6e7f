"""Decode answers of other nodes into checked values; nothing else does so.

A node with wrong answers, be it broken, of another release or under an attacker's control, must
only affect what is known about itself.  So an answer is text of a bounded length, is parsed to
plain data, and then converted to classes whose annotations define what is allowed: types, numbers
that every consumer can process, text that can be printed and stored anywhere, known words.  The
first value that does not fit raises `NotUnderstood`.

If nothing depends on the content of a text, as with the reason of a failure, `printable` makes it
fit.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import math
import re
import types
import typing
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, NoReturn, TypeVar, Union

from ganeti_gluster.errors import GanetiGlusterError

T = TypeVar("T")

#: Characters of an answer; the longest honest ones, of nodes with many bricks that wait
#: for heals, have some 100,000 for each.
LONGEST = 8 * 1024 * 1024
#: Characters of one text in it, where its annotation says nothing else, and of a reason.
LONGEST_TEXT = 4096
LONGEST_SENTENCE = 65536
LONGEST_REASON = 1000
# Of what is not an answer at all.
_SHOWN = 100

# What SQLite, C's integers and a float can all hold.
_LEAST, _MOST = -(2**63), 2**63 - 1
# The end of a line and a tab are no harm in a message, and a line of its own for no one.
_BLANKS = str.maketrans("\n\r\t", "   ")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class NotUnderstood(GanetiGlusterError):
    """An answer that does not fit; `where` in it, as `services[2].since`, and `why`.

    `detail` is both, for a sentence of its own.
    """

    def __init__(self, where: str, why: str) -> None:
        self.detail = ": ".join(filter(None, (where, why)))
        super().__init__("its answer is not understood: %s" % self.detail)
        self.where = where
        self.why = why


@dataclasses.dataclass(frozen=True)
class Longest:
    """A text has so many characters at most."""

    characters: int


@dataclasses.dataclass(frozen=True)
class Between:
    """A number is in these bounds, both included."""

    least: float
    most: float


@dataclasses.dataclass(frozen=True)
class OneOf:
    """A text is one of these words."""

    words: Collection[str]


@dataclasses.dataclass(frozen=True)
class Matches:
    """A text wholly matches this pattern."""

    pattern: str


#: A text that may name all nodes, or what each of many servers answered.
Sentence = Annotated[str, Longest(LONGEST_SENTENCE)]
#: A text that is made of all the others.
Summary = Annotated[str, Longest(LONGEST)]
#: The name of something: a node, a volume, a service, a status.
Name = Annotated[str, Longest(255)]
#: Seconds since the epoch, up to the year 9999, which every calendar can write.
Moment = Annotated[float, Between(0, 253402300799)]
#: A number of bytes or of things.
Count = Annotated[int, Between(0, _MOST)]
#: A number that is counted on from.
Serial = Annotated[int, Between(0, 2**53)]


def plain(text: str | bytes, *, longest: int = LONGEST) -> Any:
    """The plain data in a JSON text; raises `NotUnderstood`."""
    if len(text) > longest:
        _refuse("", "it is longer than %d characters" % longest)
    try:
        return json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise NotUnderstood("", "it is nested too deeply") from None
    except ValueError as err:
        raise NotUnderstood("", "it is not JSON%s" % _beginning(text)) from err


def _beginning(text: str | bytes) -> str:
    """How a text begins that may be a complaint of Python's."""
    shown = text[:_SHOWN].decode("utf-8", "replace") if isinstance(text, bytes) else text[:_SHOWN]
    return ": %s" % printable(shown) if shown.strip() else ""


def _no_number(text: str) -> NoReturn:
    raise ValueError("%s is not a number" % text)


def build(kind: type[T], data: object, where: str = "") -> T:
    """A dataclass from plain data, as `asdict` and JSON make it; raises `NotUnderstood`.

    Unknown fields are left out: a newer release may send more.
    """
    if not isinstance(data, Mapping):
        _wrong(where, "an object", data)
    hints: dict[str, Any] = _hints(kind)  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name in data:
            values[field.name] = value(hints[field.name], data[field.name], _at(where, field.name))
        elif field.default is field.default_factory is dataclasses.MISSING:
            _refuse(_at(where, field.name), "it is missing")
    return kind(**values)


def as_data(built: Any) -> dict[str, Any]:
    """The inverse of `build`: a dataclass as plain data for JSON."""
    return dataclasses.asdict(built, dict_factory=_plain_values)


def _plain_values(items: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    return {name: each.value if isinstance(each, enum.Enum) else each for name, each in items}


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def value(hint: Any, data: object, where: str = "") -> Any:
    """A value of any annotation that a checked class may have; raises `NotUnderstood`."""
    rules: Sequence[Any] = ()
    if typing.get_origin(hint) is typing.NotRequired:
        (hint,) = typing.get_args(hint)
    if typing.get_origin(hint) is Annotated:
        hint, *rules = typing.get_args(hint)
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return _any_of(inner, data, where)
    if origin in (tuple, list):
        return _items(origin, inner, data, where)
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(inner, data, where)
    if typing.is_typeddict(hint):
        return _members(hint, data, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return build(hint, data, where)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _member(hint, data, where)
    return _scalar(hint, rules, data, where)


def _scalar(hint: Any, rules: Sequence[Any], data: object, where: str) -> Any:
    if hint is str:
        return _text(rules, data, where)
    if hint in (None, types.NoneType):
        return data if data is None else _wrong(where, "null", data)
    if hint is bool:
        return data if isinstance(data, bool) else _wrong(where, "true or false", data)
    wanted = {int: (int,), float: (int, float)}[hint]
    # A bool is an int for Python.
    if isinstance(data, bool) or not isinstance(data, wanted):
        _wrong(where, "a number", data)
    assert isinstance(data, int | float)
    bounds = next((rule for rule in rules if isinstance(rule, Between)), Between(_LEAST, _MOST))
    # Not the other way round: NaN is in no bounds.
    if not (bounds.least <= data <= bounds.most and math.isfinite(data)):
        _refuse(where, "a number that is out of range")
    return data


def _text(rules: Sequence[Any], data: object, where: str) -> str:
    if not isinstance(data, str):
        _wrong(where, "a string", data)
    longest = next((r.characters for r in rules if isinstance(r, Longest)), LONGEST_TEXT)
    if len(data) > longest:
        _refuse(where, "a string of more than %d characters" % longest)
    text = data.translate(_BLANKS)
    if not text.isprintable():
        _refuse(where, "a string that cannot be printed")
    for rule in rules:
        if isinstance(rule, OneOf) and text not in rule.words:
            _refuse(where, "not one of the permitted words")
        if isinstance(rule, Matches) and not re.fullmatch(rule.pattern, text):
            _refuse(where, "not in the expected form")
    return text


def _any_of(hints: Sequence[Any], data: object, where: str) -> Any:
    if data is None and types.NoneType in hints:
        return None
    others = [hint for hint in hints if hint is not types.NoneType]
    for hint in others[:-1]:
        try:
            return value(hint, data, where)
        except NotUnderstood:
            continue
    return value(others[-1], data, where)


def _items(origin: Any, hints: Sequence[Any], data: object, where: str) -> Any:
    if not isinstance(data, list | tuple):
        _wrong(where, "a list", data)
    if origin is tuple and hints[-1] is not Ellipsis:
        if len(data) != len(hints):
            _refuse(where, "a list whose length is not %d" % len(hints))
        each: Sequence[Any] = hints
    else:
        each = [hints[0]] * len(data)
    return origin(
        value(hint, item, "%s[%d]" % (where, number))
        for number, (hint, item) in enumerate(zip(each, data, strict=True))
    )


def _mapping(hints: Sequence[Any], data: object, where: str) -> dict[Any, Any]:
    if not isinstance(data, Mapping):
        _wrong(where, "an object", data)
    key, inner = hints
    return {
        value(key, name, _at(where, "a name")): value(inner, item, "%s[%d]" % (where, number))
        for number, (name, item) in enumerate(data.items())
    }


def _members(kind: Any, data: object, where: str) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        _wrong(where, "an object", data)
    members = {}
    for name, hint in _hints(kind).items():
        if name in data:
            members[name] = value(hint, data[name], _at(where, name))
        # Not `__required_keys__`, which knows nothing of annotations that are strings.
        elif kind.__total__ and typing.get_origin(hint) is not typing.NotRequired:
            _refuse(_at(where, name), "it is missing")
    return members


def _member(kind: type[enum.Enum], data: object, where: str) -> enum.Enum:
    if isinstance(data, str):
        for each in kind:
            if each.value == data:
                return each
    _refuse(where, "not one of the permitted words")


def _at(where: str, name: str) -> str:
    return "%s.%s" % (where, name) if where else name


def _wrong(where: str, wanted: str, data: object) -> NoReturn:
    _refuse(where, "not %s, but %s" % (wanted, type(data).__name__))


def _refuse(where: str, why: str) -> NoReturn:
    raise NotUnderstood(where, why)


def printable(text: str, *, longest: int = LONGEST_REASON) -> str:
    """A text as one line that every terminal, log and file can have; cut where too long.

    >>> printable("no\\x1b[2J\\nanswer")
    'no�[2J answer'
    """
    # What is far too long is not worth a look at each of its characters.
    line = text.strip()[: longest + 1].translate(_BLANKS)
    if not line.isprintable():
        line = "".join(each if each.isprintable() else _REPLACEMENT for each in line)
    return line if len(line) <= longest else line[: longest - 1] + "…"
