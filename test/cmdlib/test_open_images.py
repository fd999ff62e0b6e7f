"""What servers of open images say, whatever their node is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from ganeti_gluster.cmdlib import open_images
from ganeti_gluster.tools.command import CommandFailed, CommandResult

SERVING = {"state": "serving", "waiting": 0.0, "why": ""}
KEY = "gv0-ganeti-x.0"


def ask(stdout: str, exit_code: int = 0) -> dict[str, Any]:
    """What is made of a node that prints this, beside one that answers as it should."""

    def channel(node: str, argv: Sequence[str], *, timeout: float) -> CommandResult:
        if node == "silent":
            raise CommandFailed(argv, "no answer")
        if node == "good":
            return CommandResult((), 0, json.dumps({KEY: SERVING}) + "\n", "")
        return CommandResult((), exit_code, stdout, "")

    found = open_images.statuses(["good", "bad", "silent"], channel)
    assert list(found) == ["good", "bad", "silent"]
    assert open_images.in_words(found["good"][KEY]) == "serving"
    assert found["silent"] == {}
    return found["bad"]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (SERVING, "serving"),
        ({**SERVING, "peers": [1, 2], "size": 5}, "serving"),
        ({**SERVING, "why": "unused"}, "serving"),
        ({**SERVING, "state": "lost", "why": "taken by node2"}, "lost: taken by node2"),
        ({**SERVING, "state": "lost"}, "lost"),
        ({**SERVING, "state": "waiting", "why": "no quorum"}, "requests waiting: no quorum"),
        (
            {"state": "waiting", "why": "no\nquorum", "waiting": 86400 * 365.0},
            "requests waiting since 1971-01-01 00:00:00: no quorum",
        ),
    ],
)
def test_how_an_image_is_served(
    monkeypatch: pytest.MonkeyPatch, status: dict[str, Any], words: str
) -> None:
    monkeypatch.setattr(open_images.time, "localtime", open_images.time.gmtime)
    assert open_images.in_words(ask(json.dumps({KEY: status}))[KEY]) == words


@pytest.mark.parametrize(
    "stdout",
    [
        "",
        "null",
        "[]",
        '"x"',
        "{",
        "[" * 100000,
        '{"a":' * 100000,
        json.dumps({KEY: "serving"}),
        json.dumps({KEY: {}}),
        json.dumps({KEY: {**SERVING, "state": None}}),
        json.dumps({KEY: {**SERVING, "state": "\x1b[2J"}}),
        json.dumps({KEY: {**SERVING, "state": "x"}}),
        json.dumps({KEY: {**SERVING, "waiting": "now"}}),
        json.dumps({KEY: {**SERVING, "waiting": True}}),
        json.dumps({KEY: {**SERVING, "waiting": -1}}),
        json.dumps({KEY: {**SERVING, "waiting": 1e300}}),
        '{"%s": {"state": "waiting", "why": "", "waiting": %s}}' % (KEY, "9" * 5000),
        '{"%s": {"state": "waiting", "why": "", "waiting": NaN}}' % KEY,
        json.dumps({"\x1b[2J": SERVING}),
    ],
    ids=lambda text: text[:40],
)
def test_what_is_not_understood_is_nothing(stdout: str) -> None:
    assert ask(stdout) == {}


def test_a_command_that_fails_tells_nothing() -> None:
    assert ask(json.dumps({KEY: SERVING}), exit_code=1) == {}


def test_no_node_is_asked_for_nothing() -> None:
    assert open_images.statuses([], lambda *args, **named: pytest.fail("asked")) == {}


def test_an_error_of_ours_is_none_of_the_node_s() -> None:
    def channel(node: str, argv: Sequence[str], *, timeout: float) -> CommandResult:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        open_images.statuses(["node1"], channel)
