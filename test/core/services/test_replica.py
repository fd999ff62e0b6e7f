"""What other master candidates keep of the store."""

from __future__ import annotations

import base64
import json
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest

from ganeti_gluster.core.services import replica
from ganeti_gluster.core.services.answers import NodeAnswer
from ganeti_gluster.core.services.replica import InvalidReplica
from ganeti_gluster.errors import GanetiGlusterError


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


def test_a_dump_that_expands_to_what_none_can_have_is_not_unpacked() -> None:
    text = replica.pack({**dump(1, 1), "more": " " * 100_000_000})
    assert len(text) < 1_000_000
    tracemalloc.start()
    try:
        with pytest.raises(InvalidReplica, match="it has more than"):
            replica.unpack(text, history=0)
        assert tracemalloc.get_traced_memory()[1] < 3 * replica.longest(0)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "version",
    [None, [], [1], ["1", 2], [1, 2, 3], [True, 1], [-1, 0], [1e999, 1], [2**60, 1], [[1], 1]],
)
def test_a_version_that_nothing_can_go_on_from_is_none(version: object) -> None:
    with pytest.raises(InvalidReplica, match="this is not a store from a master"):
        replica.unpack(replica.pack({"version": version}))


@pytest.mark.parametrize("content", ["[]", "1", "[" * 10000, '{"version": [1e999, 1]}'])
def test_what_is_packed_may_be_anything(content: str) -> None:
    text = base64.b64encode(zlib.compress(content.encode())).decode()
    with pytest.raises(InvalidReplica, match="this is not a store from a master"):
        replica.unpack(text)


@pytest.mark.parametrize("packed", [None, 5, ["x"], "é"])
def test_a_dump_in_an_answer_may_be_anything(packed: object) -> None:
    with pytest.raises(GanetiGlusterError):
        replica.fetched(NodeAnswer(json.dumps({"format": 1, "dump": packed})), history=10)


@pytest.mark.parametrize(
    "content", ["", "nonsense", replica.pack({"a": 1}), replica.pack(dump(1, 1))[:-9]]
)
def test_one_that_is_broken_is_none_and_is_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "replica.json"
    path.write_text(content)
    assert replica.load(str(path)) is None
    with pytest.raises(InvalidReplica, match="this is not a store from a master"):
        replica.unpack(content)
    assert replica.save(dump(1, 1), str(path)) == (1, 1)
