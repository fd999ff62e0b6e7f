"""Packs: many blobs in one file, of which each can be read, and removed, by itself.

A pack begins with a table of its blobs' lengths, which has a digest of its own.  A blob is called
by its number.  When it is removed, its length becomes 0 and the file is written again without it
(`without`), so all references to the others remain valid.
"""

from __future__ import annotations

import re
import struct
import sys
import threading
import uuid
from array import array
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from ganeti_gluster.core.backup import codec
from ganeti_gluster.core.backup.codec import DIGEST
from ganeti_gluster.core.backup.errors import Damaged
from ganeti_gluster.core.backup.store import BackupStore

#: The directory of all packs.
DIRECTORY = "packs"
#: Bytes and blobs after which a pack is full.
BYTES = 32 << 20
BLOBS = 4096
#: Bytes of a pack's id.
ID = 16

_MAGIC = b"ggpack01"
_HEAD = struct.Struct("<8sI")
_LENGTH = 4
# Bytes that are read between two blobs rather than asking twice.
_GAP = 64 << 10
# Tables that a reader keeps, of some 16 KiB at most.
_TABLES = 256
_NAME = re.compile(r"[0-9a-f]{%d}" % (2 * ID))
_DIRECTORY = re.compile(r"[0-9a-f]{2}")


class Place(NamedTuple):
    """A blob: its pack's id, and its number there."""

    pack: bytes
    number: int


def path(pack: bytes) -> str:
    """Where a pack is in the store."""
    name = pack.hex()
    return "%s/%s/%s" % (DIRECTORY, name[:2], name)


def find_all(store: BackupStore) -> dict[bytes, int]:
    """The bytes of each pack in the store."""
    found = {}
    for directory in _directories(store):
        for entry in store.entries(directory):
            if _NAME.fullmatch(entry.name) and directory.endswith("/" + entry.name[:2]):
                found[bytes.fromhex(entry.name)] = entry.size
    return found


def clear(store: BackupStore) -> list[str]:
    """Remove what writers of packs left that were killed."""
    return [name for each in _directories(store) for name in store.clear(each)]


def _directories(store: BackupStore) -> list[str]:
    names = sorted(entry.name for entry in store.entries(DIRECTORY))
    return ["%s/%s" % (DIRECTORY, name) for name in names if _DIRECTORY.fullmatch(name)]


def _file(blobs: Sequence[bytes]) -> bytes:
    """A pack of these blobs, of which removed ones are empty."""
    lengths = array("I", map(len, blobs))
    if sys.byteorder == "big":
        lengths.byteswap()
    head = _HEAD.pack(_MAGIC, len(blobs)) + lengths.tobytes()
    return b"".join((head, codec.digest(head), *blobs))


class PackTable:
    """Where the blobs of a pack are in its file; `head` are the bytes before the first."""

    def __init__(self, pack: bytes, lengths: Sequence[int], start: int) -> None:
        self.head = start
        self._pack = pack
        self._ends = array("Q", accumulate(lengths, initial=start))

    @classmethod
    def read(cls, store: BackupStore, pack: bytes) -> PackTable:
        """The table of a pack in the store; raises `Damaged`."""
        try:
            head = store.get(path(pack), 0, _HEAD.size + BLOBS * _LENGTH + DIGEST)
        except FileNotFoundError:
            raise Damaged("pack %s is missing" % pack.hex()) from None
        if len(head) < _HEAD.size:
            raise _no_table(pack)
        magic, count = _HEAD.unpack_from(head)
        end = _HEAD.size + count * _LENGTH
        if (
            magic != _MAGIC
            or count > BLOBS
            or head[end : end + DIGEST] != codec.digest(head[:end])
        ):
            raise _no_table(pack)
        lengths = array("I", head[_HEAD.size : end])
        if sys.byteorder == "big":
            lengths.byteswap()
        return cls(pack, lengths, end + DIGEST)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @property
    def size(self) -> int:
        """The bytes of the file."""
        return self._ends[-1]

    def span(self, number: int) -> tuple[int, int]:
        """Where a blob begins and ends; raises `Damaged` where there is none."""
        if number >= len(self) or self._ends[number] == self._ends[number + 1]:
            raise Damaged("pack %s has no blob %d" % (self._pack.hex(), number))
        return self._ends[number], self._ends[number + 1]

    def length(self, number: int) -> int:
        """The bytes of a blob, 0 of one that is removed or never was."""
        return self._ends[number + 1] - self._ends[number] if number < len(self) else 0


