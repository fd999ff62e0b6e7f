"""Finding what of a buffer has to be written: the parts that are not zeroes."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

from ganeti_gluster.core.copy.interface import PIECE, Extent

#: Bytes of zeroes that are worth a hole: fewer make a copy slower than sparser.
BLOCK = 32 << 10

# memcmp by ctypes: it lets other threads run meanwhile, as Python's `==` does not.
_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_memcmp.restype = ctypes.c_int
_ZEROES = ctypes.create_string_buffer(PIECE)


def data_runs(buffer: memoryview) -> Iterator[Extent]:
    """The runs of a writable buffer's blocks that are not all zeroes, as long as can be."""
    address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    length = len(buffer)
    if _is_zero(address, length):
        return
    start = None
    for offset in range(0, length, BLOCK):
        if _is_zero(address + offset, min(BLOCK, length - offset)):
            if start is not None:
                yield Extent(start, offset - start)
                start = None
        elif start is None:
            start = offset
    if start is not None:
        yield Extent(start, length - start)


def is_zero(buffer: memoryview) -> bool:
    """Whether a writable buffer holds zeroes only."""
    if not buffer:
        return True
    return _is_zero(ctypes.addressof(ctypes.c_char.from_buffer(buffer)), len(buffer))


def _is_zero(address: int, length: int) -> bool:
    while length > PIECE:
        if _memcmp(address, _ZEROES, PIECE):
            return False
        address, length = address + PIECE, length - PIECE
    return not _memcmp(address, _ZEROES, length)
