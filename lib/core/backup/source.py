"""A disk in a backup as a source of a copy."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from types import TracebackType

from ganeti_gluster.core.backup import codec, index
from ganeti_gluster.core.backup.codec import PIECE
from ganeti_gluster.core.backup.errors import Damaged
from ganeti_gluster.core.backup.index import PIECES, DiskIndex, Reference
from ganeti_gluster.core.backup.manifest import DiskBackup, Manifest
from ganeti_gluster.core.backup.pack import Reader
from ganeti_gluster.core.copy import Extent

# Pieces that are kept unpacked, for readers of less than a piece.
_KEPT = 64


class BackupSource:
    """A disk as it was; each piece is checked when it is read, and `Damaged` raised."""

    def __init__(self, reader: Reader, backup: Manifest, disk: DiskBackup) -> None:
        self.name = "disk/%d in backup %s of %s" % (disk.index, backup.name, backup.instance)
        self.size = disk.size
        self.index = DiskIndex(reader, disk.size, disk.root.reference if disk.root else None)
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def __enter__(self) -> BackupSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing is open."""

    def pread_into(self, buffer: memoryview, offset: int) -> int:
        length = max(0, min(len(buffer), self.size - offset))
        if not length:
            return 0
        first, last = offset // PIECE, (offset + length - 1) // PIECE
        for number, data in zip(range(first, last + 1), self._read(first, last + 1), strict=True):
            start = max(0, offset - number * PIECE)
            end = min(len(data), offset + length - number * PIECE)
            place = number * PIECE + start - offset
            buffer[place : place + end - start] = data[start:end]
        return length

    def extents(self) -> Iterator[Extent]:
        for number, reference in enumerate(self.index.parts):
            if reference is None:
                continue
            start, length = 0, 0
            for i, piece in enumerate(self.index.segment(number)):
                place = number * PIECES + i
                if piece is not None:
                    start = start if length else place
                    length += 1
                elif length:
                    yield self._extent(start, length)
                    length = 0
            if length:
                yield self._extent(start, length)

    def _extent(self, start: int, count: int) -> Extent:
        offset = start * PIECE
        return Extent(offset, min(count * PIECE, self.size - offset))

    def _read(self, first: int, end: int) -> list[bytes]:
        """What these pieces hold."""
        with self._lock:
            known = {n: self._kept[n] for n in range(first, end) if n in self._kept}
        wanted: dict[int, Reference] = {}
        for number in range(first, end):
            reference = None if number in known else self.index.piece(number)
            if reference is not None:
                wanted[number] = reference
        blobs = self.index.reader.read(each.place for each in wanted.values())
        for number, reference in wanted.items():
            known[number] = self._unpack(number, reference, blobs[reference.place])
        with self._lock:
            # Only what may be read again soon: the ends.
            for number in {first, end - 1} & wanted.keys():
                self._kept[number] = known[number]
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
        return [
            known.get(number) or bytes(index.length_of(self.size, number))
            for number in range(first, end)
        ]

    def _unpack(self, number: int, reference: Reference, blob: bytes) -> bytes:
        length = index.length_of(self.size, number)
        data = codec.unpack(blob, length)
        if len(data) != length or codec.digest(data) != reference.digest:
            raise Damaged(
                "%s is damaged at byte %d (blob %d of pack %s)"
                % (self.name, number * PIECE, reference.place.number, reference.place.pack.hex())
            )
        return data
