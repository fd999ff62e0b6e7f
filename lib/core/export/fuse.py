"""The part of the kernel's FUSE protocol that a mount of one regular file needs.

Pure: converts bytes to requests and answers to bytes, with the layouts of linux/fuse.h, protocol
7.31 (Linux 5.4).  Numbers are in the machine's own byte order.
"""

from __future__ import annotations

import errno
import mmap
import stat
import struct
from dataclasses import dataclass

RequestBuffer = bytearray | mmap.mmap

#: The protocol's version that is spoken; a newer kernel speaks it as well.
MAJOR, MINOR = 7, 31

# What the kernel asks.
LOOKUP, FORGET, GETATTR = 1, 2, 3
OPEN, READ, WRITE, STATFS, RELEASE = 14, 15, 16, 17, 18
FSYNC, GETXATTR, LISTXATTR, FLUSH, INIT = 20, 22, 23, 25, 26
ACCESS, INTERRUPT, DESTROY, BATCH_FORGET, FALLOCATE = 34, 36, 38, 42, 43
#: Questions that have no answer.
SILENT = frozenset((FORGET, BATCH_FORGET, INTERRUPT))

#: Bytes of a read or a write at most.
MAX_DATA = 1 << 20
#: Requests that the kernel has under way at most, beside those that processes wait for.
MAX_BACKGROUND = 12

_PAGE = 4096
_FUSE_ASYNC_READ = 1 << 0
_FUSE_BIG_WRITES = 1 << 5
_FUSE_ASYNC_DIO = 1 << 15
_FUSE_MAX_PAGES = 1 << 22
_WANTED = _FUSE_ASYNC_READ | _FUSE_BIG_WRITES | _FUSE_ASYNC_DIO | _FUSE_MAX_PAGES
_FOPEN_DIRECT_IO = 1 << 0
_FOPEN_PARALLEL_DIRECT_WRITES = 1 << 6
FALLOC_FL_KEEP_SIZE = 1
FALLOC_FL_PUNCH_HOLE = 2
FALLOC_FL_ZERO_RANGE = 16

_IN = struct.Struct("=IIQQIIIHH")
_OUT = struct.Struct("=IiQ")
_INIT_IN = struct.Struct("=IIII")
_INIT_OUT = struct.Struct("=IIIIHHIIHH32x")
_RANGE_IN = struct.Struct("=QQI")
_FALLOCATE_IN = struct.Struct("=QQQI")
_OPEN_OUT = struct.Struct("=QIi")
_WRITE_OUT = struct.Struct("=II")
_ATTR_OUT = struct.Struct("=QII6Q10I")
_STATFS_OUT = struct.Struct("=5Q10I")

#: Where a write's data begins in what the kernel sent.
WRITE_DATA = _IN.size + 40
#: Room for every request.
REQUEST_SIZE = WRITE_DATA + MAX_DATA
#: The one file, which is the root of its mount.
ROOT = 1


@dataclass(frozen=True)
class FuseRequest:
    """A request's head: what is asked, under which number, and of which length."""

    opcode: int
    unique: int
    length: int


def request(buffer: RequestBuffer) -> FuseRequest:
    """The head of what the kernel sent."""
    length, opcode, unique, *_ = _IN.unpack_from(buffer)
    return FuseRequest(opcode, unique, length)


def range_of(buffer: RequestBuffer) -> tuple[int, int]:
    """Offset and size of a READ or WRITE."""
    _, offset, size = _RANGE_IN.unpack_from(buffer, _IN.size)
    return offset, size


def allocation(buffer: RequestBuffer) -> tuple[int, int, int]:
    """Mode, offset and length of a FALLOCATE."""
    _, offset, length, mode = _FALLOCATE_IN.unpack_from(buffer, _IN.size)
    return mode, offset, length


def answer(unique: int, body: bytes = b"") -> bytes:
    """An answer to a request that succeeded."""
    return _OUT.pack(_OUT.size + len(body), 0, unique) + body


def failure(unique: int, code: int) -> bytes:
    """An answer to a request that failed with an errno."""
    return _OUT.pack(_OUT.size, -code, unique)


def read_head(unique: int, size: int) -> bytes:
    """The head of a READ's answer, which `size` bytes follow."""
    return _OUT.pack(_OUT.size + size, 0, unique)


def init(unique: int, buffer: RequestBuffer) -> bytes:
    """The answer to INIT; raises EPROTO if the kernel is older than this protocol."""
    major, minor, readahead, flags = _INIT_IN.unpack_from(buffer, _IN.size)
    if (major, minor) < (MAJOR, MINOR):
        raise OSError(errno.EPROTO, "the kernel speaks FUSE %d.%d only" % (major, minor))
    return answer(
        unique,
        _INIT_OUT.pack(
            *(MAJOR, MINOR, readahead, flags & _WANTED),
            *(MAX_BACKGROUND, MAX_BACKGROUND * 3 // 4),
            *(MAX_DATA, 1, MAX_DATA // _PAGE, 0),
        ),
    )


def opened(unique: int) -> bytes:
    """The answer to OPEN: the kernel keeps no copy of what is read or written."""
    flags = _FOPEN_DIRECT_IO | _FOPEN_PARALLEL_DIRECT_WRITES
    return answer(unique, _OPEN_OUT.pack(0, flags, 0))


def written(unique: int, size: int) -> bytes:
    """The answer to WRITE."""
    return answer(unique, _WRITE_OUT.pack(size, 0))


def attributes(unique: int, size: int) -> bytes:
    """The answer to GETATTR; the kernel is not to remember it.  There are no times."""
    # how long it is valid, then inode … ctime, then their nanoseconds, mode, links,
    # owner, device, block size, flags
    return answer(
        unique,
        _ATTR_OUT.pack(
            *(0, 0, 0),
            *(ROOT, size, 0, 0, 0, 0),
            *(0, 0, 0, stat.S_IFREG | 0o600, 1, 0, 0, 0, _PAGE, 0),
        ),
    )


def statfs(unique: int) -> bytes:
    """The answer to STATFS, with no figures for the space."""
    return answer(unique, _STATFS_OUT.pack(0, 0, 0, 0, 0, _PAGE, 255, _PAGE, *(0,) * 7))
