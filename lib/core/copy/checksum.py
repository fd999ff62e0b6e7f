"""A checksum of a disk's content that threads can compute in any order.

Each piece that is not all zeroes gives a BLAKE2 digest of its offset and bytes; the sum of these
numbers is the checksum.  It needs the same memory for any size, and treats holes, zeroes and
preallocated blocks alike.  It detects damage by the storage; it is not a signature.
"""

from __future__ import annotations

import hashlib
import threading

_BYTES = 32


class Checksum:
    """The sum so far; safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sum = 0

    def add(self, offset: int, data: memoryview) -> None:
        """Take in a piece; it begins at a multiple of `PIECE` and is not all zeroes."""
        digest = hashlib.blake2b(data, digest_size=_BYTES, salt=offset.to_bytes(16, "big"))
        number = int.from_bytes(digest.digest(), "big")
        with self._lock:
            self._sum = (self._sum + number) % (1 << 8 * _BYTES)

    def hexdigest(self) -> str:
        """The checksum as text."""
        return self._sum.to_bytes(_BYTES, "big").hex()
