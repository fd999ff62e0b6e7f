"""What has changed since a point: never less than what is different, whatever ends meanwhile."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

nbd = pytest.importorskip("nbd")

from nbd_clients import BLOCK, FAR, SIZE, Writer, client, kill, main_pid  # noqa: E402

from ganeti_gluster import constants  # noqa: E402
from ganeti_gluster.core import image  # noqa: E402
from ganeti_gluster.core.changed import check, record  # noqa: E402
from ganeti_gluster.core.changed.points import (  # noqa: E402
    Changes,
    PointRefused,
    begin,
    changed_since,
    drop,
    points,
)
from ganeti_gluster.core.serve import files  # noqa: E402
from ganeti_gluster.core.serve.files import SHARED  # noqa: E402
from ganeti_gluster.core.serve.hold import locked  # noqa: E402
from ganeti_gluster.core.serve.server import ImageServer  # noqa: E402
from ganeti_gluster.core.volume import VolumeSpec  # noqa: E402
from ganeti_gluster.tools.gfapi import Volume  # noqa: E402

from .conftest import MIB, wait_for  # noqa: E402

PIECE = record.PIECE


def places(changes: Changes) -> set[int]:
    """The pieces that count as changed."""
    assert changes.extents is not None, changes.reason
    return {
        place
        for offset, length in changes.extents
        for place in range(offset // PIECE, (offset + length - 1) // PIECE + 1)
    }


def content(volume: Volume, path: str) -> list[bytes]:
    with volume.open(path, direct=True) as file:
        return [file.pread(PIECE, offset) for offset in range(0, file.stat().size, PIECE)]


def different(before: list[bytes], after: list[bytes]) -> set[int]:
    """The pieces that are really different, those that are new included."""
    same = min(len(before), len(after))
    return {place for place in range(len(after)) if place >= same or before[place] != after[place]}


def lose_node(server: ImageServer) -> None:
    """End a server as the power loss of its node does: nothing that it had in memory is left."""
    os.kill(main_pid(server), signal.SIGSTOP)
    pid = main_pid(server)
    for name in list(Path(constants.IMAGE_SERVER_DIR).glob("%s.*" % server.key)):
        name.unlink()
    os.kill(pid, signal.SIGKILL)
    server.run(["systemctl", "stop", server.unit], timeout=60)
    files.forget(server.key)


def open_after(open_it: Callable[..., ImageServer], spec: VolumeSpec, path: str) -> ImageServer:
    """Open an image that a dead server of this node has left."""

    def attempt() -> ImageServer | None:
        with contextlib.suppress(Exception):
            return open_it(spec, path)
        return None

    return wait_for("the image is open again", attempt)


def test_there_is_nothing_where_there_is_no_point(spec, path, opened, volume) -> None:
    server = opened(spec, path)
    client(server).pwrite(b"x" * BLOCK, 0)
    assert changed_since(spec, path, "none") == Changes(None, "there is no such point")
    assert points(spec, path) == []
    assert not list(Path(constants.IMAGE_SERVER_DIR).glob("%s.changed.*" % server.key))


def test_each_kind_of_change_counts(spec, path, opened) -> None:
    server = opened(spec, path)
    guest = client(server)
    guest.pwrite(b"x" * MIB, 0)
    begin(spec, path, "p")
    assert places(changed_since(spec, path, "p")) == set()
    guest.pwrite(b"y" * BLOCK, FAR + PIECE - BLOCK)
    guest.zero(2 * PIECE, 20 * PIECE)
    guest.trim(PIECE, 3 * PIECE)
    guest.pread(PIECE, 7 * PIECE)
    guest.flush()
    assert places(changed_since(spec, path, "p")) == {FAR // PIECE, 20, 21, 3}
    assert points(spec, path) == ["p"]


def test_points_are_independent(spec, path, opened, volume) -> None:
    server = opened(spec, path)
    guest = client(server)
    begin(spec, path, "one")
    guest.pwrite(b"1" * BLOCK, 0)
    begin(spec, path, "two")
    guest.pwrite(b"2" * BLOCK, PIECE)
    assert places(changed_since(spec, path, "one")) == {0, 1}
    assert places(changed_since(spec, path, "two")) == {1}
    drop(spec, path, "one")
    assert changed_since(spec, path, "one").extents is None
    guest.pwrite(b"3" * BLOCK, FAR)
    assert places(changed_since(spec, path, "two")) == {1, FAR // PIECE}
    begin(spec, path, "two")
    assert places(changed_since(spec, path, "two")) == set()
    directory = record.directory_of(volume.lstat(path).inode)
    drop(spec, path, "two")
    # This client may remember the directory for a moment.
    wait_for("the directory is gone", lambda: not volume.access(directory))


def test_it_is_kept_while_the_image_is_closed(spec, path, opened, volume) -> None:
    with locked(volume, path, node="node1", shared=True):
        begin(spec, path, "p")
        assert places(changed_since(spec, path, "p")) == set()
    for place in (5, FAR // PIECE):
        server = opened(spec, path)
        client(server).pwrite(b"x" * BLOCK, place * PIECE)
        server.close(force=True)
    assert places(changed_since(spec, path, "p")) == {5, FAR // PIECE}
    server = opened(spec, path)
    assert places(changed_since(spec, path, "p")) == {5, FAR // PIECE}
    server.renew()
    client(server).pwrite(b"x" * BLOCK, 9 * PIECE)
    assert places(changed_since(spec, path, "p")) == {5, 9, FAR // PIECE}


def test_an_image_that_grows(spec, path, opened, volume) -> None:
    server = opened(spec, path)
    begin(spec, path, "p")
    client(server).pwrite(b"x" * BLOCK, PIECE)
    server.grow(SIZE + 2 * PIECE)
    new = {SIZE // PIECE, SIZE // PIECE + 1}
    assert places(changed_since(spec, path, "p")) == {1} | new
    client(server).pwrite(b"x" * BLOCK, SIZE + PIECE)
    server.close(force=True)
    # This client has looked before, and keeps for a second what it saw.
    wait_for("its size is seen", lambda: volume.lstat(path).size == SIZE + 2 * PIECE)
    assert places(changed_since(spec, path, "p")) == {1} | new
    image.grow(volume, path, SIZE + 3 * PIECE)
    assert places(changed_since(spec, path, "p")) == {1} | new | {SIZE // PIECE + 2}


@pytest.mark.parametrize("place", [0, FAR], ids=["first shard", "another shard"])
def test_a_foreign_writer_costs_the_points(spec, path, opened, volume, place) -> None:
    server = opened(spec, path)
    client(server).pwrite(b"a" * BLOCK, place)
    begin(spec, path, "p")
    server.close(force=True)
    assert places(changed_since(spec, path, "p")) == set()
    with volume.open(path, write=True) as file:
        file.pwrite(b"b" * BLOCK, place)
        file.fsync()
    server = opened(spec, path)
    assert changed_since(spec, path, "p") == Changes(None, check.FOREIGN)
    begin(spec, path, "p")
    assert places(changed_since(spec, path, "p")) == set()


def test_another_image_at_its_path_has_no_points(spec, path, opened, volume) -> None:
    opened(spec, path).close(force=True)
    begin(spec, path, "p")
    inode = volume.lstat(path).inode
    image.rename(volume, path, path + ".new")
    assert places(changed_since(spec, path + ".new", "p")) == set()
    image.create(volume, path, SIZE)
    assert changed_since(spec, path, "p") == Changes(None, "there is no such point")
    image.remove(volume, path + ".new")
    assert not volume.access(record.directory_of(inode))


def test_nothing_is_recorded_without_locks(spec, path, opened) -> None:
    begin(spec, path, "p")
    opened(spec, path, locking=False)
    assert changed_since(spec, path, "p").reason == "the locks of the disk are disabled"
    with pytest.raises(PointRefused):
        begin(spec, path, "p")


@pytest.mark.parametrize(
    "kills", [8, pytest.param(60, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_no_change_is_missed_when_it_is_killed(spec, path, opened, volume, kills) -> None:
    server = opened(spec, path)
    random.seed(kills)
    client(server).pwrite(b"x" * MIB, 60 * MIB)
    begin(spec, path, "p")
    before = content(volume, path)
    with Writer(server, 60 * MIB, 600, PIECE) as writer:
        for number in range(kills):
            time.sleep(random.uniform(0.02, 0.4))
            done = writer.count
            if number == kills // 2:
                begin(spec, path, "later")
            kill(server)
            wait_for("the writer goes on", lambda done=done: writer.count > done)
    assert not writer.errors
    server.flush()
    after = content(volume, path)
    found = places(changed_since(spec, path, "p"))
    assert different(before, after) <= found
    assert len(found) < SIZE // PIECE  # known by piece, as its memory survives
    server.close(force=True)
    assert places(changed_since(spec, path, "p")) == found


def test_no_change_is_missed_when_its_node_dies(spec, path, opened, volume) -> None:
    server = opened(spec, path)
    client(server).pwrite(b"a" * BLOCK, 3 * PIECE)
    begin(spec, path, "p")
    before = content(volume, path)
    random.seed(7)
    for _ in range(3):
        guest = client(server)
        for _ in range(20):
            place = random.randrange(SIZE // BLOCK // 2) * BLOCK
            guest.pwrite(os.urandom(BLOCK), place)
        lose_node(server)
        server = open_after(opened, spec, path)
        changes = changed_since(spec, path, "p")
        assert different(before, content(volume, path)) <= places(changes)


def test_both_ends_of_a_migration(spec, path, opened, volume) -> None:
    """This server is the target, and its memory is that of the source before."""
    server = opened(spec, path)
    client(server).pwrite(b"a" * BLOCK, 0)
    begin(spec, path, "p")
    client(server).pwrite(b"b" * BLOCK, PIECE)
    opened(spec, path, mode=SHARED)
    with pytest.raises(PointRefused):
        begin(spec, path, "q")
    assert places(changed_since(spec, path, "p")) == {1}
    client(server).pwrite(b"c" * BLOCK, FAR)
    found = places(changed_since(spec, path, "p"))
    assert {1, FAR // PIECE} <= found
    # What the other end records meanwhile.
    inode = volume.lstat(path).inode
    [point] = record.records_in(volume, record.directory_of(inode))
    point.mark({2}, SIZE)
    client(server).pwrite(b"d" * BLOCK, 3 * record.REGION)
    opened(spec, path)
    found = places(changed_since(spec, path, "p"))
    other = set(range(2 * record.REGION // PIECE, 3 * record.REGION // PIECE))
    assert {1, FAR // PIECE, 3 * record.REGION // PIECE} | other <= found
    server.close(force=True)
    assert places(changed_since(spec, path, "p")) == found
