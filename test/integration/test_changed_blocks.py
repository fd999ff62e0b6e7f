"""What has changed since a point: never less than what is different, whatever ends meanwhile."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
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
from ganeti_gluster.core.serve.server import ImageServer, ServerFailed  # noqa: E402
from ganeti_gluster.core.volume import VolumeSpec, connect  # noqa: E402
from ganeti_gluster.tools.gfapi import Volume  # noqa: E402

from .conftest import MIB, GlusterVolume, wait_for  # noqa: E402

PIECE = record.PIECE
#: Bytes of an image whose pieces' bits are a block; one byte more takes a second one.
BLOCK_OF_BITS = 8 * BLOCK * PIECE


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


# -- large disks --------------------------------------------------------------


@pytest.fixture(scope="module")
def unsharded(make_volume) -> GlusterVolume:
    """One brick without shards, where an image of any size costs nothing."""
    made: GlusterVolume = make_volume("unsharded", 1)
    return made


@pytest.fixture(scope="module")
def slow(make_volume) -> GlusterVolume:
    """The same; each write takes a second longer."""
    made: GlusterVolume = make_volume(
        "slow",
        1,
        debug__delay_gen="posix",
        delay_gen__enable="WRITE",
        delay_gen__delay_duration="1000000",
        delay_gen__delay_percentage="100",
    )
    return made


@pytest.fixture
def large() -> Iterator[Callable[[GlusterVolume, int], str]]:
    """Make an image of a size on a volume; it is removed after the test."""
    with contextlib.ExitStack() as undo:

        def make(made: GlusterVolume, size: int) -> str:
            volume = undo.enter_context(connect(made.spec))
            undo.callback(image.remove, volume, "large")
            return image.create(volume, "large", size).path

        yield make


def the_record(spec: VolumeSpec, path: str) -> tuple[record.Record, record.Head]:
    """The one point of an image, and what it says, by a client that knows nothing yet."""
    with connect(spec) as volume:
        [found] = record.records_in(volume, record.directory_of(volume.lstat(path).inode))
        head = found.head()
        assert head is not None
        return found, head


def test_a_grown_disks_pieces_are_kept_if_the_node_dies_while_it_is_closed(
    slow, large, opened
) -> None:
    size = BLOCK_OF_BITS + 64 * MIB
    path = large(slow, BLOCK_OF_BITS)
    server = opened(slow.spec, path)
    begin(slow.spec, path, "p")
    server.grow(size)
    client(server).pwrite(b"x" * BLOCK, size - PIECE)
    found, _ = the_record(slow.spec, path)
    on_brick = slow.bricks[0] / found.path.lstrip("/")

    def is_marked() -> bool:
        with on_brick.open("rb") as stream:
            stream.seek(BLOCK)
            return any(stream.read(BLOCK))

    assert is_marked()
    pid = main_pid(server)
    closing = threading.Thread(target=server.close, kwargs={"force": True})
    closing.start()
    wait_for("no region is marked any more", lambda: not is_marked())
    os.kill(pid, signal.SIGSTOP)  # before it has written the last head
    lose_node(server)
    closing.join(60)
    found, head = the_record(slow.spec, path)
    assert head.state == record.OPEN
    with connect(slow.spec) as volume:
        bits = record.Record(volume, found.directory, found.name).bits(head, size)
    assert list(record.ranges(bits, size)) == [(size - PIECE, PIECE)]
    assert size // PIECE - 1 in places(changed_since(slow.spec, path, "p"))


def test_the_largest_disk_whose_changes_are_recorded(unsharded, large, opened) -> None:
    path = large(unsharded, SIZE)
    server = opened(unsharded.spec, path)
    begin(unsharded.spec, path, "p")
    server.grow(record.LARGEST)
    with pytest.raises(ServerFailed, match="File too large"):
        server.grow(record.LARGEST + PIECE)
    assert server.status().size == record.LARGEST
    client(server).pwrite(b"x" * BLOCK, record.LARGEST - BLOCK)
    assert server.status().points == ("p",)
    server.close(force=True)
    found, head = the_record(unsharded.spec, path)
    assert head.pieces == record.LARGEST // PIECE // 8
    with (unsharded.bricks[0] / found.path.lstrip("/")).open("rb") as stream:
        stream.seek(-BLOCK, os.SEEK_END)
        assert stream.read() == bytes(BLOCK - 1) + b"\x80"
        assert stream.tell() == (1 << 20) + head.pieces
    drop(unsharded.spec, path, "p")


def test_a_larger_disk_works_without_points(unsharded, large, opened) -> None:
    path = large(unsharded, SIZE)
    begin(unsharded.spec, path, "p")
    with connect(unsharded.spec) as volume:
        image.grow(volume, path, record.LARGEST + SIZE)
    server = opened(unsharded.spec, path)
    assert changed_since(unsharded.spec, path, "p").reason == "the disk is larger than 64 TiB"
    with pytest.raises(PointRefused, match="larger than 64 TiB"):
        begin(unsharded.spec, path, "p")
    handle = client(server)
    handle.pwrite(b"x" * BLOCK, record.LARGEST + FAR)
    assert handle.pread(BLOCK, record.LARGEST + FAR) == b"x" * BLOCK
    server.close(force=True)
    with pytest.raises(PointRefused, match="larger than 64 TiB"):
        begin(unsharded.spec, path, "p")
