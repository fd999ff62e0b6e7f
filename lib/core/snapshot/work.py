"""The operations on snapshots: each completes, or nothing of it remains."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Protocol

from ganeti_gluster import constants, errors
from ganeti_gluster.core import image
from ganeti_gluster.core.at_rest import NotAtRest, at_rest
from ganeti_gluster.core.copy import Options, Progress, Source, copy
from ganeti_gluster.core.copy.images import ImageSource, NewImage, remove_stale
from ganeti_gluster.core.serve import hold
from ganeti_gluster.core.serve.hold import Hold, locked
from ganeti_gluster.core.serve.holder import OpenElsewhere
from ganeti_gluster.core.snapshot import catalogue, live, service
from ganeti_gluster.core.snapshot.catalogue import About
from ganeti_gluster.core.snapshot.nbd import NbdSource
from ganeti_gluster.core.snapshot.replace import Replacement, replace_all
from ganeti_gluster.core.snapshot.request import (
    CLONE,
    COPY,
    REMOVE,
    RESTORE,
    TAKE,
    DiskRequest,
    SnapshotRequest,
)
from ganeti_gluster.core.volume import connect
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import names
from ganeti_gluster.tools.gfapi import Volume

#: Pieces that are read from a running guest's QEMU at a time: it reads them for
#: us in the thread that serves its guest.
LIVE_THREADS = 4


class NotNow(GanetiGlusterError):
    """The instance is not in the state that the operation needs; nothing was changed."""


class SizeMismatch(GanetiGlusterError):
    """A snapshot's image and the disk differ in size; nothing was changed."""


class Guests(Protocol):
    """The virtual machines on this node, which is `node` in Ganeti."""

    @property
    def node(self) -> str:
        """Ganeti's name of this node."""

    def is_running(self, instance: str) -> bool:
        """Whether a QEMU runs for the instance here."""

    def agent(self, instance: str) -> str | None:
        """The socket of the guest's agent, None if Ganeti has given the guest none."""

    def identities(self, instance: str) -> Mapping[str, str]:
        """Ganeti's id in QEMU of each disk of a running instance, by the disk's UUID."""

    def connect(self, instance: str) -> live.Connect:
        """How to reach the monitor of a running instance."""


class Report(Protocol):
    """Receives the progress."""

    def message(self, text: str) -> None:
        """Something was begun."""

    def progress(self, disk: int, progress: Progress) -> None:
        """How far the copy of a disk is; may raise, which ends and undoes the operation."""


def do(request: SnapshotRequest, guests: Guests, report: Report) -> dict[str, Any]:
    """Carry out a request and return its result; raises a `GanetiGlusterError`."""
    return _OPERATIONS[request.operation](request, guests, report)


def _take(request: SnapshotRequest, guests: Guests, report: Report) -> dict[str, Any]:
    disks, uuid, name = request.disks, request.instance_uuid, request.name
    check_running(request, guests)
    with connect(request.disks_volume) as volume, connect(request.snapshots_volume) as target:
        paths = _paths(request)
        catalogue.check_free(target, uuid, paths, name)
        _check_space(volume, disks, target)
        made: dict[str, int | None] = {}
        try:
            with sources(request, guests, volume) as instant:
                for disk, source in instant.sources:
                    report.message("Copying disk/%d" % disk.index)
                    where = names.snapshot_path(disk.path, name)
                    new = NewImage(target, where)
                    _copy(request, source, new, disk.index, report)
                    made[where] = new.made
                instant.confirm()
            taken = instant.taken
            about = About(
                instance=request.instance,
                name=name,
                taken=taken,
                disks=tuple(disk.index for disk in disks),
                live=request.running,
                rotated=request.keep is not None,
            )
            catalogue.complete(target, paths, about)
        except BaseException as err:
            take_back(target, made, err, node=guests.node)
            raise
        removed = _rotate(request, guests, target, report)
        snapshot = catalogue.find(target, uuid, paths, name)
    return {
        "name": name,
        "taken": taken,
        "allocated": snapshot.allocated,
        "disks": [disk.index for disk in disks],
        "live": request.running,
        "removed": removed,
    }


