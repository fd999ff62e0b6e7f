"""The copy engine between files, streams, and sources and targets made for a test."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from ganeti_gluster.core.copy import PIECE, Extent, Options, copy
from ganeti_gluster.core.copy.files import FileSource, NewFile
from ganeti_gluster.core.copy.pipeline import Stalled
from ganeti_gluster.core.copy.streams import StreamSource, StreamTarget
from ganeti_gluster.errors import ChecksumMismatch, CopyFailed, IncompleteImage

SIZE = 9 * PIECE + 12345


@pytest.fixture
def sparse(tmp_path):
    """A file of some data, among it written zeroes, and holes."""
    path = tmp_path / "source"
    with path.open("wb") as file:
        file.truncate(SIZE)
        file.write(os.urandom(4096))
        file.seek(3 * PIECE - 5)
        file.write(os.urandom(PIECE) + bytes(PIECE) + b"x")
        file.seek(SIZE - 1)
        file.write(b"\1")
    return path


class Memory:
    """A target that is full of something else before, and a source."""

    name = "memory"
    ordered = zeroed = False

    def __init__(self, content=b"", extents=None):
        self.content = bytearray(content)
        self.size = len(content)
        self._extents = extents
        self.calls = []

    def open(self, size):
        self.calls.append("open")
        self.content = bytearray(b"\xff" * size)

    def clone(self, source):
        return False

    def pwrite(self, data, offset):
        self.content[offset : offset + len(data)] = data

    def zero(self, offset, length):
        self.content[offset : offset + length] = bytes(length)

    def sync(self, size):
        self.calls.append("sync")
        self.size = size

    def written(self):
        return self

    def publish(self):
        self.calls.append("publish")

    def abort(self):
        self.calls.append("abort")
        return True

    def pread_into(self, buffer, offset):
        part = self.content[offset : offset + len(buffer)]
        buffer[: len(part)] = part
        return len(part)

    def extents(self):
        return self._extents


@pytest.mark.parametrize("threads", [1, 5])
@pytest.mark.parametrize("checksum", [False, True])
def test_a_file_becomes_the_same_file_with_its_holes(sparse, tmp_path, threads, checksum):
    target = tmp_path / "target"
    with FileSource(str(sparse)) as source:
        result = copy(source, NewFile(str(target)), Options(threads=threads, checksum=checksum))
    assert target.read_bytes() == sparse.read_bytes()
    assert target.stat().st_blocks <= sparse.stat().st_blocks
    assert target.stat().st_mode & 0o777 == 0o600
    assert (result.size, result.cloned) == (SIZE, False)
    assert PIECE < result.data < 2 * PIECE
    assert bool(result.checksum) == checksum
    assert sorted(os.listdir(tmp_path)) == ["source", "target"]


def test_what_the_target_held_before_is_zeroed_where_the_source_has_holes(sparse):
    target = Memory()
    with FileSource(str(sparse)) as source:
        copy(source, target, Options(threads=4, checksum=True))
    assert target.content == sparse.read_bytes()
    assert target.calls == ["open", "sync", "publish"]


def test_any_object_with_a_size_extents_and_pread_is_a_source(tmp_path):
    content = bytes(PIECE) + os.urandom(PIECE) + bytes(PIECE)
    source = Memory(content, [Extent(PIECE + 4096, 7), Extent(PIECE + 8192, 4096)])
    copy(source, NewFile(str(tmp_path / "target")))
    assert (tmp_path / "target").read_bytes() == content


def test_a_stream_of_unknown_length_is_written_sparse(sparse, tmp_path):
    target = tmp_path / "target"
    with sparse.open("rb") as file:
        result = copy(StreamSource(file.fileno(), "input"), NewFile(str(target)))
    assert target.read_bytes() == sparse.read_bytes()
    assert target.stat().st_blocks * 512 < 3 * PIECE
    assert result.size == SIZE


def test_a_stream_gets_all_bytes_in_order(sparse, tmp_path):
    with (tmp_path / "out").open("wb") as out, FileSource(str(sparse)) as source:
        copy(source, StreamTarget(out.fileno(), "output"), Options(threads=7))
    assert (tmp_path / "out").read_bytes() == sparse.read_bytes()


@pytest.mark.parametrize("expected", [SIZE - 1, SIZE + 1])
def test_a_stream_of_another_length_than_announced_is_refused(sparse, tmp_path, expected):
    with sparse.open("rb") as file, pytest.raises(CopyFailed, match="%d" % expected):
        copy(
            StreamSource(file.fileno(), "input", expected=expected),
            NewFile(str(tmp_path / "target")),
        )
    assert os.listdir(tmp_path) == ["source"]


def test_a_full_target_is_told_and_nothing_is_left(sparse, tmp_path):
    target = NewFile(str(tmp_path / "target"))

    def full(data, offset):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    target.pwrite = full
    with FileSource(str(sparse)) as source, pytest.raises(CopyFailed) as caught:
        copy(source, target)
    assert "No space left on device; the incomplete copy was removed; free some space" in str(
        caught.value
    )
    assert os.listdir(tmp_path) == ["source"]


def test_a_copy_whose_sync_fails_is_none(sparse):
    target = Memory()

    def failing(size):
        target.calls.append("sync")
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    target.sync = failing
    with FileSource(str(sparse)) as source, pytest.raises(CopyFailed, match="Input/output error"):
        copy(source, target)
    assert target.calls == ["open", "sync", "abort"]


def test_what_reads_back_differently_is_noticed_and_removed(sparse):
    target = Memory()
    write = target.pwrite

    def lying(data, offset):
        write(data, offset)
        target.content[0] ^= 1

    target.pwrite = lying
    with FileSource(str(sparse)) as source, pytest.raises(ChecksumMismatch, match="memory"):
        copy(source, target, Options(threads=1, checksum=True))
    assert target.calls == ["open", "sync", "abort"]


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (OSError(errno.EIO, os.strerror(errno.EIO)), "Input/output error; and memory.partial"),
        (Stalled("nothing was copied for 300 s"), "nothing was copied for 300 s; and memory"),
        (KeyboardInterrupt(), "memory.partial is incomplete"),
    ],
)
def test_what_cannot_be_removed_is_told_with_what_went_wrong_first(sparse, failure, told):
    target = Memory()

    def failing(size):
        raise failure

    def abort():
        raise IncompleteImage("memory.partial is incomplete", path="x", hint="look at it")

    target.sync, target.abort = failing, abort
    with FileSource(str(sparse)) as source, pytest.raises(IncompleteImage) as caught:
        copy(source, target)
    assert caught.value.message.startswith(told)
    assert (caught.value.path, caught.value.hint) == ("x", "look at it")
    assert caught.value.__cause__ is failure


def test_a_source_that_ends_early_is_an_error(tmp_path):
    source = Memory(bytes(100))
    source.size = 200
    with pytest.raises(CopyFailed, match="memory ended at byte 100 of 200"):
        copy(source, NewFile(str(tmp_path / "target")))
    assert os.listdir(tmp_path) == []


def test_the_callback_sees_all_and_what_it_raises_undoes_the_copy(sparse, tmp_path):
    seen = []
    with FileSource(str(sparse)) as source:
        copy(source, NewFile(str(tmp_path / "a")), Options(progress=seen.append, checksum=True))
    whole = {(p.phase, p.total) for p in seen if p.done == p.total}
    assert whole == {("copied", SIZE), ("verified", SIZE)}

    def stop(progress):
        raise KeyError

    with FileSource(str(sparse)) as source, pytest.raises(KeyError):
        copy(source, NewFile(str(tmp_path / "b")), Options(progress=stop))
    assert sorted(os.listdir(tmp_path)) == ["a", "source"]


def test_a_stream_that_says_nothing_can_be_stopped(tmp_path):
    reading, writing = os.pipe()
    calls = iter([None, None])

    def stop(progress):
        next(calls)

    try:
        with pytest.raises(StopIteration):
            copy(
                StreamSource(reading, "input"),
                NewFile(str(tmp_path / "b")),
                Options(progress=stop, interval=0.01),
            )
        assert os.listdir(tmp_path) == []
    finally:
        os.close(reading)
        os.close(writing)


def test_a_source_that_may_have_changed_makes_no_copy(sparse, tmp_path):
    calls = []

    def confirm():
        calls.append(sorted(path.name for path in tmp_path.iterdir()))
        raise CopyFailed("it may have changed")

    with pytest.raises(CopyFailed, match="may have changed"), FileSource(str(sparse)) as source:
        copy(source, NewFile(str(tmp_path / "new")), Options(confirm=confirm))
    assert calls == [["new.partial", "source"]]
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_limit_is_kept(sparse, tmp_path):
    with FileSource(str(sparse)) as source:
        # 5 pieces have data; the first is free.
        result = copy(source, NewFile(str(tmp_path / "t")), Options(limit=20 * PIECE))
    assert result.seconds > 0.1


def test_a_target_whose_write_does_not_end_is_not_removed(sparse, tmp_path, monkeypatch):
    monkeypatch.setattr("ganeti_gluster.core.copy.pipeline.JOIN_SECONDS", 0.05)
    release, target = threading.Event(), NewFile(str(tmp_path / "target"))
    target.pwrite = lambda data, offset: release.wait(10)

    def stop(progress):
        raise KeyError

    with FileSource(str(sparse)) as source:
        try:
            with pytest.raises(IncompleteImage, match="a write to it has not finished"):
                copy(source, target, Options(progress=stop, interval=0.01))
        finally:
            release.set()
    assert "target.partial" in os.listdir(tmp_path)


def test_an_existing_file_is_left_alone(sparse, tmp_path):
    (tmp_path / "target").write_text("mine")
    with FileSource(str(sparse)) as source, pytest.raises(CopyFailed, match="already exists"):
        copy(source, NewFile(str(tmp_path / "target")))
    assert (tmp_path / "target").read_text() == "mine"


def test_what_a_killed_copy_left_is_removed_but_not_what_one_writes(sparse, tmp_path):
    path = str(tmp_path / "target")
    (tmp_path / "target.partial").write_text("left")
    writing = NewFile(path)
    writing.open(7)
    with FileSource(str(sparse)) as source:
        with pytest.raises(CopyFailed, match=r"another copy to .*target is running"):
            copy(source, NewFile(path))
        assert (tmp_path / "target.partial").stat().st_size == 7
        writing.abort()
        copy(source, NewFile(path))
    assert sorted(os.listdir(tmp_path)) == ["source", "target"]


class Silent(Memory):
    """A source whose second piece does not come until it is told to stop."""

    def __init__(self):
        super().__init__(b"x" * 3 * PIECE)
        self.stopped = threading.Event()

    def pread_into(self, buffer, offset):
        if offset == PIECE:
            assert self.stopped.wait(60)
            raise OSError(errno.EIO, "ended", "memory")
        return super().pread_into(buffer, offset)

    def stop(self):
        self.stopped.set()


def test_a_copy_of_which_nothing_moves_is_given_up():
    source, target = Silent(), Memory()
    with pytest.raises(Stalled, match="nothing was copied for 1 s"):
        copy(source, target, Options(patience=1, interval=0.01))
    assert source.stopped.is_set()
    assert target.calls == ["open", "abort"]
