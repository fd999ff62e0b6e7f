"""Sources that answer, fail and hang."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from ganeti_gluster.core.pool.state import PeerState, PoolState
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.web import facts
from ganeti_gluster.web.background import Background, FactSource
from ganeti_gluster.web.facts import Board, Part

POOL = PoolState((PeerState("node2", False, "Peer Rejected"),))


def run(*sources: FactSource, silence: float = 30.0) -> tuple[Background, SimpleQueue[Any]]:
    lines: SimpleQueue[Any] = SimpleQueue()
    background = Background(
        list(sources), lambda line: lines.put(json.loads(line)), silence=silence, clock=lambda: 7.0
    )
    background.start()
    return background, lines


def failing(error: Exception) -> Callable[[], Any]:
    def ask() -> Any:
        raise error

    return ask


def test_an_answer_reaches_the_board_whole() -> None:
    background, lines = run(FactSource("pool", lambda: POOL, every=60))
    board = Board()
    board.post(lines.get(timeout=5))
    background.stop()

    assert board.snapshot.part("pool") == Part(POOL, 7.0)


def test_a_source_may_say_when_its_facts_were_true() -> None:
    background, lines = run(FactSource("pool", lambda: Part(POOL, 3.0), every=60))

    assert lines.get(timeout=5)["at"] == 3.0
    background.stop()


def test_an_answer_may_bring_a_further_part() -> None:
    extra = facts.HistoryFacts((facts.Sample(1.0, 2),))
    background, lines = run(
        FactSource("pool", lambda: POOL, every=60, extra=lambda found: ("history", extra))
    )
    names = [lines.get(timeout=5)["name"] for _ in range(2)]
    background.stop()

    assert names == ["pool", "history"]


def test_a_source_that_fails_says_why_and_is_asked_again() -> None:
    background, lines = run(
        FactSource("pool", failing(GanetiGlusterError("no glusterd answers")), every=0.01)
    )
    told = [lines.get(timeout=5) for _ in range(2)]
    background.stop()

    assert [one["error"] for one in told] == ["no glusterd answers"] * 2


def test_an_error_keeps_the_facts_and_their_age() -> None:
    board = Board()
    board.post(json.loads(facts.encode("pool", Part(POOL, 3.0))))
    board.post(json.loads(facts.encode("pool", Part(error="gone"))))

    assert board.snapshot.part("pool") == Part(POOL, 3.0, "gone")
    assert board.snapshot.part("pool").age(10.0) == 7.0


def test_a_source_that_hangs_is_reported_and_keeps_no_other_waiting() -> None:
    go = threading.Event()
    background, lines = run(
        FactSource("cluster", lambda: go.wait(10), every=60),
        FactSource("pool", lambda: POOL, every=60),
        silence=0.05,
    )
    told = [lines.get(timeout=5) for _ in range(2)]
    background.stop()
    go.set()

    assert told[0]["name"] == "pool"
    assert (told[1]["name"], told[1]["data"]) == ("cluster", None)
    assert told[1]["error"] == "no answer for 0 s"


def test_parts_of_a_newer_release_are_understood() -> None:
    said = json.loads(facts.encode("pool", Part(POOL, 3.0)))
    said["data"]["peers"][0]["more"] = 1
    board = Board()
    board.post(said)

    assert board.snapshot.pool == POOL


def test_what_has_not_changed_is_not_told_again_but_its_age_is() -> None:
    background, lines = run(FactSource("pool", lambda: POOL, every=0.01))
    board = Board()
    first, second = (lines.get(timeout=5) for _ in range(2))
    background.stop()
    second["at"] = 9.0
    for said in (first, second):
        board.post(said)

    assert second["data"] is None
    assert board.snapshot.part("pool") == Part(POOL, 9.0)


def test_sources_rest_while_nobody_looks_and_are_asked_when_somebody_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ganeti_gluster.web.background.ATTENTION", 0.0)
    background, lines = run(FactSource("pool", lambda: POOL, every=0.01))
    lines.get(timeout=5)
    with pytest.raises(Empty):
        lines.get(timeout=0.1)
    background.look()

    assert lines.get(timeout=5)["same"]
    background.stop()
