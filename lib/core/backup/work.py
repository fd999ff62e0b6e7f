"""The operations of a worker on backups: each completes, or the repository is as it was."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from ganeti_gluster.core import image
from ganeti_gluster.core.backup import places
from ganeti_gluster.core.backup.agent import Quiet
from ganeti_gluster.core.backup.errors import NoSuchBackup, RepositoryLockLost
from ganeti_gluster.core.backup.index import DiskIndex
from ganeti_gluster.core.backup.lock import Lock, locked
from ganeti_gluster.core.backup.manifest import FORMAT, DiskBackup, Manifest, Root
from ganeti_gluster.core.backup.pack import Reader, Writer
from ganeti_gluster.core.backup.points import Points
from ganeti_gluster.core.backup.repository import Repository
from ganeti_gluster.core.backup.source import BackupSource
from ganeti_gluster.core.backup.writer import ChangedSource, DiskWriter
from ganeti_gluster.core.changed.points import Changes
from ganeti_gluster.core.copy import Source, copy
from ganeti_gluster.core.copy.images import NewImage
from ganeti_gluster.core.snapshot import work
from ganeti_gluster.core.snapshot.replace import Replacement, replace_all
from ganeti_gluster.core.snapshot.request import (
    BACK_UP,
    FILL,
    BackupRequest,
    DiskRequest,
    SnapshotRequest,
)
from ganeti_gluster.core.snapshot.work import Guests, Report
from ganeti_gluster.core.volume import connect
from ganeti_gluster.errors import GanetiGlusterError

#: Seconds that a backup waits for one who has the repository for himself.
WAIT_SECONDS = 600.0


def do(request: SnapshotRequest, guests: Guests, report: Report) -> dict[str, Any]:
    """Carry a request out and tell what came of it; raises a `GanetiGlusterError`."""
    assert request.backup is not None
    if request.operation == BACK_UP:
        return back_up(request, request.backup, guests, report)
    assert request.operation == FILL
    return fill(request, request.backup, guests, report)


def back_up(
    request: SnapshotRequest,
    asked: BackupRequest,
    guests: Guests,
    report: Report,
) -> dict[str, Any]:
    """Back up all disks of the request, as they are at one instant."""
    work.check_running(request, guests)
    what = "a backup of instance %s" % request.instance
    with places.store(asked.repository) as store:
        repository = Repository(store)
        mark = repository.check()
        with locked(store, what, wait=WAIT_SECONDS) as lock:
            repository.check_free(request.instance, request.name)
            previous = None if asked.full else _previous(repository, request, asked)
            packs = Writer(store, lock.check)
            kept = Points(request, mark.id, previous)
            try:
                run = _BackupRun(packs, Reader(store), previous, kept)
                backup = _write(request, asked, guests, report, run)
                lock.check()
            except BaseException:
                # What stays is of no backup, and goes with the next `prune`.
                with contextlib.suppress(OSError, GanetiGlusterError):
                    packs.take_back()
                kept.take_back()
                raise
            # From here on there may be a manifest, whatever is raised.
            repository.publish(backup)
            _check_still_locked(lock, repository, backup)
            kept.finish()
    return {
        "name": backup.name,
        "taken": backup.taken,
        "disks": [disk.index for disk in backup.disks],
        "live": backup.live,
        "frozen": backup.frozen,
        "size": backup.size,
        "data": backup.data,
        "new": backup.new,
        "read": sum(disk.read for disk in backup.disks),
        "stored": backup.stored,
        "previous": backup.previous,
    }


def _check_still_locked(lock: Lock, repository: Repository, backup: Manifest) -> None:
    """Take a manifest back that took so long to store that its packs may have been removed."""
    try:
        lock.check()
    except RepositoryLockLost:
        repository.remove(backup.instance, backup.name)
        raise


class _BackupRun(NamedTuple):
    """What a backup is written by, and compared with."""

    packs: Writer
    reader: Reader
    previous: Manifest | None
    points: Points


def _write(
    request: SnapshotRequest, asked: BackupRequest, guests: Guests, report: Report, run: _BackupRun
) -> Manifest:
    quiet = Quiet(guests.agent(request.instance) if asked.freeze and request.running else None)
    disks = []
    if request.running:
        run.points.begin()
    with (
        connect(request.disks_volume) as volume,
        work.sources(request, guests, volume, quiet=quiet) as instant,
    ):
        if not request.running:
            run.points.begin()
        if asked.freeze and request.running and not quiet.frozen:
            report.message("File systems are not frozen: %s" % quiet.why)
        for disk, source in instant.sources:
            report.message("Backing up disk/%d" % disk.index)
            disks.append(_disk(request, disk, source, report, run))
        instant.confirm()
    run.packs.flush()
    return Manifest(
        format=FORMAT,
        instance=request.instance,
        instance_uuid=request.instance_uuid,
        cluster=asked.cluster,
        name=request.name,
        taken=instant.taken,
        finished=time.time(),
        live=request.running,
        frozen=quiet.frozen,
        previous=run.previous.name if run.previous else "",
        stored=run.packs.stored,
        disks=tuple(disks),
        configuration=asked.configuration,
    )


def _disk(
    request: SnapshotRequest, disk: DiskRequest, source: Source, report: Report, run: _BackupRun
) -> DiskBackup:
    before, why = _before(run.previous, disk, source.size)
    changes = Changes(None, why)
    if before is not None and not why:
        changes = run.points.changed_since(disk, before)
    known = None
    if before is not None:
        root = before.root.reference if before.root else None
        known = DiskIndex(run.reader, before.size, root)
    read, unchanged = source, None
    if before is not None and changes.extents is not None:
        read, unchanged = ChangedSource(source, changes.extents), before.data
    writer = DiskWriter("disk/%d" % disk.index, run.packs, known, unchanged=unchanged)
    result = copy(read, writer, work.options(request, source, disk.index, report))
    return DiskBackup(
        index=disk.index,
        uuid=disk.uuid,
        size=source.size,
        root=Root.of(writer.root) if writer.root else None,
        data=writer.data,
        new=writer.new,
        read=result.data,
        point=run.points.of(disk),
        full=changes.reason if changes.extents is None else "",
    )


def _before(
    previous: Manifest | None, disk: DiskRequest, size: int
) -> tuple[DiskBackup | None, str]:
    """The disk in the previous backup, and why nothing is known of what changed since, if so.

    A disk that was created again is compared with the one that had its place.
    """
    if previous is None:
        return None, "there is no earlier backup to go on from"
    before = next((each for each in previous.disks if each.uuid == disk.uuid), None)
    why = "" if before is not None else "the disk is not in backup %s" % previous.name
    if before is None:
        before = previous.disk(disk.index)
    if before is not None and before.size != size:
        return None, why or "its size has changed since backup %s" % previous.name
    return before, why


def _previous(
    repository: Repository, request: SnapshotRequest, asked: BackupRequest
) -> Manifest | None:
    """The last backup of the instance, or of the one that had its name in this cluster before."""
    same = [
        backup
        for backup in repository.listing([request.instance]).backups
        if backup.cluster == asked.cluster
    ]
    own = [backup for backup in same if backup.instance_uuid == request.instance_uuid]
    found = own or same
    return found[-1] if found else None


def fill(
    request: SnapshotRequest, asked: BackupRequest, guests: Guests, report: Report
) -> dict[str, Any]:
    """Give the disks of a stopped instance the content that they have in a backup."""
    work.check_running(request, guests)
    with places.store(asked.repository) as store:
        repository = Repository(store)
        repository.check()
        what = "a restore of instance %s" % request.instance
        with locked(store, what, wait=WAIT_SECONDS) as lock:
            backup = repository.read(asked.instance, request.name)
            pairs = [
                (disk, _disk_of(backup, number))
                for disk, number in zip(request.disks, asked.sources, strict=True)
            ]
            _fill(request, guests, report, backup, pairs, Reader(store), lock)
    return {"name": request.name, "disks": [disk.index for disk, _ in pairs]}


def _fill(
    request: SnapshotRequest,
    guests: Guests,
    report: Report,
    backup: Manifest,
    pairs: Sequence[tuple[DiskRequest, DiskBackup]],
    reader: Reader,
    lock: Lock,
) -> None:
    with connect(request.disks_volume) as target, contextlib.ExitStack() as stack:
        for disk, found in pairs:
            work.check_size(target, disk, found.size, "backup")
        # Whoever starts the instance meanwhile, here or elsewhere, is refused.
        locks = [stack.enter_context(work.closed(target, disk, guests)) for disk, _ in pairs]
        image.check_free_space(target, sum(found.data for _, found in pairs))
        replacements = [
            Replacement(target, disk.path, held)
            for (disk, _), held in zip(pairs, locks, strict=True)
        ]
        try:
            for (disk, found), each in zip(pairs, replacements, strict=True):
                report.message("Restoring disk/%d" % disk.index)
                each.clear(guests.node)
                source = BackupSource(reader, backup, found)
                new = NewImage(target, each.restored)
                copy(source, new, work.options(request, source, disk.index, report))
                each.made = new.made
            lock.check()
        except BaseException as err:
            work.take_back(target, work.restored(replacements), err, node=guests.node)
            raise
        replace_all(replacements, guests.node)


def _disk_of(backup: Manifest, number: int) -> DiskBackup:
    disk = backup.disk(number)
    if disk is None:
        raise NoSuchBackup("backup %s has no disk/%d" % (backup.name, number))
    return disk
