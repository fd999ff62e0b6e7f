"""check KEY: whether others wrote to an image while no server recorded changes (src/changed.c).

A helper of the image's server, which starts it before it opens an image that has points.  Nothing
is recorded of what others write, such as stock Ganeti by a FUSE mount, but GlusterFS keeps the
time of the last write to each shard.  If an image was closed, and a shard was written later, its
points are lost.  If it was not closed, as when its node died, all shards that were written since
it was opened count as changed.  The nodes' clocks have to agree.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ganeti_gluster.core.changed.record import (
    CLOSED,
    OPEN,
    REGION,
    Head,
    Record,
    directory_of,
    records_in,
)
from ganeti_gluster.core.serve import files
from ganeti_gluster.core.volume import connect
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.gfapi import Volume
from ganeti_gluster.tools.gfapi.shards import shards
from ganeti_gluster.tools.processes import leave

FOREIGN = "the image was written to without this package's server"
UNKNOWN = "the image was not closed, and its volume has no shards"


def check(volume: Volume, path: str) -> dict[str, Head]:
    """Correct what the points of an image that nobody has open say; returns it."""
    found = volume.lstat(path)
    directory = directory_of(found.inode)
    heads = [(record, record.head()) for record in records_in(volume, directory)]
    known = [(record, head) for record, head in heads if head is not None]
    if not any(head.state in (OPEN, CLOSED) for _, head in known):
        return {record.point: head for record, head in known}
    length, times = _written(volume, path, found.size)
    return {
        record.point: _correct(record, head, length, times, found.size) for record, head in known
    }


@contextlib.contextmanager
def growing(volume: Volume, path: str) -> Iterator[None]:
    """Grow an image that nobody has open in the block, which its points survive."""
    found = check(volume, path)
    yield
    directory = directory_of(volume.lstat(path).inode)
    for record in records_in(volume, directory):
        head = found.get(record.point)
        if head is not None and head.state == CLOSED:
            record.write(replace(head, since=time.time()))


def _written(volume: Volume, path: str, size: int) -> tuple[int, dict[int, float]]:
    """The bytes of each shard, 0 if there are none; and when each was written."""
    pieces = shards(volume, path)
    if pieces is None:
        return 0, {0: volume.lstat(path).mtime}
    return pieces.size, pieces.times(-(-size // pieces.size))


def _correct(record: Record, head: Head, length: int, times: dict[int, float], size: int) -> Head:
    later = [number for number, written in times.items() if written > head.since]
    if not later or head.state not in (OPEN, CLOSED):
        return head
    if head.state == CLOSED or not length:
        return record.lose(head, FOREIGN if head.state == CLOSED else UNKNOWN, time.time())
    regions = {
        region
        for number in later
        for region in range(
            number * length // REGION,
            -(-min((number + 1) * length, size) // REGION),
        )
    }
    record.mark(regions, size)
    return head


def main(argv: Sequence[str]) -> int:
    """Check the image of one server."""
    spec, path = files.configured(argv[1])
    with connect(spec) as volume:
        check(volume, path)
    print("ok", flush=True)
    return 0


if __name__ == "__main__":
    try:
        code = main(sys.argv)
    except (GanetiGlusterError, OSError, ValueError) as err:
        print("check: %s" % err, file=sys.stderr)
        code = 1
    leave(code)
