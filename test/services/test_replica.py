"""What other master candidates keep of the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ganeti_gluster.services import replica
from ganeti_gluster.services.replica import InvalidReplica


def dump(term: int, generation: int) -> dict[str, Any]:
    return {"version": [term, generation], "events": [{"message": "naïve \n" * 100}]}


def test_it_travels_as_a_short_text() -> None:
    text = replica.pack(dump(1, 2))
    assert replica.unpack(text) == dump(1, 2)
    assert text.isascii() and "\n" not in text and len(text) < 300


def test_the_newest_is_kept(tmp_path: Path) -> None:
    path = str(tmp_path / "services" / "replica.json")
    assert replica.load(path) is None
    for given, kept in (((1, 5), (1, 5)), ((1, 4), (1, 5)), ((2, 1), (2, 1)), ((1, 9), (2, 1))):
        assert replica.save(dump(*given), path) == kept
        assert replica.load(path) == dump(*kept)
    assert [entry.name for entry in (tmp_path / "services").iterdir()] == ["replica.json"]


@pytest.mark.parametrize(
    "content", ["", "nonsense", replica.pack({"a": 1}), replica.pack(dump(1, 1))[:-9]]
)
def test_one_that_is_broken_is_none_and_is_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "replica.json"
    path.write_text(content)
    assert replica.load(str(path)) is None
    with pytest.raises(InvalidReplica, match="this is not the store of a master"):
        replica.unpack(content)
    assert replica.save(dump(1, 1), str(path)) == (1, 1)
