"""The operations on snapshots, each whole: it is done, or nothing of it is left."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from ganeti_gluster import constants, errors, image, names
from ganeti_gluster.copy import Options, Progress, Source, copy
from ganeti_gluster.copy.images import ImageSource, NewImage, remove_stale
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.gfapi import Volume
from ganeti_gluster.serve.holder import holder_of
from ganeti_gluster.snapshot import catalogue, live
from ganeti_gluster.snapshot.catalogue import About
from ganeti_gluster.snapshot.nbd import NbdSource
from ganeti_gluster.snapshot.request import (
    CLONE,
    COPY,
    REMOVE,
    RESTORE,
    TAKE,
    DiskRequest,
    Request,
)
from ganeti_gluster.volume import connect

#: Pieces that are read from a running guest's QEMU at a time: it reads them for
#: us in the thread that serves its guest.
LIVE_THREADS = 4

#: What a disk's image is called while a restored one takes its place.
_REPLACED = ".replaced"
_RESTORED = ".restored"


class NotNow(GanetiGlusterError):
    """The instance is not in the state that the operation needs; nothing was changed."""


class SizeMismatch(GanetiGlusterError):
    """A snapshot's image and the disk differ in size; nothing was changed."""


class Guests(Protocol):
    """The virtual machines on this node."""

    def is_running(self, instance: str) -> bool:
        """Whether a QEMU runs for the instance here."""

    def identities(self, instance: str) -> Mapping[str, str]:
        """Ganeti's id in QEMU of each disk of a running instance, by the disk's UUID."""

    def connect(self, instance: str) -> live.Connect:
        """How to reach the monitor of a running instance."""


class Report(Protocol):
    """Whoever wants to know how it goes."""

    def message(self, text: str) -> None:
        """Something was begun."""

    def progress(self, disk: int, progress: Progress) -> None:
        """How far the copy of a disk is; may raise, which ends and undoes the operation."""


def do(request: Request, guests: Guests, report: Report) -> dict[str, Any]:
    """Carry a request out and tell what came of it; raises a `GanetiGlusterError`."""
    return _OPERATIONS[request.operation](request, guests, report)


def _take(request: Request, guests: Guests, report: Report) -> dict[str, Any]:
    disks, uuid, name = request.disks, request.instance_uuid, request.name
    _check_running(request, guests)
    with connect(request.disks_volume) as volume, connect(request.snapshots_volume) as target:
        paths = _paths(request)
        catalogue.check_free(target, uuid, paths, name)
        _check_space(volume, disks, target)
        made: list[str] = []
        try:
            with _sources(request, guests, volume) as (taken, sources):
                for disk, source in sources:
                    report.message("Copying disk/%d" % disk.index)
                    where = names.snapshot_path(disk.path, name)
                    _copy(request, source, NewImage(target, where), disk.index, report)
                    made.append(where)
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
            _take_back(target, made, err)
            raise
        removed = _rotate(request, target, report)
        found = catalogue.find(target, uuid, paths, name)
    return {
        "name": name,
        "taken": taken,
        "allocated": found.allocated,
        "disks": [disk.index for disk in disks],
        "live": request.running,
        "removed": removed,
    }


def _paths(request: Request) -> dict[int, str]:
    return {disk.index: disk.path for disk in request.disks}


def _copy_disk(request: Request, guests: Guests, report: Report) -> dict[str, Any]:
    """Copy the one disk of the request to a new image beside it."""
    _check_running(request, guests)
    (disk,) = request.disks
    with connect(request.disks_volume) as volume:
        _check_space(volume, request.disks, volume)
        with _sources(request, guests, volume) as (taken, sources):
            for _, source in sources:
                _copy(request, source, NewImage(volume, request.target), disk.index, report)
    return {"taken": taken}


