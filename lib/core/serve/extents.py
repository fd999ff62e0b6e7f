"""extents KEY: tell an image server where the image has data (src/extents.c).

A helper of the server: a request is a line on standard input, "OFFSET LENGTH", in bytes.  The
answer is a line on standard output, "d4096 h8192 d...", with data and holes in order, which cover
the length exactly.  The helper has its own connection, without the volume's shard translator, and
ends by itself when it is not used.  Between two requests it keeps nothing open, because GlusterFS
slows down the writer of a file that others have open.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Iterable, Iterator, Sequence

from ganeti_gluster.core.copy.extents import NO_SEEK, extents_between, shard_extents
from ganeti_gluster.core.copy.interface import Extent
from ganeti_gluster.core.serve import files
from ganeti_gluster.core.volume import connect
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.gfapi import Volume
from ganeti_gluster.tools.gfapi.shards import Shards, shards
from ganeti_gluster.tools.processes import leave

#: Seconds without a question after which the helper ends.
IDLE_SECONDS = 30


def describe(extents: Iterable[Extent], offset: int, length: int) -> str:
    """Data and holes between `offset` and `offset + length`, as the server reads them."""
    words, place, end = [], offset, offset + length
    for extent in extents:
        begin, stop = max(extent.offset, place), min(extent.offset + extent.length, end)
        if begin >= stop:
            continue
        if begin > place:
            words.append("h%d" % (begin - place))
        words.append("d%d" % (stop - begin))
        place = stop
    if place < end:
        words.append("h%d" % (end - place))
    return " ".join(words)


def _find(volume: Volume, pieces: Shards | None, path: str, begin: int, end: int) -> list[Extent]:
    if pieces is not None:
        return list(shard_extents(pieces, begin, end))
    with volume.open(path) as file:
        try:
            file.seek_data(0)
        except OSError as err:
            if err.errno in NO_SEEK:
                return [Extent(begin, end - begin)]
            raise
        return list(extents_between(file, begin, end))


def _questions() -> Iterator[tuple[int, int]]:
    while select.select([sys.stdin], [], [], IDLE_SECONDS)[0]:
        line = sys.stdin.readline()
        if not line:
            return
        offset, length = line.split()
        yield int(offset), int(length)


def main(argv: Sequence[str]) -> int:
    """Answer until nobody asks any more."""
    spec, path = files.configured(argv[1])
    with connect(spec) as volume:
        pieces = shards(volume, path)
        for offset, length in _questions():
            extents = _find(volume, pieces, path, offset, offset + length)
            print(describe(extents, offset, length), flush=True)
    return 0


if __name__ == "__main__":
    try:
        code = main(sys.argv)
    except (GanetiGlusterError, OSError, ValueError) as err:
        print("extents: %s" % err, file=sys.stderr)
        code = 1
    leave(code)
