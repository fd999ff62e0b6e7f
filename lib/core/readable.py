"""Whether images can be read: the beginning of each, and all shards that need a heal."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Iterator

from ganeti_gluster.tools.gfapi import Volume, topology

# The least that a brick on a disk with large sectors reads past its cache.
_BYTES = 4096


def unreadable(
    volume: Volume, paths: Iterable[str], *, whole: Collection[str] = ()
) -> Iterator[tuple[str, str]]:
    """Those of the images that cannot be read, each with the reason; not those that are gone.

    Of the images with the GFIDs `whole` each piece is read.
    """
    for path in paths:
        try:
            with volume.open(path, direct=True) as file:
                for offset in _offsets(volume, path, file.stat().size, whole):
                    file.pread(_BYTES, offset)
        except FileNotFoundError:
            continue
        except OSError as err:
            yield path, err.strerror or str(err)


def _offsets(volume: Volume, path: str, size: int, whole: Collection[str]) -> Iterable[int]:
    # libgfapi returns no graph for a connection that was given one.
    if not whole or str(uuid.UUID(bytes=volume.gfid(path))) not in whole:
        return (0,)
    step = topology.parse(volume.volfile()).shard_size
    return (0,) if step is None else range(0, max(size, 1), step)