def _clone(request: Request, guests: Guests, report: Report) -> dict[str, Any]:
    (disk,) = request.disks
    with connect(request.snapshots_volume) as source, connect(request.disks_volume) as target:
        snapshot = catalogue.find_complete(
            source, request.instance_uuid, _paths(request), request.name
        )
        found = _image_of(snapshot, disk.index)
        image.check_free_space(target, found.allocated)
        with ImageSource(source, found.path) as opened:
            _copy(request, opened, NewImage(target, request.target), disk.index, report)
    return {"path": request.target, "size": found.size}


def _restore(request: Request, guests: Guests, report: Report) -> dict[str, Any]:
    _check_running(request, guests)
    with connect(request.snapshots_volume) as source, connect(request.disks_volume) as target:
        snapshot = catalogue.find_complete(
            source, request.instance_uuid, _paths(request), request.name
        )
        pairs = [(disk, _image_of(snapshot, disk.index)) for disk in request.disks]
        for disk, found in pairs:
            _check_size(target, disk, found)
            _check_closed(target, disk)
        image.check_free_space(target, sum(found.allocated for _, found in pairs))
        made: list[str] = []
        try:
            for disk, found in pairs:
                report.message("Copying disk/%d" % disk.index)
                where = disk.path + _RESTORED
                image.remove(target, where)  # of a restoration that was cut short
                with ImageSource(source, found.path) as opened:
                    _copy(request, opened, NewImage(target, where), disk.index, report)
                made.append(where)
        except BaseException as err:
            _take_back(target, made, err)
            raise
        # From here on each disk has either its old or its restored content.
        for disk, _ in pairs:
            replace_image(target, disk.path + _RESTORED, disk.path)
    return {"name": request.name, "disks": [disk.index for disk, _ in pairs]}


def _check_closed(volume: Volume, disk: DiskRequest) -> None:
    """Refuse to replace an image that a node has open, whatever Ganeti thinks of it."""
    if holder_of(volume, disk.path) is not None:
        raise GanetiGlusterError(
            "disk/%d is open on a node, which gnt-gluster disk info names" % disk.index,
            hint="deactivate it with gnt-instance deactivate-disks",
        )


def _remove(request: Request, guests: Guests, report: Report) -> dict[str, Any]:
    if guests.is_running(request.instance):
        live.undo(guests.connect(request.instance))
    with connect(request.snapshots_volume) as volume:
        snapshot = catalogue.find(volume, request.instance_uuid, _paths(request), request.name)
        catalogue.remove(volume, snapshot)
    return {"name": request.name}


_OPERATIONS: dict[str, Callable[[Request, Guests, Report], dict[str, Any]]] = {
    TAKE: _take,
    COPY: _copy_disk,
    CLONE: _clone,
    RESTORE: _restore,
    REMOVE: _remove,
}


def replace_image(volume: Volume, new: str, path: str) -> None:
    """Put an image in the place of another, which is removed.

    At every moment there is a whole image at `path`: the old one gets a second
    name first, by which it is removed in the end, since what a rename replaces
    would leave its pieces on a sharded volume.  A repetition finishes what was
    cut short.
    """
    aside = path + _REPLACED
    try:
        if volume.lstat(aside).inode == volume.lstat(path).inode:
            volume.unlink(aside)
        else:
            image.remove(volume, aside)
    except FileNotFoundError:
        pass
    info = image.get_info(volume, path)
    if info:
        image.set_info(volume, new, info)
    volume.link(path, aside)
    volume.rename(new, path)
    image.remove(volume, aside)


@contextlib.contextmanager
def _sources(
    request: Request, guests: Guests, volume: Volume
) -> Iterator[tuple[float, Iterator[tuple[DiskRequest, Source]]]]:
    """The disks at one instant, and when that was."""
    if not request.running:
        yield time.time(), _stopped(request, volume)
        return
    known = guests.identities(request.instance)
    missing = [disk.index for disk in request.disks if disk.uuid not in known]
    if missing:
        raise NotNow(
            "QEMU of instance %s does not have disk/%d as one that it can show at an instant"
            % (request.instance, missing[0]),
            hint="stop the instance and try again",
        )
    identities = [known[disk.uuid] for disk in request.disks]
    with live.frozen(guests.connect(request.instance), identities) as frozen:
        yield frozen.taken, _running(request, frozen, lambda: _explain(request, guests))