def _paths(request: SnapshotRequest) -> dict[int, str]:
    return {disk.index: disk.path for disk in request.disks}


def _copy_disk(request: SnapshotRequest, guests: Guests, report: Report) -> dict[str, Any]:
    """Copy the one disk of the request to a new image beside it."""
    check_running(request, guests)
    (disk,) = request.disks
    with connect(request.disks_volume) as volume:
        _check_space(volume, request.disks, volume)
        with sources(request, guests, volume) as instant:
            for _, source in instant.sources:
                _copy(
                    request,
                    source,
                    NewImage(volume, request.target),
                    disk.index,
                    report,
                    confirm=instant.confirm,
                )
    return {"taken": instant.taken}


def _clone(request: SnapshotRequest, guests: Guests, report: Report) -> dict[str, Any]:
    (disk,) = request.disks
    with connect(request.snapshots_volume) as source, connect(request.disks_volume) as target:
        snapshot = catalogue.find_complete(
            source, request.instance_uuid, _paths(request), request.name
        )
        info = _image_of(snapshot, disk.index)
        image.check_free_space(target, info.allocated)
        with _kept(source, info.path, guests) as kept, ImageSource(source, info.path) as opened:
            new = NewImage(target, request.target)
            _copy(request, opened, new, disk.index, report, confirm=kept.check)
    return {"path": request.target, "size": info.size}


def _restore(request: SnapshotRequest, guests: Guests, report: Report) -> dict[str, Any]:
    check_running(request, guests)
    with (
        connect(request.snapshots_volume) as source,
        connect(request.disks_volume) as target,
        contextlib.ExitStack() as stack,
    ):
        snapshot = catalogue.find_complete(
            source, request.instance_uuid, _paths(request), request.name
        )
        pairs = [(disk, _image_of(snapshot, disk.index)) for disk in request.disks]
        for disk, info in pairs:
            check_size(target, disk, info.size, "snapshot")
        # Meanwhile the instance cannot be started, here or elsewhere.
        locks = [stack.enter_context(closed(target, disk, guests)) for disk, _ in pairs]
        image.check_free_space(target, sum(info.allocated for _, info in pairs))
        replacements = [
            Replacement(target, disk.path, lock)
            for disk, lock in zip(request.disks, locks, strict=True)
        ]
        try:
            for (disk, info), each in zip(pairs, replacements, strict=True):
                report.message("Copying disk/%d" % disk.index)
                each.clear(guests.node)
                kept = stack.enter_context(_kept(source, info.path, guests))
                with ImageSource(source, info.path) as opened:
                    new = NewImage(target, each.restored)
                    _copy(request, opened, new, disk.index, report, confirm=kept.check)
                each.made = new.made
        except BaseException as err:
            take_back(target, restored(replacements), err, node=guests.node)
            raise
        replace_all(replacements, guests.node)
    return {"name": request.name, "disks": [disk.index for disk, _ in pairs]}


@contextlib.contextmanager
def closed(volume: Volume, disk: DiskRequest, guests: Guests) -> Iterator[Hold]:
    """Have an image that no node has open, whatever Ganeti thinks of it, for this process."""
    with contextlib.ExitStack() as stack:
        try:
            lock = stack.enter_context(locked(volume, disk.path, node=guests.node))
        except OpenElsewhere as err:
            raise _in_use(disk) from err
        yield lock


def _in_use(disk: DiskRequest) -> GanetiGlusterError:
    return GanetiGlusterError(
        "disk/%d is open on a node; gnt-gluster disk info shows on which" % disk.index,
        hint="deactivate it with gnt-instance deactivate-disks",
    )


@contextlib.contextmanager
def _kept(volume: Volume, path: str, guests: Guests) -> Iterator[Hold]:
    """Keep an image of a snapshot from being removed while it is read."""
    with contextlib.ExitStack() as stack:
        try:
            lock = stack.enter_context(locked(volume, path, node=guests.node, shared=True))
        except OpenElsewhere as err:
            raise GanetiGlusterError(
                "%s is in use and may be changed or removed" % path,
                hint="wait until it is no longer in use",
            ) from err
        yield lock


