"""Which images can be read."""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path
from typing import Any

import pytest
from local_volume import LocalFile, LocalVolume

from ganeti_gluster.core import readable
from ganeti_gluster.tools.gfapi import topology

GFID = uuid.UUID("92e25a96-55cf-40f6-bf3c-bf4061c11a98")
SHARD = 64 << 20


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A sharded volume with the images a and b, of three pieces each."""
    found: Any = LocalVolume(tmp_path)
    found.gfid = lambda path: GFID.bytes if path == "ganeti/a" else bytes(16)
    for name in "ab":
        with found.create("ganeti/" + name) as file:
            file.truncate(2 * SHARD + 1)
    monkeypatch.setattr(
        topology, "parse", lambda text: topology.Topology("gv0", (), shard_size=SHARD)
    )
    return found


def bad(monkeypatch: pytest.MonkeyPatch, path: str, offset: int) -> None:
    read = LocalFile.pread

    def pread(file: LocalFile, size: int, at: int) -> bytes:
        if (file.path, at) == (path, offset):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return read(file, size, at)

    monkeypatch.setattr(LocalFile, "pread", pread)


ALL = ["ganeti/a", "ganeti/b", "ganeti/gone"]


@pytest.mark.parametrize(
    ("path", "offset", "whole", "expected"),
    [
        ("ganeti/b", 0, set(), {"ganeti/b": "Input/output error"}),
        ("ganeti/a", 2 * SHARD, set(), {}),
        ("ganeti/a", 2 * SHARD, {str(GFID)}, {"ganeti/a": "Input/output error"}),
        ("ganeti/b", 2 * SHARD, {str(GFID)}, {}),
    ],
)
def test_the_beginning_is_read_and_all_pieces_where_one_is_behind(
    volume: Any,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    offset: int,
    whole: set[str],
    expected: dict[str, str],
) -> None:
    assert dict(readable.unreadable(volume, ALL, whole=whole)) == {}
    bad(monkeypatch, path, offset)
    assert dict(readable.unreadable(volume, ALL, whole=whole)) == expected


def test_no_graph_is_needed_where_beginnings_are_read(
    volume: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume, "volfile", lambda: pytest.fail("it has none to tell"))
    assert dict(readable.unreadable(volume, ALL)) == {}
