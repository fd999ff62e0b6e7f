"""How a source is divided: pieces to move, and holes between them."""

from __future__ import annotations

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
