"""The file of a point: its form, and how it is found (src/changed.c).

It is `/.ganeti-gluster/changed/INODE/POINT.ONCE` on the image's volume.  INODE is the image's, so
the points follow an image that is renamed, and another image at its path has none.  ONCE is used
once, because clients remember for a while what a name was.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # as in ganeti_gluster.core.volume
    from ganeti_gluster.tools.gfapi import Volume

TOP = "/.ganeti-gluster"
DIRECTORY = TOP + "/changed"
#: Points of an image at one time; each makes the server record more.
MOST_POINTS = 8
#: Bytes of the image for which there is a bit.
REGION = 64 << 20
PIECE = 64 << 10
#: Bytes of the largest image that can have points.
LARGEST = 64 << 40

_MAGIC = "ganeti-gluster-changed=2"
_BLOCK = 4096
_REGIONS_AT = _BLOCK
_PIECES_AT = 1 << 20
_MODE = 0o700

#: The image has been open since it was last settled, and perhaps was not closed.
OPEN = "open"
#: All that was changed until `since` is recorded.
CLOSED = "closed"
#: What has changed is not known.
LOST = "lost"


@dataclass(frozen=True)
class Head:
    """What a file says of its point.

    `since` is when `state` began, in seconds since the epoch; `size` the image's when the point
    began; `pieces` how many bytes of the pieces' bits are there; `why` the point is lost.
    """

    state: str
    since: float
    size: int
    pieces: int = 0
    why: str = ""

    def block(self) -> bytes:
        """As it is in the file."""
        lines = [
            _MAGIC,
            "state=%s" % self.state,
            "since=%.6f" % self.since,
            "size=%d" % self.size,
            "pieces=%d" % self.pieces,
            "why=%s" % self.why,
        ]
        return ("\n".join(lines) + "\n").encode().ljust(_BLOCK, b"\0")


def parse(block: bytes) -> Head:
    """What a head says; one that is damaged says that the point is lost."""
    lines = block.rstrip(b"\0").decode("utf-8", "replace").splitlines()
    values = dict(line.split("=", 1) for line in lines[1:] if "=" in line)
    try:
        if lines[0] != _MAGIC:
            raise ValueError(lines[0])
        return Head(
            values["state"],
            float(values["since"]),
            int(values["size"]),
            int(values["pieces"]),
            values["why"],
        )
    except (IndexError, KeyError, ValueError):
        return Head(LOST, 0.0, 0, 0, "its record is damaged")


def directory_of(inode: int) -> str:
    """Where the points of an image are."""
    return "%s/%016x" % (DIRECTORY, inode)


def records_in(volume: Volume, directory: str) -> list[Record]:
    """The points in a directory, in order."""
    try:
        entries = volume.scandir(directory)
    except FileNotFoundError:
        return []
    names = sorted(entry.name for entry in entries)
    return [Record(volume, directory, name) for name in names if not name.startswith(".")]


def new(volume: Volume, directory: str, point: str) -> Record:
    """A point that is to be made."""
    return Record(volume, directory, "%s.%x" % (point, time.time_ns() // 1000))


@dataclass(frozen=True)
class Record:
    """The file of one point."""

    volume: Volume
    directory: str
    name: str

    @property
    def point(self) -> str:
        """What its user calls it."""
        return self.name.partition(".")[0]

    @property
    def path(self) -> str:
        """The file on the volume."""
        return "%s/%s" % (self.directory, self.name)

    def head(self) -> Head | None:
        """What it says, None if there is none."""
        try:
            with self.volume.open(self.path, direct=True) as file:
                return parse(file.pread(_BLOCK, 0))
        except FileNotFoundError:
            return None

    def write(self, head: Head) -> None:
        """Have it say something else."""
        with self.volume.open(self.path, write=True, direct=True) as file:
            file.pwrite(head.block(), 0)
            file.fsync()

    def lose(self, head: Head, why: str, now: float) -> Head:
        """Say that what has changed is not known."""
        lost = replace(head, state=LOST, since=now, why=why)
        self.write(lost)
        return lost

    def make(self, head: Head) -> None:
        """Begin, with nothing changed."""
        for path in (TOP, DIRECTORY, self.directory):
            with contextlib.suppress(FileExistsError):
                self.volume.mkdir(path, mode=_MODE)
        partial = "%s/.%s" % (self.directory, self.name)
        pieces = _map_bytes(head.size, PIECE)
        with self.volume.create(partial) as file:
            file.pwrite(bytes(pieces), _PIECES_AT)
            file.pwrite(bytes(_map_bytes(head.size, REGION)), _REGIONS_AT)
            file.pwrite(replace(head, pieces=pieces).block(), 0)
            file.fsync()
        self.volume.rename(partial, self.path)

    def mark(self, regions: set[int], size: int) -> None:
        """Count regions of an image of `size` bytes as changed."""
        with self.volume.open(self.path, write=True, direct=True) as file:
            length = _map_bytes(size, REGION)
            bits = bytearray(file.pread(length, _REGIONS_AT).ljust(length, b"\0"))
            for region in regions:
                bits[region // 8] |= 1 << region % 8
            file.pwrite(bits, _REGIONS_AT)
            file.fsync()

    def bits(self, head: Head, size: int) -> bytearray:
        """The pieces' bits of an image of `size` bytes that nobody has open."""
        length = _map_bytes(size, PIECE)
        with self.volume.open(self.path, direct=True) as file:
            pieces = bytearray(file.pread(min(head.pieces, length), _PIECES_AT))
            regions = file.pread(_map_bytes(size, REGION), _REGIONS_AT)
        pieces.extend(bytes(length - len(pieces)))
        step = REGION // PIECE // 8
        for region in _set_bits(regions):
            pieces[region * step : (region + 1) * step] = b"\xff" * step
        return pieces

    def drop(self) -> None:
        """Remove it; no-op if it is not there."""
        head = self.head()
        if head is None:
            return
        # A brick that loses its power may bring the name back, which then tells this.
        self.write(replace(head, state=LOST, why="it was dropped"))
        self.volume.truncate(self.path, _BLOCK)
        with contextlib.suppress(FileNotFoundError):
            self.volume.unlink(self.path)