def _remove(request: SnapshotRequest, guests: Guests, report: Report) -> dict[str, Any]:
    if guests.is_running(request.instance):
        live.undo(guests.connect(request.instance))
    with connect(request.snapshots_volume) as volume:
        snapshot = catalogue.find(volume, request.instance_uuid, _paths(request), request.name)
        _remove_snapshot(volume, snapshot, guests)
    return {"name": request.name}


def _remove_snapshot(volume: Volume, snapshot: catalogue.Snapshot, guests: Guests) -> None:
    try:
        catalogue.remove(volume, snapshot, node=guests.node)
    except OpenElsewhere as err:
        raise GanetiGlusterError(
            "%s of snapshot %s is in use" % (err.path, snapshot.name),
            hint="wait until the copy has finished",
        ) from err


_OPERATIONS: dict[str, Callable[[SnapshotRequest, Guests, Report], dict[str, Any]]] = {
    TAKE: _take,
    COPY: _copy_disk,
    CLONE: _clone,
    RESTORE: _restore,
    REMOVE: _remove,
}


class Instant:
    """The disks at one instant: `taken` in seconds since the epoch, `sources` to be read."""

    def __init__(
        self,
        taken: float,
        sources: Iterator[tuple[DiskRequest, Source]],
        checks: Sequence[Callable[[], None]] = (),
    ) -> None:
        self.taken = taken
        self.sources = sources
        self._checks = checks

    def confirm(self) -> None:
        """Raise a `GanetiGlusterError` if what was read may be of several instants."""
        for check in self._checks:
            check()


@contextlib.contextmanager
def sources(
    request: SnapshotRequest,
    guests: Guests,
    volume: Volume,
    *,
    quiet: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
) -> Iterator[Instant]:
    """The disks at one instant, which is in the block of `quiet` if the instance runs."""
    if not request.running:
        with _resting(request, guests, volume) as checks:
            yield Instant(time.time(), _stopped(request, volume), checks)
        return
    known = guests.identities(request.instance)
    missing = [disk.index for disk in request.disks if disk.uuid not in known]
    if missing:
        raise NotNow(
            "QEMU of instance %s cannot take a snapshot of disk/%d"
            % (request.instance, missing[0]),
            hint="stop the instance and try again",
        )
    identities = [known[disk.uuid] for disk in request.disks]
    with live.frozen(guests.connect(request.instance), identities, quiet=quiet) as frozen:
        yield Instant(frozen.taken, _running(request, frozen, lambda: _explain(request, guests)))


@contextlib.contextmanager
def _resting(
    request: SnapshotRequest, guests: Guests, volume: Volume
) -> Iterator[list[Callable[[], None]]]:
    """Keep all disks of a stopped instance unchanged; it cannot be started meanwhile."""
    with contextlib.ExitStack() as stack:
        checks = []
        for disk in request.disks:
            try:
                resting = stack.enter_context(
                    at_rest(volume, request.disks_volume, disk.path, node=guests.node)
                )
            except (OpenElsewhere, NotAtRest) as err:
                raise _in_use(disk) from err
            checks.append(resting.check)
        yield checks


def _stopped(request: SnapshotRequest, volume: Volume) -> Iterator[tuple[DiskRequest, Source]]:
    for disk in request.disks:
        with ImageSource(volume, disk.path) as source:
            yield disk, source


def _running(
    request: SnapshotRequest, frozen: live.Frozen, explain: Callable[[], str]
) -> Iterator[tuple[DiskRequest, Source]]:
    for disk, device in zip(request.disks, frozen.devices, strict=True):
        name = "disk/%d of %s as it was" % (disk.index, request.instance)
        with NbdSource(name, frozen.socket, device.view, explain=explain) as source:
            yield disk, source


