"""Removing what no backup refers to, without reading the data of those that stay.

Only indices are read.  The caller has the repository alone, so nobody refers to more meanwhile.
Each pack is removed or written again as a whole: wherever this ends, all backups are whole, and
the next run goes on.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ganeti_gluster.core.backup import manifest, pack
from ganeti_gluster.core.backup.errors import Damaged
from ganeti_gluster.core.backup.index import DiskIndex
from ganeti_gluster.core.backup.lock import Lock
from ganeti_gluster.core.backup.manifest import DiskBackup
from ganeti_gluster.core.backup.pack import PackTable, Place, Reader
from ganeti_gluster.core.backup.repository import Repository

#: The part of a pack that may be of no use before it is written again.
WASTE = 0.25


@dataclass
class Pruned:
    """What was done: packs, and bytes of them; `wasted` are those that stay for now."""

    removed: int = 0
    rewritten: int = 0
    freed: int = 0
    wasted: int = 0
    used: int = 0


class _Used:
    """Which blobs of which packs are used: a bit for each, since there are millions."""

    def __init__(self) -> None:
        self._bits: dict[bytes, bytearray] = {}
        self._seen: set[Place] = set()

    def add(self, place: Place) -> None:
        bits = self._bits.setdefault(place.pack, bytearray(pack.BLOBS // 8))
        bits[place.number // 8] |= 1 << place.number % 8

    def add_part(self, place: Place) -> bool:
        """As `add` for a part of an index; whether it is new."""
        if place in self._seen:
            return False
        self._seen.add(place)
        self.add(place)
        return True

    def of(self, which: bytes) -> list[int]:
        bits = self._bits.get(which, b"")
        return [n for n in range(len(bits) * 8) if bits[n // 8] >> n % 8 & 1]


def prune(
    repository: Repository,
    lock: Lock,
    *,
    gone: Collection[tuple[str, str]] = (),
    dry_run: bool = False,
) -> Pruned:
    """Remove it, or tell what would be; `lock` is that of one who is alone.

    Backups that are `gone`, by instance and name, do not count even if they are still there.

    Raises `Damaged`, with nothing removed, where it cannot be told what a backup refers to.
    """
    store = repository.store
    used = _mark(repository, Reader(store), gone)
    result = Pruned()
    for which, size in sorted(pack.find_all(store).items()):
        kept = used.of(which)
        table = PackTable.read(store, which) if kept else None
        live = sum(map(table.length, kept)) if table is not None else 0
        waste = size - live - table.head if table is not None else size
        result.used += live
        if table is not None and waste <= WASTE * size:
            result.wasted += waste
            continue
        result.freed += waste
        result.removed += table is None
        result.rewritten += table is not None
        if not dry_run:
            lock.check()
            pack.without(store, which, kept)
    if not dry_run:
        pack.clear(store)
        store.clear(manifest.DIRECTORY)
        for instance in repository.instances():
            store.clear(manifest.directory(instance))
    return result


def _mark(repository: Repository, reader: Reader, gone: Collection[tuple[str, str]]) -> _Used:
    used = _Used()
    for instance, name in repository.each():
        if (instance, name) in gone:
            continue
        try:
            backup = repository.read(instance, name)
            for disk in backup.disks:
                _mark_disk(used, reader, disk)
        except Damaged as err:
            raise Damaged(
                "backup %s of %s cannot be read, so nothing was removed: %s"
                % (name, instance, err.message),
                hint="remove this backup with gnt-gluster backup remove and try again",
            ) from err
    return used


def _mark_disk(used: _Used, reader: Reader, disk: DiskBackup) -> None:
    if disk.root is None:
        return
    root = disk.root.reference
    if not used.add_part(root.place):
        return
    index = DiskIndex(reader, disk.size, root)
    for number, reference in enumerate(index.parts):
        if reference is None or not used.add_part(reference.place):
            continue
        for piece in index.segment(number):
            if piece is not None:
                used.add(piece.place)
