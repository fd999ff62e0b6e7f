"""What can be copied, and where to.

A source is something with a size that can be read at any place, or a stream that
is read from its beginning to its end.  Offsets and sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol, runtime_checkable

#: Bytes read and written at a time.  Pieces begin at multiples of it.
PIECE = 1 << 20
#: What follows the name of a new image or file until its copy is whole.
PARTIAL = ".partial"


class Extent(NamedTuple):
    """A range of a source that may hold something else than zeroes."""

    offset: int
    length: int


class Piece(NamedTuple):
    """A range to deal with; without `data` it is all zeroes, or nothing is to be done there."""

    offset: int
    length: int
    data: bool


class Source(Protocol):
    """The source of a copy; it must not change during the copy."""

    @property
    def name(self) -> str:
        """How messages call it."""

    @property
    def size(self) -> int:
        """All of its bytes."""

    def pread_into(self, buffer: memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; the bytes read, fewer only at the end.

        Called by several threads at once; `Options.threads` says by how many.
        """

    def extents(self) -> Iterable[Extent] | None:
        """The ranges that hold data, in order and without overlap; all else is zeroes.

        None if the source does not know: it is read as a whole, and zeroes
        are found by looking.  Iterated lazily, by one thread at a time.
        """


@runtime_checkable
class Interruptible(Protocol):
    """A source whose reads may wait for long."""

    def stop(self) -> None:
        """Have reads that wait, in other threads, return soon."""


@runtime_checkable
class Divided(Protocol):
    """A source that divides itself."""

    def pieces(self) -> Iterator[Piece]:
        """All of it in order, data in pieces of at most `PIECE`."""


@runtime_checkable
class WholePieces(Protocol):
    """A target that looks for zeroes by itself."""

    def take(self, offset: int, data: memoryview) -> None:
        """Deal with a piece that has data."""


@runtime_checkable
class Stream(Protocol):
    """What is read in order, once; its size is known at its end."""

    @property
    def name(self) -> str:
        """How messages call it."""

    @property
    def expected(self) -> int | None:
        """The bytes that have to come, None if any number may."""

    def read_into(self, buffer: memoryview) -> int:
        """Fill `buffer`; the bytes read, fewer only at the end.  One thread at a time."""

    def stop(self) -> None:
        """Have a read that waits, in another thread, return soon."""


class Target(Protocol):
    """Where a copy goes.

    Its life: `open`, then either `clone` or many `pwrite` and `zero`, by several
    threads at once, then `sync`, then `publish`; or `abort` at any point after
    `open` was called, which removes what the target made and nothing else.
    """

    @property
    def name(self) -> str:
        """How messages call it."""

    @property
    def zeroed(self) -> bool:
        """Whether all that is not written reads as zeroes; asked after `open`."""

    @property
    def ordered(self) -> bool:
        """Whether it takes its bytes in order only: a stream."""

    def open(self, size: int | None) -> None:
        """Make or open it for `size` bytes, None if that is not known yet."""

    def clone(self, source: Source | Stream) -> bool:
        """Take the whole content at once; False, with nothing done, where that cannot be."""

    def pwrite(self, data: memoryview, offset: int) -> None:
        """Write all of `data`."""

    def zero(self, offset: int, length: int) -> None:
        """Have a range read as zeroes; not called where `zeroed`."""

    def sync(self, size: int) -> None:
        """Have what was written on stable storage, as `size` bytes in all."""

    def written(self) -> Source | None:
        """What was written, for comparing; None if it cannot be read back."""

    def publish(self) -> None:
        """Give it its name; it is whole."""

    def abort(self) -> bool:
        """Remove what was made; whether nothing is left of the copy.

        False for what was there before and has a part of the copy now.  Raises
        `IncompleteImage` where what was made cannot be removed.
        """
