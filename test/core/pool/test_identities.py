"""Which member of the pool a node was when it was last seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from ganeti_gluster.core.pool import identities


def test_what_nodes_said_is_kept_until_they_say_otherwise_or_leave(tmp_path: Path) -> None:
    path = str(tmp_path / "identities.json")
    assert identities.load(path) == {}
    assert identities.note({"node1": "a", "node2": "b"}, ["node1", "node2", "node3"], path)
    assert not identities.note({"node1": "a", "node3": ""}, ["node1", "node2", "node3"], path)
    assert identities.note({"node1": "c"}, ["node1", "node2"], path)
    assert identities.load(path) == {"node1": "c", "node2": "b"}
    assert identities.note({"node1": "c"}, ["node1"], path)
    assert identities.load(path) == {"node1": "c"}


@pytest.mark.parametrize("content", ["", "[]", "{", "null"])
def test_what_is_damaged_is_nothing(tmp_path: Path, content: str) -> None:
    path = tmp_path / "identities.json"
    path.write_text(content)
    assert identities.load(str(path)) == {}
