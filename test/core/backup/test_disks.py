"""What is written to a repository is read from it: whole, in part, and however it came."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ganeti_gluster.core.backup import codec, index, pack
from ganeti_gluster.core.backup.codec import PIECE
from ganeti_gluster.core.backup.directory import DirectoryStore
from ganeti_gluster.core.backup.errors import Damaged
from ganeti_gluster.core.backup.manifest import DiskBackup, Manifest, Root
from ganeti_gluster.core.backup.pack import Place, Reader
from ganeti_gluster.core.backup.source import BackupSource
from ganeti_gluster.core.backup.writer import ChangedSource, DiskWriter
from ganeti_gluster.core.copy import Extent, Options, copy
from ganeti_gluster.tools import private


class Memory:
    """A source of bytes; `read` are the ranges that were read."""

    name = "memory"

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)
        self.ranges: list[tuple[int, int]] = []

    def pread_into(self, buffer: memoryview, offset: int) -> int:
        part = self.data[offset : offset + len(buffer)]
        self.ranges.append((offset, len(part)))
        buffer[: len(part)] = part
        return len(part)

    def extents(self) -> None:
        return None


class Into:
    """A target in memory."""

    name = "memory"
    zeroed, ordered = True, False

    def open(self, size: int | None) -> None:
        assert size is not None
        self.data = bytearray(size)

    def clone(self, source: object) -> bool:
        return False

    def pwrite(self, data: memoryview, offset: int) -> None:
        self.data[offset : offset + len(data)] = data

    def zero(self, offset: int, length: int) -> None:
        raise AssertionError("it is zeroed")

    def sync(self, size: int) -> None: ...

    def written(self) -> None:
        return None

    def publish(self) -> None: ...

    def abort(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(private, "directory", lambda path: str(tmp_path))
    yield


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    root = tmp_path / "repository"
    root.mkdir()
    return DirectoryStore(str(root))


def write(
    store: DirectoryStore,
    data: bytes,
    previous: DiskBackup | None = None,
    changed: list[Extent] | None = None,
) -> tuple[DiskBackup, Memory, int]:
    """Back a disk up; what it is then, what was read, and the bytes that were stored."""
    packs = pack.Writer(store, lambda: None)
    before = None
    if previous is not None:
        root = previous.root.reference if previous.root else None
        before = index.DiskIndex(Reader(store), previous.size, root)
    unchanged = previous.data if previous is not None and changed is not None else None
    writer = DiskWriter("disk", packs, before, unchanged=unchanged)
    source = Memory(data)
    copy(source if changed is None else ChangedSource(source, changed), writer, Options())
    packs.flush()
    disk = DiskBackup(
        index=0,
        uuid="d0",
        size=len(data),
        root=Root.of(writer.root) if writer.root else None,
        data=writer.data,
        new=writer.new,
        read=sum(length for _, length in source.ranges),
    )
    return disk, source, packs.stored


def backup(*disks: DiskBackup) -> Manifest:
    return Manifest(1, "vm1", "u", "c", "b", 1.0, 2.0, True, False, "", 0, disks)


def source_of(store: DirectoryStore, disk: DiskBackup) -> BackupSource:
    return BackupSource(Reader(store), backup(disk), disk)


def restore(store: DirectoryStore, disk: DiskBackup) -> bytes:
    target = Into()
    copy(source_of(store, disk), target, Options())
    return bytes(target.data)


def noise(size: int) -> bytes:
    return os.urandom(size)


def test_a_disk_comes_back(store: DirectoryStore) -> None:
    data = noise(3 << 20) + bytes(5 << 20) + noise(1 << 20) + b"end" + bytes(100)
    disk, _, stored = write(store, data)
    assert restore(store, disk) == data
    assert 4 << 20 < stored < (4 << 20) * 1.01 + PIECE
    assert disk.data == disk.new == (4 << 20) + 103


def test_zeroes_are_nothing(store: DirectoryStore) -> None:
    disk, _, stored = write(store, bytes(70 << 20))
    assert (disk.root, disk.data, stored) == (None, 0, 0)
    assert restore(store, disk) == bytes(70 << 20)


def test_what_is_as_before_is_not_stored_again(store: DirectoryStore) -> None:
    old = noise(8 << 20)
    new = bytearray(old)
    new[5 * PIECE + 7] ^= 1
    first, _, _ = write(store, old)
    second, read, stored = write(store, bytes(new), first)
    assert second.new == PIECE and second.data == first.data
    assert read.size == 8 << 20 and PIECE < stored < 1.3 * PIECE
    assert (restore(store, first), restore(store, second)) == (old, bytes(new))
    same, _, stored = write(store, bytes(new), second)
    assert (same.root, stored) == (second.root, 0)


def test_only_what_may_have_changed_is_read(store: DirectoryStore) -> None:
    old = noise(1 << 20) + bytes(68 << 20) + noise(3 << 20)
    new = bytearray(old)
    new[70 << 20 : (70 << 20) + 100] = bytes(100)
    new[3 * PIECE : 4 * PIECE] = bytes(PIECE)
    first, _, _ = write(store, old)
    changed = [Extent(3 * PIECE, PIECE), Extent((70 << 20) + 5, 10)]
    second, source, _ = write(store, bytes(new), first, changed)
    assert sum(length for _, length in source.ranges) == 2 * PIECE
    assert restore(store, second) == bytes(new)
    assert second.data == (4 << 20) - PIECE and second.new == PIECE


def test_an_incremental_backup_is_little_more_than_what_changed(store: DirectoryStore) -> None:
    """Even if the changes are all over the disk, as here."""
    size, changes = 128 << 20, 20
    old = bytearray(noise(8 << 20) * 16)
    first, _, _ = write(store, bytes(old))
    step = size // changes // PIECE * PIECE
    extents = [Extent(i * step, PIECE) for i in range(changes)]
    for offset, length in extents:
        old[offset : offset + length] = noise(length)
    second, _, stored = write(store, bytes(old), first, extents)
    assert stored <= 1.3 * changes * PIECE
    assert restore(store, second) == bytes(old)


PIECE_KINDS = st.sampled_from("0ab")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.text("0ab", min_size=5, max_size=5), min_size=1, max_size=6),
    st.integers(1, PIECE),
    st.booleans(),
)
def test_each_of_many_backups_is_of_its_own_instant(
    store: DirectoryStore, disks: list[str], last: int, told: bool
) -> None:
    contents = {"0": bytes(PIECE), "a": b"a" * PIECE, "b": b"b" * PIECE}
    size = 4 * PIECE + last
    made: list[tuple[bytes, DiskBackup]] = []
    before = ""
    for disk in disks:
        data = b"".join(contents[kind] for kind in disk)[:size]
        changed = None
        if told and made:
            changed = [Extent(i * PIECE, 1) for i, kind in enumerate(disk) if kind != before[i]]
        done, _, _ = write(store, data, made[-1][1] if made else None, changed)
        made.append((data, done))
        before = disk
    for data, done in made:
        assert restore(store, done) == data
        assert done.data == sum(
            index.length_of(size, i) for i in range(5) if any(data[i * PIECE : (i + 1) * PIECE])
        )


@given(st.binary(max_size=300), st.integers(0, 300))
def test_a_blob_holds_what_was_packed(data: bytes, most: int) -> None:
    blob = codec.pack(data)
    if len(data) <= most:
        assert codec.unpack(blob, most) == data
    else:
        with pytest.raises(Damaged):
            codec.unpack(blob, most)


def test_a_blob_that_would_be_huge_is_refused() -> None:
    bomb = codec.pack(bytes(1 << 30))
    assert len(bomb) < 1 << 20
    with pytest.raises(Damaged, match="longer than it may be"):
        codec.unpack(bomb, PIECE)


@given(st.binary(max_size=200))
def test_what_is_no_blob_is_refused(data: bytes) -> None:
    try:
        assert len(codec.unpack(data, 64)) <= 64
    except Damaged:
        pass


@given(st.binary(max_size=200), st.integers(0, 8))
def test_what_is_no_index_is_refused(data: bytes, count: int) -> None:
    try:
        assert len(index.decode(data, count)) == count
    except Damaged:
        pass


REFERENCES = st.builds(
    index.Reference,
    st.builds(Place, st.binary(min_size=16, max_size=16), st.integers(0, pack.BLOBS - 1)),
    st.binary(min_size=16, max_size=16),
)


@given(st.lists(st.none() | REFERENCES, max_size=40))
def test_a_part_of_an_index_is_what_was_encoded(part: index.IndexPart) -> None:
    data = index.encode(part)
    assert len(data) <= index.most(len(part))
    assert index.decode(data, len(part)) == part


def only_pack(store: DirectoryStore) -> Path:
    (found,) = pack.find_all(store)
    return Path(store.name) / pack.path(found)


def test_a_changed_byte_anywhere_is_noticed(store: DirectoryStore) -> None:
    data = noise(4 * PIECE)
    disk, _, _ = write(store, data)
    place = only_pack(store)
    whole = place.read_bytes()
    for offset in {*range(0, 60), *range(60, len(whole), 4099), len(whole) - 1}:
        broken = bytearray(whole)
        broken[offset] ^= 0x20
        place.write_bytes(broken)
        with pytest.raises(Damaged):
            restore(store, disk)
    for length in (0, 11, 40, len(whole) - 1):
        place.write_bytes(whole[:length])
        with pytest.raises(Damaged):
            restore(store, disk)
    place.unlink()
    with pytest.raises(Damaged, match="is missing"):
        restore(store, disk)


def test_a_blob_can_be_removed_and_the_others_stay(store: DirectoryStore) -> None:
    packs = pack.Writer(store, lambda: None)
    places = [packs.add(b"\0" + bytes([i]) * 1000) for i in range(4)]
    packs.flush()
    assert pack.without(store, places[0].pack, {1, 3}) > 0
    found = Reader(store).read([places[1], places[3]])
    assert [found[places[i]][1:2] for i in (1, 3)] == [b"\1", b"\3"]
    with pytest.raises(Damaged, match="has no blob 2"):
        Reader(store).read([places[2]])
    pack.without(store, places[0].pack, ())
    assert pack.find_all(store) == {}


def test_any_range_can_be_read(store: DirectoryStore) -> None:
    data = noise(PIECE) + bytes(PIECE) + noise(PIECE // 2)
    disk, _, _ = write(store, data)
    source = source_of(store, disk)
    for offset, length in [
        (0, 1),
        (PIECE - 3, 7),
        (PIECE, 5),
        (len(data) - 2, 10),
        (5, 3 * PIECE),
    ]:
        buffer = bytearray(b"x" * length)
        got = source.pread_into(memoryview(buffer), offset)
        assert buffer[:got] == data[offset : offset + length]
    assert source.pread_into(memoryview(bytearray(5)), len(data)) == 0
    assert list(source.extents()) == [Extent(0, PIECE), Extent(2 * PIECE, PIECE // 2)]
