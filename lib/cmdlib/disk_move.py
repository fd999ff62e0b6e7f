"""The disks of a stopped instance move to another volume.

`ganeti_gluster.core.snapshot.move` copies the images on the instance's node, and
`ganeti_gluster.patches.disk_volume` makes the new ones valid.  Whatever ends a command midway,
the next one first completes what the configuration says, or takes it back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ganeti import cli, constants, errors, opcodes

from ganeti_gluster.cmdlib import cluster, cluster_config, instance_disks, snapshots
from ganeti_gluster.cmdlib.instance_disks import InstanceDisk
from ganeti_gluster.cmdlib.snapshots import Instance
from ganeti_gluster.constants import PARAM_VOLUME, RUN_DIR
from ganeti_gluster.core.serve import hold
from ganeti_gluster.core.snapshot import move as images
from ganeti_gluster.core.snapshot import request, service
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.errors import GanetiGlusterError, VolumeNotFound
from ganeti_gluster.patches.disk_volume import NEW, OLD, SERIAL
from ganeti_gluster.storage import node_names
from ganeti_gluster.tools import names, private

_LOCK = RUN_DIR + "/disk-move.lock"
_UNFINISHED = frozenset(constants.JOBS_PENDING | {constants.JOB_STATUS_RUNNING})


class MoveUnfinished(GanetiGlusterError):
    """A move was cut short, and is completed or taken back by the next command."""


@dataclass(frozen=True)
class Asked:
    """What is to be moved where: `limit` is in bytes a second."""

    instance: str
    volume: str
    limit: int | None = None


def move(asked: Asked, listen: Callable[[service.WorkerEvent], None]) -> list[InstanceDisk]:
    """Move all disks that are not on the volume; returns them, as they were."""
    names.volume_name(asked.volume)
    refusal = MoveUnfinished("another disk move is running", hint="wait until it has finished")
    with private.locked(_LOCK, seconds=0, refusal=refusal):
        (instance,) = snapshots.find([asked.instance])
        _refuse_pending(instance)
        instance, serial = _as_it_is(instance)
        complete(instance.disks)
        moved = [disk for disk in instance.disks if disk.spec.name != asked.volume]
        if moved and snapshots.is_running(instance):
            raise errors.OpPrereqError(
                "Instance %s is running; stop it first" % instance.name, errors.ECODE_STATE
            )
        for spec in dict.fromkeys(disk.spec for disk in moved):
            here = [disk for disk in moved if disk.spec == spec]
            _move(instance, serial, here, spec._replace(name=asked.volume), asked.limit, listen)
            instance, serial = _as_it_is(instance)
        complete(instance.disks if moved else ())
    return moved


def complete(disks: Sequence[InstanceDisk]) -> None:
    """Remove the old images of disks to whose new ones the configuration refers."""
    for disk in disks:
        with connect(disk.spec) as volume:
            try:
                old = images.origin(volume, disk.path)
            except FileNotFoundError:
                continue  # whatever is wrong, the old image may be needed
            if old and old != disk.spec.name:
                _remove_old(disk.spec._replace(name=names.volume_name(old)), disk.path)
            if old:
                images.forget_origin(volume, disk.path)


def _remove_old(spec: VolumeSpec, path: str) -> None:
    try:
        with connect(spec) as volume:
            hold.remove(volume, path, node=node_names.own(), own_seconds=hold.OWN_SECONDS)
    except VolumeNotFound:
        return
    except (GanetiGlusterError, OSError) as err:
        raise MoveUnfinished(
            "the disk has been moved, but its old image %s on volume %s could not be removed: %s"
            % (path, spec.name, err),
            hint=images.AGAIN,
        ) from err


def _as_it_is(instance: Instance) -> tuple[Instance, int]:
    """The instance as the configuration has it at this moment, and how often that was changed."""
    data = cluster_config.live()
    disks = instance_disks.find([instance.name], read=lambda: data)
    return replace(instance, disks=tuple(disks)), data["instances"][instance.uuid]["serial_no"]


def _refuse_pending(instance: Instance) -> None:
    """Raise if a job may still change the volume of a disk, as of a command that was killed."""
    summary = "INSTANCE_SET_PARAMS(%s)" % instance.name
    for number, status, said in cli.GetClient().QueryJobs([], ["id", "status", "summary"]):
        if status in _UNFINISHED and summary in said:
            raise errors.OpPrereqError(
                "Job %s is about to modify instance %s; wait until it has finished"
                % (number, instance.name),
                errors.ECODE_STATE,
            )


def _move(
    instance: Instance,
    serial: int,
    disks: Sequence[InstanceDisk],
    target: VolumeSpec,
    limit: int | None,
    listen: Callable[[service.WorkerEvent], None],
) -> None:
    """Copy disks of one volume, and have the configuration refer to the copies."""
    _remove_unused(disks, target)
    wanted = request.SnapshotRequest(
        operation=request.MOVE,
        instance=instance.name,
        instance_uuid=instance.uuid,
        name="",
        disks=tuple(request.DiskRequest(disk.index, disk.uuid, disk.path) for disk in disks),
        disks_volume=disks[0].spec,
        snapshots_volume=target,
        running=False,
        limit=limit,
        checksum=True,
    )
    stamps = snapshots.carry_out(instance, wanted, listen)["stamps"]
    changes = [
        [
            constants.DDM_MODIFY,
            disk.uuid,
            {PARAM_VOLUME: target.name, SERIAL: str(serial), OLD: stamp["old"], NEW: stamp["new"]},
        ]
        for disk, stamp in zip(disks, stamps, strict=True)
    ]
    try:
        cluster.job(opcodes.OpInstanceSetParams(instance_name=instance.name, disks=changes))
    except (errors.OpPrereqError, errors.HooksAbort):  # nothing was changed
        _remove_unused(disks, target)
        raise
    except (Exception, KeyboardInterrupt) as err:
        raise MoveUnfinished(
            "the images were copied, but it is not known whether the configuration of instance %s"
            " was changed: %s" % (instance.name, str(err) or type(err).__name__),
            hint="give the command again, which completes the move or begins it anew",
        ) from err


def _remove_unused(disks: Sequence[InstanceDisk], target: VolumeSpec) -> None:
    """Remove what a move to the volume left that was not completed."""
    with connect(target) as volume:
        for disk in disks:
            unused = partial(_is_unused, disk, target)
            images.remove_unused(volume, disk.path, node=node_names.own(), sure=unused)


def _is_unused(disk: InstanceDisk, target: VolumeSpec) -> bool:
    """Whether the configuration still has the disk elsewhere.

    It may have taken long to reach the volume, and another command have moved the disk, on a new
    master.
    """
    config = cluster_config.live()
    now = instance_disks.find([disk.instance], read=lambda: config)
    return all(each.uuid != disk.uuid or each.spec.name != target.name for each in now)
