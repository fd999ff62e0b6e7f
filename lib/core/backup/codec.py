"""Blobs: digests of what they hold, and their compressed form.

The first byte tells how the rest is stored.  What is unpacked has a size that is known or bounded
by the reader, so that no blob can make it use memory without end.
"""

from __future__ import annotations

import hashlib
import threading
from typing import Any

from ganeti_gluster.core.backup.errors import Damaged

#: Bytes of a disk that are stored together.
PIECE = 64 << 10
#: Bytes of a digest.
DIGEST = 16

_PLAIN, _ZSTD = b"\0", b"\1"
# zstd's own default: on what disks hold, more takes time and gains little.
_LEVEL = 3

Data = bytes | bytearray | memoryview

_mine = threading.local()


def digest(data: Data) -> bytes:
    """The digest of what a blob holds."""
    return hashlib.blake2b(data, digest_size=DIGEST).digest()


def pack(data: Data) -> bytes:
    """A blob that holds `data`."""
    compressed: bytes = _tools()[0].compress(data)
    return _ZSTD + compressed if len(compressed) < len(data) else _PLAIN + bytes(data)


def unpack(blob: bytes, most: int) -> bytes:
    """What a blob holds, `most` bytes or fewer; raises `Damaged`."""
    import zstandard

    kind, body = blob[:1], blob[1:]
    if kind == _PLAIN:
        if len(body) > most:
            raise Damaged("a blob is longer than it may be")
        return body
    if kind != _ZSTD:
        raise Damaged("a blob has an unknown form")
    try:
        # What the frame says of its size is what the library would allocate.
        if not 0 <= zstandard.frame_content_size(body) <= most:
            raise Damaged("a blob is longer than it may be")
        data: bytes = _tools()[1].decompress(body)
    except zstandard.ZstdError as err:
        raise Damaged("a blob cannot be unpacked: %s" % err) from err
    return data


def _tools() -> tuple[Any, Any]:
    """A compressor and a decompressor of this thread, which cannot share them."""
    tools: tuple[Any, Any] | None = getattr(_mine, "tools", None)
    if tools is None:
        import zstandard  # late: only the work on a backup needs it

        tools = zstandard.ZstdCompressor(level=_LEVEL), zstandard.ZstdDecompressor()
        _mine.tools = tools
    return tools
