"""Reading backups, to see whether all that they refer to is there and is what was written.

A piece that several backups have is read once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ganeti_gluster.core.backup import codec, index
from ganeti_gluster.core.backup.codec import PIECE
from ganeti_gluster.core.backup.errors import Damaged
from ganeti_gluster.core.backup.index import PIECES, DiskIndex, IndexPart, Reference
from ganeti_gluster.core.backup.manifest import Manifest
from ganeti_gluster.core.backup.pack import Reader
from ganeti_gluster.core.backup.repository import Repository
from ganeti_gluster.core.copy.progress import VERIFYING, Callback, Meter, Pace

# Pieces that are read at a time, and by how many threads.
_GROUP, _THREADS = 16, 4


@dataclass
class Result:
    """What came of it: `read` bytes of disks, `problems` in words, `broken` backups."""

    read: int = 0
    problems: list[str] = field(default_factory=list)
    broken: set[tuple[str, str]] = field(default_factory=set)


def check(
    repository: Repository,
    backups: Sequence[Manifest],
    limit: int | None = None,
    progress: Callback | None = None,
) -> Result:
    """Read all of these backups, at most `limit` bytes a second."""
    result = Result()
    reader = Reader(repository.store)
    pace, meter = Pace(limit), Meter(VERIFYING, sum(backup.data for backup in backups))
    # By the reference of a segment: what is wrong with it, "" if nothing.
    known: dict[tuple[Reference, int], str] = {}
    done = 0
    with ThreadPoolExecutor(_THREADS) as threads:
        for backup in backups:
            for disk in backup.disks:
                root = disk.root.reference if disk.root else None
                looked = DiskIndex(reader, disk.size, root)
                try:
                    parts = looked.parts
                except Damaged as err:
                    _note(result, backup, disk.index, err.message)
                    continue
                for number, reference in enumerate(parts):
                    if reference is None:
                        continue
                    key = reference, index.pieces_in(disk.size, number)
                    if key not in known:
                        work = _Segment(looked, number, pace)
                        known[key] = work.check(threads)
                        result.read += work.read
                        done += work.read
                    if known[key]:
                        _note(result, backup, disk.index, known[key])
                    if progress is not None:
                        progress(meter.measure(done, done))
    return result


def _note(result: Result, backup: Manifest, disk: int, why: str) -> None:
    """Each backup is named once for a disk: one damaged pack concerns many of its segments."""
    key = backup.instance, backup.name
    text = "disk/%d in backup %s of %s: %s" % (disk, backup.name, backup.instance, why)
    result.broken.add(key)
    if text not in result.problems:
        result.problems.append(text)


class _Segment:
    def __init__(self, disk: DiskIndex, number: int, pace: Pace) -> None:
        self.read = 0
        self._disk = disk
        self._number = number
        self._pace = pace
        self._lock = threading.Lock()

    def check(self, threads: ThreadPoolExecutor) -> str:
        """What is wrong with it, "" if nothing."""
        try:
            part = self._disk.segment(self._number)
        except Damaged as err:
            return err.message
        starts = range(0, len(part), _GROUP)
        return next(filter(None, threads.map(lambda start: self._look(part, start), starts)), "")

    def _look(self, part: IndexPart, start: int) -> str:
        group = list(enumerate(part[start : start + _GROUP], start))
        references: Iterable[Reference] = (each for _, each in group if each is not None)
        try:
            blobs = self._disk.reader.read(each.place for each in references)
            for i, reference in group:
                if reference is not None:
                    self._compare(i, reference, blobs[reference.place])
        except Damaged as err:
            return err.message
        return ""

    def _compare(self, i: int, reference: Reference, blob: bytes) -> None:
        piece = self._number * PIECES + i
        length = index.length_of(self._disk.size, piece)
        time.sleep(self._pace.delay(len(blob)))
        data = codec.unpack(blob, length)
        if len(data) != length or codec.digest(data) != reference.digest:
            raise Damaged(
                "it is damaged at byte %d (blob %d of pack %s)"
                % (piece * PIECE, reference.place.number, reference.place.pack.hex())
            )
        with self._lock:
            self.read += length
