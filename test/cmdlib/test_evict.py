"""From which node an image is to be taken."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from ganeti_gluster.cmdlib import evict
from ganeti_gluster.core.serve.files import EXCLUSIVE, SHARED
from ganeti_gluster.core.serve.holder import LockHolder, node_number, work_number
from ganeti_gluster.core.volume import VolfileServer, VolumeSpec

SPEC = VolumeSpec("gv0", (VolfileServer("node1", 24007),))
NODES = ["node1", "node2"]
NODE1, NODE2 = map(node_number, NODES)


@pytest.mark.parametrize(
    ("word", "lock", "expected"),
    [
        (("", 0), None, 0),
        (("5fe0", NODE1), None, NODE1),
        (("5fe0", NODE1), LockHolder(NODE1, EXCLUSIVE), NODE1),
        (("evicted-5fe0", 0), None, 0),
        (("", 0), LockHolder(work_number("node2"), SHARED), NODE2),
        # who works on it now, whoever had it before
        (("5fe0", NODE1), LockHolder(work_number("node2"), EXCLUSIVE), NODE2),
    ],
)
def test_whose_an_image_is(
    monkeypatch: pytest.MonkeyPatch, word: tuple[str, int], lock: LockHolder | None, expected: int
) -> None:
    @contextlib.contextmanager
    def connect(spec: Any) -> Iterator[str]:
        yield "volume"

    monkeypatch.setattr(evict, "connect", connect)
    monkeypatch.setattr(evict, "word_of", lambda volume, path: word)
    monkeypatch.setattr(evict, "holder_of", lambda volume, path: lock)
    assert evict.last_holder(SPEC, "ganeti/x.0", NODES) == expected