def _stopped(request: Request, volume: Volume) -> Iterator[tuple[DiskRequest, Source]]:
    for disk in request.disks:
        with ImageSource(volume, disk.path) as source:
            yield disk, source


def _running(
    request: Request, frozen: live.Frozen, explain: Callable[[], str]
) -> Iterator[tuple[DiskRequest, Source]]:
    for disk, device in zip(request.disks, frozen.devices, strict=True):
        name = "disk/%d of %s as it was" % (disk.index, request.instance)
        with NbdSource(name, frozen.socket, device.view, explain=explain) as source:
            yield disk, source


def _explain(request: Request, guests: Guests) -> str:
    """Why QEMU may have ceased to show a disk as it was, "" if that is not known."""
    if not guests.is_running(request.instance):
        return "QEMU of instance %s has ended" % request.instance
    try:
        live.check_space(constants.FLEECING_DIR)
    except live.NoLocalSpace as err:
        return str(err)
    return "QEMU could not keep what the guest overwrote, or not read its disk"


def _copy(request: Request, source: Source, target: NewImage, index: int, report: Report) -> None:
    def progress(now: Progress) -> None:
        if request.running:
            live.check_space(constants.FLEECING_DIR)
        report.progress(index, now)

    threads = LIVE_THREADS if isinstance(source, NbdSource) else Options.threads
    copy(
        source,
        target,
        Options(
            threads=threads, limit=request.limit, progress=progress, checksum=request.checksum
        ),
    )


def _check_running(request: Request, guests: Guests) -> None:
    running = guests.is_running(request.instance)
    if running == request.running:
        return
    if running:
        raise NotNow("instance %s runs" % request.instance, hint="stop it first")
    raise NotNow(
        "no QEMU of instance %s runs on this node" % request.instance,
        hint="snapshots of running instances need the KVM hypervisor; see gnt-instance list",
    )


def _check_space(volume: Volume, disks: tuple[DiskRequest, ...], target: Volume) -> None:
    image.check_free_space(target, sum(image.stat(volume, disk.path).allocated for disk in disks))


def _check_size(volume: Volume, disk: DiskRequest, found: image.ImageInfo) -> None:
    size = image.stat(volume, disk.path).size
    if size != found.size:
        raise SizeMismatch(
            "disk/%d has %d bytes and its snapshot %d" % (disk.index, size, found.size),
            hint="clone the snapshot to a new image instead"
            if size > found.size
            else "grow the disk to that size first",
        )


def _image_of(snapshot: catalogue.Snapshot, index: int) -> image.ImageInfo:
    found = snapshot.images.get(index)
    if found is None:
        raise catalogue.NoSuchSnapshot("snapshot %s has no disk/%d" % (snapshot.name, index))
    return found


def _rotate(request: Request, volume: Volume, report: Report) -> list[str]:
    if request.keep is None:
        return []
    old = catalogue.outdated(
        catalogue.find_all(volume, request.instance_uuid, _paths(request)), request.keep
    )
    for snapshot in old:
        report.message("Removing snapshot %s" % snapshot.name)
        catalogue.remove(volume, snapshot)
    return [snapshot.name for snapshot in old]


def _take_back(volume: Volume, made: list[str], cause: BaseException) -> None:
    for path in made:
        try:
            image.remove(volume, path)
            remove_stale(volume, path)
        except OSError as err:
            raise errors.IncompleteImage(
                "%s; and image %s of volume %s could not be removed (%s)"
                % (cause, path, volume.name, err.strerror),
                path=path,
                hint="remove the snapshot with gnt-gluster disk remove-snapshot when the volume"
                " is whole",
            ) from cause
