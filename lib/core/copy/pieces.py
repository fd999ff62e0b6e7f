"""How a source is divided: pieces to move, holes between them, and a checksum of all pieces.

Threads can compute the checksum in any order.  Each piece that is not all zeroes gives a BLAKE2
digest of its offset and bytes; the sum of these numbers is the checksum.  It needs the same memory
for any size, and treats holes, zeroes and preallocated blocks alike.  It detects damage by the
storage; it is not a signature.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator

from ganeti_gluster.core.copy.interface import PIECE, Extent, Piece

#: Bytes of a hole in one step, so that its progress shows and it can be stopped.
HOLE = 256 << 20


def pieces(size: int, extents: Iterable[Extent] | None) -> Iterator[Piece]:
    """All of `size` bytes, in order: data in pieces of the grid of `PIECE`, and holes.

    A piece with only a little data is still one piece: its checksum is of the
    whole, and few large reads are faster than many small ones.
    """
    done = 0
    for extent in extents if extents is not None else (Extent(0, size),):
        if extent.offset >= size:
            break
        start = max(done, extent.offset - extent.offset % PIECE)
        end = min(extent.offset + extent.length, size)
        for offset in range(done, start, HOLE):
            yield Piece(offset, min(HOLE, start - offset), False)
        while start < end:
            length = min(PIECE, size - start)
            yield Piece(start, length, True)
            start += length
        done = max(done, start)
    for offset in range(done, size, HOLE):
        yield Piece(offset, min(HOLE, size - offset), False)


_BYTES = 32


class Checksum:
    """The sum so far; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sum = 0

    def add(self, offset: int, data: memoryview) -> None:
        """Take in a piece; it begins at a multiple of `PIECE` and is not all zeroes."""
        digest = hashlib.blake2b(data, digest_size=_BYTES, salt=offset.to_bytes(16, "big"))
        number = int.from_bytes(digest.digest(), "big")
        with self._lock:
            self._sum = (self._sum + number) % (1 << 8 * _BYTES)

    def hexdigest(self) -> str:
        """The checksum as text."""
        return self._sum.to_bytes(_BYTES, "big").hex()
