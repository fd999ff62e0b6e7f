"""A node has as long as its answers took before, within bounds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ganeti_gluster.core.services import patience
from ganeti_gluster.core.services.patience import ANSWERS, MOST_SECONDS, Patience


def test_a_node_that_was_slow_has_longer_up_to_a_bound() -> None:
    found = Patience()
    assert found.limit("node1", 8) == 8
    found.answered("node1", 0.1)
    assert found.limit("node1", 8) == 8
    found.answered("node1", 1.5)
    found.answered("node1", 0.1)
    assert found.limit("node1", 8) == 15
    found.answered("node1", 7)
    assert found.limit("node1", 8) == MOST_SECONDS
    assert found.limit("node1", 40) == 40
    assert found.limit("node2", 8) == 8
    for _ in range(ANSWERS):
        found.answered("node1", 0.1)
    assert found.limit("node1", 8) == 8


def test_it_is_kept_and_forgets_nodes_that_are_gone(tmp_path: Path) -> None:
    path = str(tmp_path / "services" / "answers.json")
    found = patience.load(path)
    assert "node1" not in found
    found.answered("node1", 0.25)
    found.answered("node2", 0.5)
    found.keep(["node1"])
    patience.save(found, path)
    kept = patience.load(path)
    assert "node1" in kept
    assert kept.took == {"node1": (0.25,)}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"n": [-1]}', '{"n": ["x"]}', '{"n": [1e300]}', '{"n": []}', "\xff"],
)
def test_a_file_that_is_none_tells_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "answers.json"
    path.write_text(text, encoding="latin-1")
    assert patience.load(str(path)).took == {}


def test_so_many_answers_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "answers.json"
    path.write_text(json.dumps({"node1": [1.0] * 1000}))
    assert len(patience.load(str(path)).took["node1"]) == ANSWERS
