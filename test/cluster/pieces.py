"""An image as one brick has it, read from this machine, past GlusterFS."""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator

from testbedlib import layout
from testbedlib.node import Node

#: Bytes of a piece of a sharded image, features.shard-block-size of the testbed's volume.
PIECE = 64 << 20
_CHUNK = 1 << 16


class Pieces:
    """The files on a node's brick that an image is made of; the first has the image's name."""

    def __init__(self, node: Node, image: str, volume: str = layout.VOLUME) -> None:
        self.mount = node.inside(layout.BRICK_MOUNT)
        self._brick = os.path.join(self.mount, volume)
        self._first = os.path.join(self._brick, image)

    def path(self, number: int) -> str:
        """The file of a piece, which need not be there."""
        if number == 0:
            return self._first
        gfid = uuid.UUID(bytes=os.getxattr(self._first, "trusted.gfid"))
        return os.path.join(self._brick, ".shard", "%s.%d" % (gfid, number))

    def read(self, size: int, offset: int) -> bytes:
        """Bytes of the image; what is a hole or beyond the end reads as zeroes."""
        found = b""
        while len(found) < size:
            number, start = divmod(offset + len(found), PIECE)
            wanted = min(size - len(found), PIECE - start)
            part = b""
            with contextlib.suppress(FileNotFoundError), open(self.path(number), "rb") as file:
                part = os.pread(file.fileno(), wanted, start)
            found += part.ljust(wanted, b"\0")
        return found

    def digest(self, size: int) -> str:
        """A sum of the image's bytes, in which holes and zeroes are the same."""
        whole = hashlib.sha256()
        for offset, block in self._blocks(size):
            whole.update(b"%d:" % offset + block)
        return whole.hexdigest()

    def _blocks(self, size: int) -> Iterator[tuple[int, bytes]]:
        nothing = bytes(_CHUNK)
        for number in range(-(-size // PIECE)):
            with contextlib.suppress(FileNotFoundError), open(self.path(number), "rb") as file:
                for start in range(0, min(PIECE, size - number * PIECE), _CHUNK):
                    block = os.pread(file.fileno(), _CHUNK, start).ljust(_CHUNK, b"\0")
                    if block != nothing:
                        yield number * PIECE + start, block