def forget(volume: Volume, inode: int) -> None:
    """Remove the points of an image that was removed."""
    directory = directory_of(inode)
    try:
        entries = volume.scandir(directory)
    except FileNotFoundError:
        return
    for entry in entries:
        with contextlib.suppress(FileNotFoundError):
            volume.truncate("%s/%s" % (directory, entry.name), 0)
            volume.unlink("%s/%s" % (directory, entry.name))
    with contextlib.suppress(FileNotFoundError):
        volume.rmdir(directory)


def grown(bits: bytearray, before: int, now: int) -> None:
    """Count what an image has grown by, from `before` to `now` bytes, as changed."""
    if now <= before:
        return
    first, end = before // PIECE, -(-now // PIECE)
    # By bytes where all bits are meant: each TiB has 16 million pieces.
    whole = range(-(-first // 8), end // 8)
    bits[whole.start : whole.stop] = b"\xff" * len(whole)
    for piece in range(first, min(end, whole.start * 8)):
        bits[piece // 8] |= 1 << piece % 8
    for piece in range(max(first, whole.stop * 8), end):
        bits[piece // 8] |= 1 << piece % 8


def ranges(bits: bytearray, size: int) -> Iterator[tuple[int, int]]:
    """Offset and length of what the pieces' bits count as changed, within `size`."""
    begin = end = 0
    for piece in _set_bits(bits):
        if piece * PIECE >= size:
            break
        if piece * PIECE != end:
            if end > begin:
                yield begin, end - begin
            begin = piece * PIECE
        end = min((piece + 1) * PIECE, size)
    if end > begin:
        yield begin, end - begin


def _set_bits(bits: bytes | bytearray) -> Iterator[int]:
    for place, byte in enumerate(bits):
        if byte:
            for bit in range(8):
                if byte >> bit & 1:
                    yield place * 8 + bit


def _map_bytes(size: int, unit: int) -> int:
    bits = -(-size // unit)
    return -(-bits // (_BLOCK * 8)) * _BLOCK
