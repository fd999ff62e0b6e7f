"""What fits a checked class, and what does not."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, NotRequired, TypedDict

import pytest

from ganeti_gluster.tools import decode
from ganeti_gluster.tools.decode import Between, Longest, Matches, NotUnderstood, OneOf, printable


class Colour(enum.Enum):
    RED = "red"


class More(TypedDict):
    word: str
    note: NotRequired[str]


@dataclass(frozen=True)
class Part:
    number: int = 0


@dataclass(frozen=True)
class Whole:
    name: Annotated[str, Longest(5)]
    kind: Annotated[str, OneOf(("a", "b"))] = "a"
    code: Annotated[str, Matches("[A-Z]+")] = "X"
    share: Annotated[float, Between(0, 1)] = 0.5
    size: int = 0
    on: bool = False
    since: float | None = None
    colour: Colour = Colour.RED
    parts: tuple[Part, ...] = ()
    pair: tuple[int, str] = (0, "")
    words: list[str] = field(default_factory=list)
    table: Mapping[str, Part] = field(default_factory=dict)
    either: str | int = ""
    more: More | None = None


FITS: dict[str, Any] = {
    "name": "x",
    "kind": "b",
    "code": "XY",
    "share": 1,
    "size": -5,
    "on": True,
    "since": 1.5,
    "colour": "red",
    "parts": [{"number": 1}, {}],
    "pair": [1, "y"],
    "words": ["z"],
    "table": {"t": {"number": 2}},
    "either": 3,
    "more": {"word": "w"},
}


def test_what_fits_becomes_what_it_is() -> None:
    assert decode.build(Whole, FITS) == Whole(
        "x",
        "b",
        "XY",
        1,
        -5,
        True,
        1.5,
        Colour.RED,
        (Part(1), Part()),
        (1, "y"),
        ["z"],
        {"t": Part(2)},
        3,
        {"word": "w"},
    )
    assert decode.build(Whole, {"name": "x", "newer": [[]]}) == Whole("x")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("name", None, "name: not a string, but NoneType"),
        ("name", ["x"], "name: not a string, but list"),
        ("name", "123456", "name: a string of more than 5 characters"),
        ("name", "\0", "name: a string that cannot be printed"),
        ("name", "\x1b[2J", "name: a string that cannot be printed"),
        ("name", "\x9b2J", "name: a string that cannot be printed"),
        ("name", "\ud800", "name: a string that cannot be printed"),
        ("name", "\u202e", "name: a string that cannot be printed"),
        ("kind", "c", "kind: not one of the permitted words"),
        ("code", "x", "code: not in the expected form"),
        ("share", 1.1, "share: a number that is out of range"),
        ("share", float("nan"), "share: a number that is out of range"),
        ("size", 1.0, "size: not a number, but float"),
        ("size", True, "size: not a number, but bool"),
        ("size", 2**63, "size: a number that is out of range"),
        ("size", -(10**400), "size: a number that is out of range"),
        ("on", 1, "on: not true or false, but int"),
        ("since", "x", "since: not a number, but str"),
        ("since", float("inf"), "since: a number that is out of range"),
        ("since", 10**400, "since: a number that is out of range"),
        ("colour", "blue", "colour: not one of the permitted words"),
        ("colour", [], "colour: not one of the permitted words"),
        ("parts", {}, "parts: not a list, but dict"),
        ("parts", [{}, []], r"parts\[1\]: not an object, but list"),
        ("parts", [{"number": "x"}], r"parts\[0\].number: not a number, but str"),
        ("pair", [1], "pair: a list whose length is not 2"),
        ("words", "ab", "words: not a list, but str"),
        ("table", [], "table: not an object, but list"),
        ("table", {"\0": {}}, "table.a name: a string that cannot be printed"),
        ("table", {"x": 1}, r"table\[0\]: not an object, but int"),
        ("either", [], "either: not a number, but list"),
        ("more", {}, "more.word: it is missing"),
        ("more", {"word": "w", "note": 1}, "more.note: not a string, but int"),
    ],
)
def test_what_does_not_fit_is_named(name: str, value: object, said: str) -> None:
    with pytest.raises(NotUnderstood, match="^its answer is not understood: %s$" % said):
        decode.build(Whole, {**FITS, name: value})


def test_what_is_missing_is_named() -> None:
    with pytest.raises(NotUnderstood, match="name: it is missing"):
        decode.build(Whole, {})


def test_the_ends_of_lines_make_no_further_lines() -> None:
    assert decode.value(str, "one\ntwo\tthree\r") == "one two three "


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is not JSON"),
        ("Traceback", "it is not JSON: Traceback"),
        ("\x1b[2J", "it is not JSON: �\\[2J"),
        (b"\xff\xfe\xfd", "it is not JSON"),
        ("NaN", "it is not JSON: NaN"),
        ("1" * 5000, "it is not JSON"),
        ("[" * 10000 + "]" * 10000, "it is nested too deeply"),
        ('{"a":' * 10000, "it is nested too deeply"),
        ('"%s"' % ("x" * 100), "it is longer than 100 characters"),
    ],
)
def test_what_is_no_plain_data(text: str | bytes, said: str) -> None:
    with pytest.raises(NotUnderstood, match="^its answer is not understood: %s" % said):
        decode.plain(text, longest=100 if "longer" in said else decode.LONGEST)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("as it is", "as it is"),
        (" two\nlines\n", "two lines"),
        ("\x1b[2J\0\ud800\x9b", "�[2J���"),
        ("x" * 11, "xxxxxxxxx…"),
        ("naïve", "naïve"),
    ],
)
def test_a_reason_is_one_line_that_can_be_printed(text: str, shown: str) -> None:
    assert printable(text, longest=10) == shown
    printable(text).encode()
