"""Writing a disk to a repository: the target of a copy that stores what is new.

A piece that is as it was in the previous backup is not stored again, whether or not it was known
to be unchanged.  The index is collected in a file without a name on this node's disk, since that
of a large disk is larger than what a process should use of a node's memory.
"""

from __future__ import annotations

import mmap
import struct
import threading
from collections.abc import Iterator

from ganeti_gluster import constants
from ganeti_gluster.core.backup import codec, index
from ganeti_gluster.core.backup.codec import DIGEST, PIECE
from ganeti_gluster.core.backup.index import PIECES, DiskIndex, IndexPart, Reference
from ganeti_gluster.core.backup.pack import Place, Writer
from ganeti_gluster.core.copy import PIECE as STEP
from ganeti_gluster.core.copy import Extent, Source, Stream
from ganeti_gluster.core.copy.interface import Piece
from ganeti_gluster.core.copy.zeroes import is_zero
from ganeti_gluster.tools import private

# A place in the file: 0 for zeroes or 1 + the number of the pack, the blob, the digest.
_ENTRY = struct.Struct("<IHxx%ds" % DIGEST)


class DiskWriter:
    """A disk that goes to a repository; in the terms of `copy.Target`.

    `unchanged` are the bytes of the previous backup's pieces that are not zeroes, where the rest
    of the disk is as it was then; None where all that is not written is zeroes.  After `sync`:
    `root` is the reference to its index, `data` are the bytes of its pieces that are not zeroes,
    `new` those that were not in the previous backup.
    """

    zeroed = True
    ordered = False

    def __init__(
        self,
        name: str,
        packs: Writer,
        previous: DiskIndex | None,
        *,
        unchanged: int | None = None,
        directory: str = constants.STATE_DIR,
    ) -> None:
        self.name = name
        self.root: Reference | None = None
        self.data = unchanged or 0
        self.new = 0
        self._packs = packs
        self._previous = previous
        self._partial = unchanged is not None
        self._directory = directory
        self._lock = threading.Lock()
        self._ids: list[bytes] = []
        self._numbers: dict[bytes, int] = {}
        self._touched: set[int] = set()
        self._size = 0
        self._entries: mmap.mmap | None = None

    def open(self, size: int | None) -> None:
        assert size is not None and (self._previous is None or self._previous.size == size)
        assert self._previous is not None or not self._partial
        self._size = size
        with private.nameless(self._directory) as file:
            file.truncate(index.pieces(size) * _ENTRY.size)
            self._entries = mmap.mmap(file.fileno(), 0)

    def clone(self, source: Source | Stream) -> bool:
        return False

    def take(self, offset: int, data: memoryview) -> None:
        """A range that begins with a piece, and ends with one."""
        for start in range(0, len(data), PIECE):
            self._take((offset + start) // PIECE, data[start : start + PIECE])

    def _take(self, number: int, data: memoryview) -> None:
        before = self._previous.piece(number) if self._previous is not None else None
        now = None
        if not is_zero(data):
            digest = codec.digest(data)
            if before is not None and before.digest == digest:
                now = before
            else:
                now = Reference(self._packs.add(codec.pack(data)), digest)
        with self._lock:
            self._touch(number // PIECES)
            self._set(number, now)
            if self._partial and before is not None:
                self.data -= len(data)
            if now is not None:
                self.data += len(data)
                self.new += 0 if now is before else len(data)

    def _touch(self, segment: int) -> None:
        """The first piece of a segment: the others stay as they were."""
        if segment in self._touched:
            return
        self._touched.add(segment)
        if self._partial:
            assert self._previous is not None
            for i, each in enumerate(self._previous.segment(segment)):
                self._set(segment * PIECES + i, each)

    def _set(self, number: int, reference: Reference | None) -> None:
        assert self._entries is not None
        if reference is None:
            entry = bytes(_ENTRY.size)
        else:
            pack = reference.place.pack
            known = self._numbers.get(pack)
            if known is None:
                known = self._numbers[pack] = len(self._ids)
                self._ids.append(pack)
            entry = _ENTRY.pack(known + 1, reference.place.number, reference.digest)
        self._entries[number * _ENTRY.size : (number + 1) * _ENTRY.size] = entry

    def _get(self, segment: int) -> IndexPart:
        assert self._entries is not None
        start = segment * PIECES
        end = start + index.pieces_in(self._size, segment)
        part: IndexPart = []
        raw = self._entries[start * _ENTRY.size : end * _ENTRY.size]
        for which, number, digest in _ENTRY.iter_unpack(raw):
            part.append(Reference(Place(self._ids[which - 1], number), digest) if which else None)
        return part

    def pwrite(self, data: memoryview, offset: int) -> None:
        raise NotImplementedError("it takes whole pieces")

    def zero(self, offset: int, length: int) -> None:
        """Nothing: it is `zeroed`."""

    def sync(self, size: int) -> None:
        root: IndexPart = []
        for segment in range(index.segments(self._size)):
            before = self._previous.parts[segment] if self._previous is not None else None
            if segment in self._touched:
                root.append(self._store(self._get(segment), before))
            else:
                root.append(before if self._partial else None)
        self.root = self._store(root, self._previous.root if self._previous else None)
        assert self._entries is not None
        self._entries.close()

    def _store(self, part: IndexPart, before: Reference | None) -> Reference | None:
        """The reference to a part of the index, which may be stored already."""
        if not any(part):
            return None
        data = index.encode(part)
        digest = codec.digest(data)
        if before is not None and before.digest == digest:
            return before
        return Reference(self._packs.add(codec.pack(data)), digest)

    def written(self) -> Source | None:
        return None

    def publish(self) -> None:
        """Nothing: it exists when the manifest does."""

    def abort(self) -> bool:
        if self._entries is not None and not self._entries.closed:
            self._entries.close()
        return True


class ChangedSource:
    """A source of which only some extents are read; `changed` are in order, without overlap."""

    def __init__(self, source: Source, changed: list[Extent]) -> None:
        self._source = source
        self._changed = changed

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def size(self) -> int:
        return self._source.size

    def pread_into(self, buffer: memoryview, offset: int) -> int:
        return self._source.pread_into(buffer, offset)

    def extents(self) -> list[Extent]:
        return self._changed

    def stop(self) -> None:
        stop = getattr(self._source, "stop", None)
        if stop is not None:
            stop()

    def pieces(self) -> Iterator[Piece]:
        """What is to be read in whole pieces of a backup, and the rest as holes."""
        done = 0
        for extent in self._changed:
            start = max(done, extent.offset - extent.offset % PIECE)
            end = min(-(-(extent.offset + extent.length) // PIECE) * PIECE, self.size)
            if start > done:
                yield Piece(done, start - done, False)
            for offset in range(start, end, STEP):
                yield Piece(offset, min(STEP, end - offset), True)
            done = max(done, end)
        if done < self.size:
            yield Piece(done, self.size - done, False)