def _no_table(pack: bytes) -> Damaged:
    return Damaged("pack %s is not a pack, or its table is damaged" % pack.hex())


class Reader:
    """Reads blobs from a store, for several threads."""

    def __init__(self, store: BackupStore) -> None:
        self.store = store
        self._tables: OrderedDict[bytes, PackTable] = OrderedDict()
        self._lock = threading.Lock()

    def table(self, pack: bytes) -> PackTable:
        """The table of a pack."""
        with self._lock:
            table = self._tables.get(pack)
            if table is not None:
                self._tables.move_to_end(pack)
                return table
        table = PackTable.read(self.store, pack)
        with self._lock:
            self._tables[pack] = table
            while len(self._tables) > _TABLES:
                self._tables.popitem(last=False)
        return table

    def read(self, places: Iterable[Place]) -> dict[Place, bytes]:
        """These blobs, as they are stored, with few requests; raises `Damaged`."""
        found = {}
        by_pack: dict[bytes, set[int]] = {}
        for place in places:
            by_pack.setdefault(place.pack, set()).add(place.number)
        for pack, numbers in by_pack.items():
            table = self.table(pack)
            spans = sorted((*table.span(number), number) for number in numbers)
            for run in _runs(spans):
                start, end = run[0][0], run[-1][1]
                data = self._get(pack, start, end - start)
                for begin, stop, number in run:
                    found[Place(pack, number)] = data[begin - start : stop - start]
        return found

    def _get(self, pack: bytes, start: int, length: int) -> bytes:
        try:
            data = self.store.get(path(pack), start, length)
        except FileNotFoundError:
            raise Damaged("pack %s is missing" % pack.hex()) from None
        if len(data) != length:
            raise Damaged("pack %s is cut off" % pack.hex())
        return data


def _runs(spans: Sequence[tuple[int, int, int]]) -> Iterable[list[tuple[int, int, int]]]:
    """The spans of one pack in groups that are read at once."""
    run: list[tuple[int, int, int]] = []
    for span in spans:
        if run and span[0] > run[-1][1] + _GAP:
            yield run
            run = []
        run.append(span)
    if run:
        yield run


class Writer:
    """Collects blobs, and stores packs of them as they get full.  For several threads.

    `stored` are the bytes of the packs that are in the store.
    """

    def __init__(self, store: BackupStore, check: Callable[[], None]) -> None:
        self.stored = 0
        self._store = store
        self._check = check
        self._lock = threading.Lock()
        self._written: list[bytes] = []
        self._begin()

    def _begin(self) -> None:
        self._id, self._blobs, self._size = uuid.uuid4().bytes, list[bytes](), 0

    def add(self, blob: bytes) -> Place:
        """Store a blob, at the latest with `flush`; returns its place."""
        full = None
        with self._lock:
            place = Place(self._id, len(self._blobs))
            self._blobs.append(blob)
            self._size += len(blob)
            if self._size >= BYTES or len(self._blobs) == BLOBS:
                full = self._take()
        if full is not None:
            self._put(*full)
        return place

    def flush(self) -> None:
        """Store what is not stored yet."""
        with self._lock:
            full = self._take()
        if full[1]:
            self._put(*full)

    def take_back(self) -> None:
        """Remove all packs that were stored, of which no manifest tells."""
        for pack in self._written:
            self._store.delete(path(pack))

    def _take(self) -> tuple[bytes, list[bytes]]:
        taken = self._id, self._blobs
        self._written.append(self._id)
        self._begin()
        return taken

    def _put(self, pack: bytes, blobs: list[bytes]) -> None:
        self._check()
        data = _file(blobs)
        self._store.put(path(pack), data)
        with self._lock:
            self.stored += len(data)


def without(store: BackupStore, pack: bytes, kept: Collection[int]) -> int:
    """Write a pack again with only these blobs, or remove it; the bytes that this freed."""
    if not kept:
        entries = store.entries(path(pack).rpartition("/")[0])
        store.delete(path(pack))
        return sum(entry.size for entry in entries if entry.name == pack.hex())
    reader = Reader(store)
    table = reader.table(pack)
    blobs = reader.read(Place(pack, number) for number in kept)
    data = _file([blobs.get(Place(pack, number), b"") for number in range(len(table))])
    store.put(path(pack), data)
    return table.size - len(data)
