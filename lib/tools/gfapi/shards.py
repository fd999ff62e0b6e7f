"""The shards of a file, without the translator that combines them.

That translator does not report where a file has data (ENOTSUP).  The shards are files of the
volume as well: the first one has the file's own path, number N is `/.shard/GFID.N`, and a missing
one is a hole (features/shard of GlusterFS 10 and 11).
"""

from __future__ import annotations

import contextlib
import errno
import re
import uuid

from ganeti_gluster.tools.gfapi.connection import pooled
from ganeti_gluster.tools.gfapi.file import File
from ganeti_gluster.tools.gfapi.volume import Volume

_DIRECTORY = "/.shard"
_PIECE_SIZE = "trusted.glusterfs.shard.block-size"

_TRANSLATOR = re.compile(
    r"^volume +(?P<name>\S+)\n\s*type +features/shard\n(?:\s*option .*\n)*"
    r"\s*subvolumes +(?P<child>\S+)\s*\nend-volume$",
    re.MULTILINE,
)


class Shards:
    """The pieces of one file; for reading where nobody writes."""

    def __init__(self, pieces: Volume, path: str, gfid: bytes, size: int) -> None:
        #: Bytes of a piece; the last one may have fewer, and each may end early.
        self.size = size
        self._pieces = pieces
        self._path = path
        self._prefix = "%s/%s." % (_DIRECTORY, uuid.UUID(bytes=gfid))

    def open(self, number: int) -> File | None:
        """A piece, None if there is none."""
        if number == 0:
            return self._pieces.open(self._path)
        try:
            return self._pieces.open("%s%d" % (self._prefix, number))
        except FileNotFoundError:
            return None

    def times(self, count: int) -> dict[int, float]:
        """When each of the first `count` pieces was last written, of those that are there."""
        found = {0: self._pieces.lstat(self._path).mtime}
        for number in range(1, count):
            with contextlib.suppress(FileNotFoundError):
                found[number] = self._pieces.lstat("%s%d" % (self._prefix, number)).mtime
        return found


def shards(volume: Volume, path: str) -> Shards | None:
    """The pieces of a file; None if it is not divided, or the volume does not shard.

    Connects a second time, without the volume's shard translator.
    """
    graph = without_shards(volume.volfile())
    if graph is None:
        return None
    pieces = Volume(pooled(volume.target._replace(graph=graph)))
    try:
        size = int.from_bytes(pieces.getxattr(path, _PIECE_SIZE), "big")
    except OSError as err:
        if err.errno == errno.ENODATA:  # it was made before the volume sharded
            return None
        raise
    return Shards(pieces, path, volume.gfid(path), size)


def without_shards(volfile: str) -> str | None:
    """A client's graph less its shard translator; None if it has none."""
    match = _TRANSLATOR.search(volfile)
    if match is None:
        return None
    above = re.compile(r"^(\s*subvolumes +)%s\s*$" % re.escape(match["name"]), re.MULTILINE)
    rest = volfile[: match.start()] + volfile[match.end() :]
    return above.sub(lambda line: line[1] + match["child"], rest) + "\n"