def _explain(request: SnapshotRequest, guests: Guests) -> str:
    """Why QEMU may have ceased to show a disk as it was, "" if that is not known."""
    if not guests.is_running(request.instance):
        return "QEMU of instance %s has ended" % request.instance
    try:
        live.check_space(constants.FLEECING_DIR)
    except live.NoLocalSpace as err:
        return str(err)
    return "QEMU could not save what the guest overwrote, or could not read its disk"


def _copy(
    request: SnapshotRequest,
    source: Source,
    target: NewImage,
    index: int,
    report: Report,
    *,
    confirm: Callable[[], None] | None = None,
) -> None:
    copy(source, target, options(request, source, index, report, confirm=confirm))


def options(
    request: SnapshotRequest,
    source: Source,
    index: int,
    report: Report,
    *,
    confirm: Callable[[], None] | None = None,
) -> Options:
    """How to copy the disk of that index from `source`."""

    def progress(now: Progress) -> None:
        if request.running:
            live.check_space(constants.FLEECING_DIR)
        report.progress(index, now)

    return Options(
        threads=LIVE_THREADS if isinstance(source, NbdSource) else Options.threads,
        limit=request.limit,
        progress=progress,
        checksum=request.checksum,
        confirm=confirm,
        patience=service.STUCK_SECONDS,
    )


def check_running(request: SnapshotRequest, guests: Guests) -> None:
    """Raise `NotNow` unless the instance runs, or not, as the request says."""
    running = guests.is_running(request.instance)
    if running == request.running:
        return
    if running:
        raise NotNow("instance %s is running" % request.instance, hint="stop it first")
    raise NotNow(
        "no QEMU of instance %s is running on this node" % request.instance,
        hint="snapshots of running instances need the KVM hypervisor; see gnt-instance list",
    )


def _check_space(volume: Volume, disks: tuple[DiskRequest, ...], target: Volume) -> None:
    image.check_free_space(target, sum(image.stat(volume, disk.path).allocated for disk in disks))


def check_size(volume: Volume, disk: DiskRequest, size: int, kind: str) -> None:
    """Raise `SizeMismatch` unless a disk has the size of what it is to be restored from."""
    now = image.stat(volume, disk.path).size
    if now != size:
        raise SizeMismatch(
            "disk/%d has %d bytes, but its %s has %d" % (disk.index, now, kind, size),
            hint=("clone the snapshot to a new image instead" if kind == "snapshot" else "")
            if now > size
            else "grow the disk to that size first",
        )


def _image_of(snapshot: catalogue.Snapshot, index: int) -> image.ImageInfo:
    info = snapshot.images.get(index)
    if info is None:
        raise catalogue.NoSuchSnapshot("snapshot %s has no disk/%d" % (snapshot.name, index))
    return info


def _rotate(request: SnapshotRequest, guests: Guests, volume: Volume, report: Report) -> list[str]:
    if request.keep is None:
        return []
    old = catalogue.outdated(
        catalogue.find_all(volume, request.instance_uuid, _paths(request)), request.keep
    )
    for snapshot in old:
        report.message("Removing snapshot %s" % snapshot.name)
        _remove_snapshot(volume, snapshot, guests)
    return [snapshot.name for snapshot in old]


def restored(replacements: Sequence[Replacement]) -> dict[str, int | None]:
    """The new images that are there so far, for `take_back`."""
    return {each.restored: each.made for each in replacements if each.made is not None}


def take_back(
    volume: Volume,
    made: Mapping[str, int | None],
    cause: BaseException,
    *,
    node: str,
    hint: str = "remove the snapshot with gnt-gluster disk remove-snapshot when the volume"
    " is healthy",
) -> None:
    """Remove new images after a failure; `made` are their inodes.

    While this node stood still, another may have made images of these names, which stay.
    """
    for path, inode in made.items():
        try:
            hold.remove(volume, path, node=node, sure=partial(Hold.has, inode=inode))
            remove_stale(volume, path)
        except (OSError, GanetiGlusterError) as err:
            why = err.strerror if isinstance(err, OSError) else err.message
            raise errors.IncompleteImage(
                "%s; and image %s of volume %s could not be removed (%s)"
                % (cause, path, volume.name, why),
                path=path,
                hint=hint,
            ) from cause
