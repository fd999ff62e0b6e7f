"""A way in steps that is broken off and gone again."""

from __future__ import annotations

import pytest

from ganeti_gluster.core.pool import steps
from ganeti_gluster.core.pool.steps import NotInTime, Step, StepFailed
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.command import CommandFailed


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(steps, "PAUSE", 0)


def test_it_goes_on_where_it_broke_off():
    made, said = [], []
    broken = [True]

    def second():
        if broken:
            raise GanetiGlusterError("no luck", hint="try")
        made.append("b")

    way = [
        Step("first", lambda: "a" in made, lambda: made.append("a")),
        Step("second", lambda: "b" in made, second),
    ]
    with pytest.raises(StepFailed) as caught:
        steps.run(way, said.append)
    assert str(caught.value) == (
        "second: no luck; try; the steps before it are done; run the command again to continue"
    )
    broken.clear()
    del said[:]
    steps.run(way, said.append)
    assert made == ["a", "b"]
    assert said[0] == "[1/2] first: already done"
    assert said[-1].startswith("[2/2] second: done (")


def test_waiting_says_what_changed_and_ends():
    problems = iter(["a", "a", "b", ""])
    said = []
    steps.wait("it", lambda: next(problems), seconds=10, say=said.append)
    assert said == ["  a", "  b"]


def test_an_answer_that_cannot_be_had_is_waited_for():
    answers = iter([CommandFailed(["gluster"], "down"), ""])

    def problem():
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    steps.wait("it", problem, seconds=10)


def test_waiting_for_ever_is_not_done():
    with pytest.raises(NotInTime, match="it: not completed within -1 s: still"):
        steps.wait("it", lambda: "still", seconds=-1)


def named(*texts: str) -> list[steps.Step]:
    return [steps.Step(text, lambda: False, lambda: None) for text in texts]


def test_a_yes_is_for_what_was_shown():
    steps.check_same(named("a", "b"), named("a", "b"))
    with pytest.raises(
        steps.Changed, match="have changed since the question, and are now: c; run the"
    ):
        steps.check_same(named("a", "b"), named("a", "c"))
    with pytest.raises(steps.Changed, match="now: fewer steps"):
        steps.check_same(named("a", "b"), named("a"))


def test_what_was_shown_as_done_is_not_done_once_more():
    steps.check_done([True, False], [steps.Step("a", lambda: True, lambda: None), *named("b")])
    with pytest.raises(steps.Changed, match="shown as done, but not done now: a; run the"):
        steps.check_done([True, False], named("a", "b"))
