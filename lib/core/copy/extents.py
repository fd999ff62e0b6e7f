"""Where an image has data, so that a copy need not read its holes."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ganeti_gluster.core.copy.interface import PIECE, Extent
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.gfapi import File, Volume

if TYPE_CHECKING:
    from ganeti_gluster.tools.gfapi.shards import Shards

#: The answers of a volume that does not know where data is.
NO_SEEK = frozenset((errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS))


def file_extents(file: File, size: int) -> Iterator[Extent] | None:
    """The data of an open image of `size` bytes; None if the volume does not know.

    A sharded volume does not; use `image_extents`.
    """
    try:
        file.seek_data(0)
    except OSError as err:
        if err.errno in NO_SEEK:
            return None
        raise
    return _extents(file, 0, size)


def image_extents(volume: Volume, path: str, file: File, size: int) -> Iterator[Extent] | None:
    """As `file_extents`, also where the volume shards; nobody may write the image."""
    extents = file_extents(file, size)
    if extents is not None:
        return extents
    # Late: with one volume in hand, few copies need another graph.
    from ganeti_gluster.tools.gfapi import shards

    try:
        pieces = shards.shards(volume, path)
    except (GanetiGlusterError, OSError):
        return None  # reading it all tells what is wrong
    return None if pieces is None else _sharded(pieces, size)


def _sharded(pieces: Shards, size: int) -> Iterator[Extent]:
    return shard_extents(pieces, 0, size)


def shard_extents(pieces: Shards, offset: int, end: int) -> Iterator[Extent]:
    """The data between two offsets of a sharded image, in order."""
    while offset < end:
        number, place = divmod(offset, pieces.size)
        start = number * pieces.size
        length = min(pieces.size, end - start)
        try:
            file = pieces.open(number)
        except OSError:
            yield Extent(offset, length - place)  # reading it tells what is wrong
        else:
            if file is not None:
                try:
                    yield from _extents(file, start, length, place)
                finally:
                    file.abandon()
        offset = start + length


def extents_between(file: File, offset: int, end: int) -> Iterator[Extent]:
    """The data between two offsets of a file that supports SEEK_DATA."""
    return _extents(file, 0, end, offset)


def _extents(file: File, start: int, length: int, place: int = 0) -> Iterator[Extent]:
    """The data in the first `length` bytes of a file from `place` on; they lie at `start`.

    Holes within a `PIECE` are not searched: it is read as a whole, and a query costs a tenth
    of that.  Anything that the file does not report as a hole is data.
    """
    while place < length:
        try:
            begin = file.seek_data(place)
            end = length if begin is None else file.seek_hole(begin) or length
        except OSError:
            begin, end = place, length
        if begin is None or begin >= length:
            return
        end = min(length, end + -end % PIECE)
        yield Extent(start + begin, end - begin)
        place = end
