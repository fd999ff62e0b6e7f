"""Snapshots of disks: where they are, and how one is taken.

A snapshot of the image `ganeti/UUID.0` is the image `ganeti/UUID.0.snap.NAME` on
the same volume: raw, of the same size, and sparse.  It lies beside its image, so
that a listing of the directory shows what belongs together, and it is a disk like
any other: `(DRIVER, 'ganeti/UUID.0.snap.NAME')` is its logical id, by which
Ganeti's node daemon finds, assembles, exports and removes it with no help of ours.
`names.snapshot_path` and `names.split_snapshot_path` are the only places that know
the form.  It has its name when it is whole; until then it is
`ganeti/UUID.0.snap.NAME.partial` (see `copy.images.NewImage`).

Ganeti asks for a snapshot without a name when it makes a backup, and removes it
afterwards.  It is then called `names.BACKUP_SNAPSHOT`, which is Ganeti's alone: one
that is there is what an earlier backup left, and is replaced, as Ganeti does with
LVM's.

Traps:

- Ganeti's master waits 900 s (`RPC_TMO_NORMAL`) for a snapshot.  A copy that takes
  longer is given up and undone before; `gnt-backup export --long-sleep` then makes
  its backup of the stopped instance's disks themselves.
- Ganeti's job takes each snapshot that is not of an ext disk for an LVM volume:
  `patches.masterd` has it right.
"""

from __future__ import annotations

import contextlib
import logging
import time

from ganeti_gluster.core import image
from ganeti_gluster.core.at_rest import at_rest
from ganeti_gluster.core.copy import Options, Progress, copy
from ganeti_gluster.core.copy.images import ImageSource, NewImage
from ganeti_gluster.core.copy.progress import Callback, EachLine
from ganeti_gluster.core.serve import hold
from ganeti_gluster.core.serve.holder import OpenElsewhere
from ganeti_gluster.core.snapshot import service
from ganeti_gluster.core.snapshot.request import COPY, PROGRESS, DiskRequest, SnapshotRequest
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import CopyFailed, TookTooLong
from ganeti_gluster.storage import node_names, one_writer, running_disk, snapshot_worker
from ganeti_gluster.tools import names
from ganeti_gluster.tools.gfapi import Volume

#: Seconds in which a snapshot has to be whole: less than `RPC_TMO_NORMAL`.
SECONDS = 840.0


def take(
    volume: Volume,
    spec: VolumeSpec,
    path: str,
    *,
    disk_uuid: str | None,
    name: str | None = None,
) -> str:
    """Take a snapshot of an image; returns the snapshot's path.

    With no `name` one of an earlier backup is replaced; else `CopyFailed` if there
    is one.  A failure leaves nothing.
    """
    target = names.snapshot_path(path, name or names.BACKUP_SNAPSHOT)
    if name is None:
        remove(volume, target)
    instance = running_disk.user(disk_uuid) if disk_uuid is not None else None
    if disk_uuid is not None and instance is not None:
        copy_running(instance, spec, DiskRequest(0, disk_uuid, path), target)
        _describe(volume, path, target)
    else:
        copy_in_time(volume, spec, path, target)
    return target


def remove(volume: Volume, target: str) -> None:
    """Remove a snapshot that an earlier backup left; one that is being read is refused."""
    try:
        hold.remove(volume, target, node=node_names.own())
    except OpenElsewhere as err:
        raise CopyFailed(one_writer.refusal(err)) from err


def copy_in_time(volume: Volume, spec: VolumeSpec, path: str, target: str) -> None:
    """Copy the image, which must not change, within the time that Ganeti has."""
    with contextlib.ExitStack() as stack:
        try:
            resting = stack.enter_context(at_rest(volume, spec, path, node=node_names.own()))
        except OpenElsewhere as err:
            raise CopyFailed(one_writer.refusal(err)) from err
        source = stack.enter_context(ImageSource(volume, path))
        options = Options(progress=_in_time(), confirm=resting.check)
        result = copy(source, NewImage(volume, target), options)
    _describe(volume, path, target)
    logging.info("Snapshot %s: %d MiB in %.1f s", target, result.data >> 20, result.seconds)


def copy_running(instance: str, spec: VolumeSpec, disk: DiskRequest, target: str) -> None:
    """Copy the disk of a running instance as it is at one instant.

    By a worker that systemd supervises, so that the end of the node daemon leaves
    nothing in the instance's QEMU.
    """
    request = SnapshotRequest(
        operation=COPY,
        instance=instance,
        instance_uuid="",
        name="",
        disks=(disk,),
        disks_volume=spec,
        snapshots_volume=spec,
        running=True,
        target=target,
    )
    progress = _in_time()

    def listen(event: service.WorkerEvent) -> None:
        if event.get("event") == PROGRESS:
            progress(Progress(*(event[field] for field in Progress._fields)))

    argv = service.worker_argv(snapshot_worker.PROGRAM, instance)
    service.converse(argv, instance, lambda: request, listen)
    logging.info("Snapshot %s of running instance %s", target, instance)


def _describe(volume: Volume, path: str, target: str) -> None:
    with contextlib.suppress(OSError):  # it is for people to read
        image.set_info(volume, target, "snapshot of %s" % path)


def _in_time() -> Callback:
    """Log how far a copy is, and end it when Ganeti gives up waiting for it."""
    log = EachLine(logging.info)
    deadline = time.monotonic() + SECONDS

    def progress(now: Progress) -> None:
        log(now)
        if time.monotonic() > deadline:
            raise TookTooLong(
                "after %d s only %d of %d MiB are copied, which is too slow for Ganeti"
                % (SECONDS, now.done >> 20, (now.total or 0) >> 20),
                hint="export it with --long-sleep, without a snapshot",
            )

    return progress
