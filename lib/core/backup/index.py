"""The index of a disk: where each of its pieces is.

It has two levels, of the same form (`IndexPart`): the root refers to segments, a segment to
pieces.  So a backup that changes little stores few segments, and shares the others with the
backup before.
"""

from __future__ import annotations

import struct
import sys
import threading
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from ganeti_gluster.core.backup import codec
from ganeti_gluster.core.backup.codec import DIGEST, PIECE
from ganeti_gluster.core.backup.errors import Damaged
from ganeti_gluster.core.backup.pack import BLOBS, ID, Place, Reader

#: Pieces of a segment, and the bytes of a disk that they are.
PIECES = 1024
SEGMENT = PIECES * PIECE
#: Bytes of the largest disk, so that no manifest makes a root of any size.
LARGEST = 1 << 48

_COUNT = struct.Struct("<I")
_NOTHING = bytes(DIGEST)
# Segments that a reader keeps, of some 200 KiB.
_SEGMENTS = 64


class Reference(NamedTuple):
    """A blob, and the digest of what it holds."""

    place: Place
    digest: bytes


#: What a root or a segment has at each place; None where all is zeroes.
IndexPart = list[Reference | None]


def pieces(size: int) -> int:
    """The pieces of a disk, of which the last may be shorter."""
    return -(-size // PIECE)


def segments(size: int) -> int:
    """The segments of a disk, of which the last may be shorter."""
    return -(-size // SEGMENT)


def pieces_in(size: int, segment: int) -> int:
    """The pieces of a segment of the disk."""
    return min(PIECES, pieces(size) - segment * PIECES)


def length_of(size: int, piece: int) -> int:
    """The bytes of a piece of the disk."""
    return min(PIECE, size - piece * PIECE)


def encode(part: Sequence[Reference | None]) -> bytes:
    """A part as it is stored: in columns, which are well compressed but for the digests.

    What is equal is encoded equally.
    """
    packs: dict[bytes, int] = {}
    which, numbers, digests = array("I"), array("H"), []
    for each in part:
        if each is None:
            which.append(0)
            numbers.append(0)
            digests.append(_NOTHING)
        else:
            which.append(packs.setdefault(each.place.pack, len(packs)) + 1)
            numbers.append(each.place.number)
            digests.append(each.digest)
    for column in (which, numbers):
        _turn(column)
    return b"".join(
        (_COUNT.pack(len(packs)), *packs, which.tobytes(), numbers.tobytes(), *digests)
    )


def most(count: int) -> int:
    """The bytes of an encoded part of so many places, at the most."""
    return _COUNT.size + count * (ID + 4 + 2 + DIGEST)


def decode(data: bytes, count: int) -> IndexPart:
    """A part of `count` places that `encode` wrote; raises `Damaged`."""
    if len(data) < _COUNT.size:
        raise Damaged("a part of an index is cut off")
    (known,) = _COUNT.unpack_from(data)
    start = _COUNT.size + known * ID
    if known > count or len(data) != start + count * (4 + 2 + DIGEST):
        raise Damaged("a part of an index has a wrong length")
    packs = [data[_COUNT.size + i * ID : _COUNT.size + (i + 1) * ID] for i in range(known)]
    which = array("I", data[start : start + 4 * count])
    numbers = array("H", data[start + 4 * count : start + 6 * count])
    for column in (which, numbers):
        _turn(column)
    digests = start + 6 * count
    part: IndexPart = []
    for i, (pack, number) in enumerate(zip(which, numbers, strict=True)):
        if pack == 0:
            part.append(None)
        elif pack > known or number >= BLOBS:
            raise Damaged("a part of an index refers to nothing")
        else:
            place = digests + i * DIGEST
            part.append(Reference(Place(packs[pack - 1], number), data[place : place + DIGEST]))
    return part


def _turn(column: array[int]) -> None:
    if sys.byteorder == "big":
        column.byteswap()


def read_part(reader: Reader, reference: Reference, count: int) -> IndexPart:
    """A root or a segment of so many places; raises `Damaged`."""
    (blob,) = reader.read([reference.place]).values()
    data = codec.unpack(blob, most(count))
    if codec.digest(data) != reference.digest:
        raise Damaged("a part of an index in pack %s is damaged" % reference.place.pack.hex())
    return decode(data, count)


class DiskIndex:
    """The index of a disk in a backup, read as it is needed.  For several threads."""

    def __init__(self, reader: Reader, size: int, root: Reference | None) -> None:
        if not 0 < size <= LARGEST:
            raise Damaged("a disk has %d bytes" % size)
        self.size = size
        self.reader = reader
        self.root = root
        self._parts: IndexPart | None = None
        self._segments: OrderedDict[int, IndexPart] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def parts(self) -> IndexPart:
        """The references to the segments."""
        if self._parts is None:
            count = segments(self.size)
            self._parts = (
                [None] * count if self.root is None else read_part(self.reader, self.root, count)
            )
        return self._parts

    def segment(self, number: int) -> IndexPart:
        """The references to the pieces of a segment."""
        with self._lock:
            part = self._segments.get(number)
            if part is not None:
                self._segments.move_to_end(number)
                return part
            reference, count = self.parts[number], pieces_in(self.size, number)
        if reference is None:
            return [None] * count
        part = read_part(self.reader, reference, count)
        with self._lock:
            self._segments[number] = part
            while len(self._segments) > _SEGMENTS:
                self._segments.popitem(last=False)
        return part

    def piece(self, number: int) -> Reference | None:
        """The reference to a piece."""
        return self.segment(number // PIECES)[number % PIECES]
