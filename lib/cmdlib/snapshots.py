"""Operations on an instance's snapshots, carried out on its primary node.

A worker there (`ganeti_gluster.core.snapshot`) is started by Ganeti's own ssh.  Once
its unit is there, hooks refuse the operations of Ganeti that would disturb it;
jobs that began before hold the instance's lock, and are waited for by taking it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ganeti import cli, constants, errors, opcodes

from ganeti_gluster.cmdlib import cluster, cluster_config, instance_disks
from ganeti_gluster.core.backup import places
from ganeti_gluster.core.snapshot import service
from ganeti_gluster.core.snapshot.request import DiskRequest, SnapshotRequest
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.storage import snapshot_worker


@dataclass(frozen=True)
class Instance:
    """An instance with gluster disks; `running` is None if its node does not answer."""

    name: str
    uuid: str
    node: str
    running: bool | None
    disks: tuple[instance_disks.InstanceDisk, ...]

    @property
    def paths(self) -> dict[int, str]:
        """The paths of its disks' images, by index."""
        return {disk.index: disk.path for disk in self.disks}

    @property
    def volume(self) -> VolumeSpec:
        """The volume of its disks; raises `OpPrereqError` where they are on several."""
        found = sorted({disk.spec.name for disk in self.disks})
        if len(found) > 1:
            raise errors.OpPrereqError(
                "The disks of instance %s are on several volumes (%s); move them to one of them"
                " first (gnt-gluster disk move)" % (self.name, ", ".join(found)),
                errors.ECODE_STATE,
            )
        return self.disks[0].spec


def find(names: Sequence[str]) -> list[Instance]:
    """The instances of these names with all their gluster disks; of all instances if empty.

    One that is named has to have such disks, and no others.
    """
    fields = ["name", "uuid", "pnode", "oper_state", "disk_template"]
    rows = cli.GetClient().QueryInstances(list(names), fields, False)
    unknown = sorted(set(names) - {row[0] for row in rows})
    if unknown and len(rows) < len(set(names)):
        raise errors.OpPrereqError(
            "Instance %s is not known" % ", ".join(unknown), errors.ECODE_NOENT
        )
    gluster = [row for row in rows if row[4] == constants.DT_GLUSTER]
    if names and len(gluster) < len(rows):
        other = next(row[0] for row in rows if row not in gluster)
        raise errors.OpPrereqError("Instance %s has no gluster disks" % other, errors.ECODE_INVAL)
    if not gluster:
        return []
    disks = instance_disks.find([row[0] for row in gluster])
    return [
        Instance(
            name=name,
            uuid=uuid,
            node=node,
            running=running,
            disks=tuple(disk for disk in disks if disk.instance == name),
        )
        for name, uuid, node, running, _ in sorted(gluster)
    ]


def choose(instance: Instance, indices: Sequence[int] | None) -> tuple[DiskRequest, ...]:
    """The disks of these indices, all if there are none."""
    known = {disk.index: disk for disk in instance.disks}
    wanted = sorted(set(indices)) if indices else sorted(known)
    for index in wanted:
        if index not in known:
            raise errors.OpPrereqError(
                "Instance %s has no disk/%d" % (instance.name, index), errors.ECODE_NOENT
            )
    return tuple(DiskRequest(index, known[index].uuid, known[index].path) for index in wanted)


def carry_out(
    instance: Instance, request: SnapshotRequest, listen: Callable[[service.WorkerEvent], None]
) -> dict[str, Any]:
    """Let the worker on the instance's primary node do it, and return the result."""
    more = places.unit_properties(request.backup.repository) if request.backup else []
    worker = service.worker_argv(snapshot_worker.PROGRAM, instance.name, more)
    argv = cluster.SshChannel().argv(instance.node, worker)
    return service.converse(argv, instance.name, lambda: _settled(instance, request), listen)


def _settled(instance: Instance, request: SnapshotRequest) -> SnapshotRequest:
    """Wait for jobs that have the instance's lock, and see that it is as it was."""
    op = opcodes.OpInstanceQueryData(instances=[instance.name], static=True, use_locking=True)
    data = cluster.job(op)[instance.name]
    if data["pnode"] != instance.node or _places(_as_they_are(instance)) != _places(
        instance.disks
    ):
        raise errors.OpPrereqError(
            "Another job has changed instance %s in the meantime; try again" % instance.name,
            errors.ECODE_STATE,
        )
    (row,) = cli.GetClient().QueryInstances([instance.name], ["oper_state"], False)
    return replace(request, running=is_running(replace(instance, running=row[0])))


def _as_they_are(instance: Instance) -> list[instance_disks.InstanceDisk]:
    """Its disks as the configuration has them at this moment."""
    config = cluster_config.live()
    return instance_disks.find([instance.name], read=lambda: config)


def _places(disks: Sequence[instance_disks.InstanceDisk]) -> list[object]:
    """Which disks these are, and where: a disk that was moved has the same path elsewhere."""
    return [(disk.index, disk.uuid, disk.path, disk.spec) for disk in disks]


def is_running(instance: Instance) -> bool:
    """Whether it runs; raises OpPrereqError if its node does not answer."""
    if instance.running is None:
        raise errors.OpPrereqError(
            "Node %s, the primary node of instance %s, does not answer"
            % (instance.node, instance.name),
            errors.ECODE_STATE,
        )
    return instance.running
