"""`gnt-gluster disk snapshot` and the other commands for snapshots."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ganeti import cli, errors, utils

from ganeti_gluster import constants
from ganeti_gluster.client import plans
from ganeti_gluster.client.options import CHECKSUM_OPT, JSON_OPT, LIMIT_OPT, bandwidth, confirm
from ganeti_gluster.client.plans import PLAN_OPT
from ganeti_gluster.cmdlib import snapshots
from ganeti_gluster.constants import MIB
from ganeti_gluster.core import image
from ganeti_gluster.core.backup import own_names
from ganeti_gluster.core.copy import Progress
from ganeti_gluster.core.copy.progress import Terminal
from ganeti_gluster.core.snapshot import catalogue, request, service
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.tools import decode, names

DISKS_OPT = cli.cli_option(
    "--disk",
    dest="disks",
    default=None,
    action="append",
    type="int",
    metavar="N",
    help="Only this disk; can be given several times",
)
DISK_OPT = cli.cli_option(
    "--disk", dest="disk", default=None, type="int", metavar="N", help="The disk (default: 0)"
)
NAME_OPT = cli.cli_option(
    "--name",
    dest="name",
    default=None,
    metavar="NAME",
    help="Name of the snapshot (default: the time, in UTC)",
)
KEEP_OPT = cli.cli_option(
    "--keep",
    dest="keep",
    default=None,
    type="int",
    metavar="N",
    help="Afterwards, keep only the N newest of the instance's snapshots that were taken with"
    " --keep",
)
VOLUME_OPT = cli.cli_option(
    "--volume",
    dest="volume",
    default=None,
    metavar="VOLUME",
    help="Volume of the snapshots (default: that of the disks)",
)
HOST_OPT = cli.cli_option(
    "--host",
    dest="host",
    default=None,
    metavar="SERVERS",
    help="Servers of that volume, separated by commas (default: those of the disks)",
)
PLACE_OPTS = [VOLUME_OPT, HOST_OPT]

_HEADERS = {
    "instance": "Instance",
    "name": "Name",
    "taken": "Taken",
    "disks": "Disks",
    "state": "State",
    "allocated": "Allocated",
}


def Take(opts: Any, args: list[str]) -> int:
    """Take a snapshot of an instance's disks at one instant."""
    instance = _find(args[0])
    name = catalogue.check_name(
        catalogue.default_name(time.time()) if opts.name is None else opts.name
    )
    own_names.refuse(name)
    if opts.keep is not None and opts.keep < 1:
        raise errors.OpPrereqError(
            "--keep: at least one snapshot must be kept", errors.ECODE_INVAL
        )
    wanted = _request(opts, request.TAKE, instance, name, snapshots.choose(instance, opts.disks))
    wanted = replace(wanted, keep=opts.keep, limit=bandwidth(opts), checksum=opts.checksum)
    if opts.dry_run:
        return _announce(wanted)
    result = carry_out(opts, instance, wanted)
    if opts.json:
        cli.ToStdout("%s", json.dumps(result, sort_keys=True))
    else:
        for old in result["removed"]:
            cli.ToStdout("Removed snapshot %s", old)
        cli.ToStdout(
            "Took snapshot %s of %s (%s), %s on volume %s",
            result["name"],
            instance.name,
            disk_names(result["disks"]),
            utils.FormatUnit(result["allocated"] / MIB, "h"),
            wanted.snapshots_volume.name,
        )
    return 0


def _announce(wanted: request.SnapshotRequest) -> int:
    with connect(wanted.snapshots_volume) as target, connect(wanted.disks_volume) as volume:
        catalogue.check_free(
            target,
            wanted.instance_uuid,
            {disk.index: disk.path for disk in wanted.disks},
            wanted.name,
        )
        needed = sum(image.stat(volume, disk.path).allocated for disk in wanted.disks)
        free = target.space().free
    cli.ToStdout(
        "Would take snapshot %s of %s (%s): up to %s of %s free on volume %s",
        wanted.name,
        wanted.instance,
        disk_names([disk.index for disk in wanted.disks]),
        utils.FormatUnit(needed / MIB, "h"),
        utils.FormatUnit(free / MIB, "h"),
        wanted.snapshots_volume.name,
    )
    return 0


def List(opts: Any, args: list[str]) -> int:
    """Print the snapshots of instances; 0 only if all of them are whole."""
    rows = []
    for instance in snapshots.find(args):
        place = _place(opts, instance)
        with connect(place) as volume:
            rows += [
                _describe(instance.name, place, each)
                for each in catalogue.find_all(volume, instance.uuid, instance.paths)
            ]
    if opts.json:
        cli.ToStdout("%s", json.dumps(rows, indent=2, sort_keys=True))
    else:
        _print_table(opts, rows)
    return 0 if all(each["complete"] for each in rows) else 1


def _describe(instance: str, place: VolumeSpec, snapshot: catalogue.Snapshot) -> dict[str, Any]:
    """One snapshot as plain data: bytes, and seconds since the epoch."""
    about = snapshot.about
    return {
        "instance": instance,
        "name": snapshot.name,
        "taken": snapshot.taken,
        "volume": place.name,
        "complete": snapshot.complete,
        "live": about.live if about else None,
        "rotated": about.rotated if about else None,
        "allocated": snapshot.allocated,
        "disks": {
            str(index): {"path": each.path, "size": each.size, "allocated": each.allocated}
            for index, each in sorted(snapshot.images.items())
        },
        "leftovers": [each.path for each in snapshot.leftovers],
    }


def _print_table(opts: Any, listed: list[dict[str, Any]]) -> None:
    fields = list(_HEADERS)
    rows = []
    for each in listed:
        rows.append(
            [
                each["instance"],
                decode.printable(each["name"]),
                time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each["taken"])),
                ",".join(each["disks"]) or "-",
                _state(each),
                utils.FormatUnit(each["allocated"] / MIB, "h"),
            ]
        )
    for line in cli.GenerateTable(
        headers=None if opts.no_headers else _HEADERS,
        fields=fields,
        separator=opts.separator,
        data=rows,
        numfields=["allocated"],
    ):
        cli.ToStdout("%s", line)


def _state(each: dict[str, Any]) -> str:
    if not each["complete"]:
        return "incomplete"
    return "live" if each["live"] else "stopped"


def Restore(opts: Any, args: list[str]) -> int:
    """Give a stopped instance's disks the content that they had."""
    instance = _find(args[0])
    name = catalogue.check_name(args[1])
    place = _place(opts, instance)
    with connect(place) as volume:
        snapshot = catalogue.find_complete(volume, instance.uuid, instance.paths, name)
    indices = opts.disks or sorted(snapshot.images)
    wanted = _request(opts, request.RESTORE, instance, name, snapshots.choose(instance, indices))
    wanted = replace(wanted, limit=bandwidth(opts), checksum=opts.checksum)
    if instance.running:
        raise errors.OpPrereqError(
            "Instance %s is running; stop it first" % instance.name, errors.ECODE_STATE
        )
    what = "%s of %s" % (disk_names([disk.index for disk in wanted.disks]), instance.name)
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(snapshot.taken))
    if opts.dry_run:
        cli.ToStdout("Would restore %s from %s (snapshot %s)", what, when, name)
        return 0
    question = "Restore %s from %s? The current content will be lost." % (what, when)
    if confirm(opts, question, otherwise="Nothing was restored"):
        # That it is stopped is seen once no other job has the instance.
        with connect(place) as volume:
            now = catalogue.find_complete(volume, instance.uuid, instance.paths, name)
        _check_same(snapshot, now)
    carry_out(opts, instance, wanted)
    cli.ToStdout("Restored %s from snapshot %s", what, name)
    return 0


def Clone(opts: Any, args: list[str]) -> int:
    """Make a new image of a disk's snapshot."""
    instance = _find(args[0])
    name = catalogue.check_name(args[1])
    path = args[2] if "/" in args[2] else "%s/%s" % (constants.IMAGE_DIRECTORY, args[2])
    wanted = _request(
        opts, request.CLONE, instance, name, snapshots.choose(instance, [opts.disk or 0])
    )
    wanted = replace(
        wanted, limit=bandwidth(opts), checksum=opts.checksum, target=names.image_path(path)
    )
    result = carry_out(opts, instance, wanted)
    cli.ToStdout(
        "Created image %s from %s on volume %s",
        result["path"],
        utils.FormatUnit(result["size"] / MIB, "h"),
        wanted.disks_volume.name,
    )
    return 0


def Remove(opts: Any, args: list[str]) -> int:
    """Remove snapshots, whole or not."""
    instance = _find(args[0])
    doomed = args[1:]
    place = _place(opts, instance)
    listed = _find_snapshots(place, instance, doomed)
    what = "snapshot %s of %s" % (", ".join(doomed), instance.name)
    shown = [(each.name, each.taken, sorted(each.images)) for each in listed]
    if opts.dry_run:
        for each in listed:
            cli.ToStdout(
                "Would remove snapshot %s of %s, taken %s (%s, %s)",
                each.name,
                instance.name,
                time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(each.taken)),
                disk_names(sorted(each.images)) or "incomplete",
                utils.FormatUnit(each.allocated / MIB, "h"),
            )
        plans.show(instance.uuid, *shown)
        return 0
    if not plans.is_agreed(opts, instance.uuid, *shown) and confirm(
        opts, "Remove %s?" % what, otherwise="No snapshot was removed"
    ):
        for before, now in zip(listed, _find_snapshots(place, instance, doomed), strict=True):
            _check_same(before, now)
    every = snapshots.choose(instance, None)
    for name in doomed:
        carry_out(opts, instance, _request(opts, request.REMOVE, instance, name, every))
        cli.ToStdout("Removed snapshot %s", name)
    return 0


def _find_snapshots(
    place: VolumeSpec, instance: snapshots.Instance, wanted: Sequence[str]
) -> list[catalogue.Snapshot]:
    with connect(place) as volume:
        return [catalogue.find(volume, instance.uuid, instance.paths, name) for name in wanted]


def _check_same(before: catalogue.Snapshot, now: catalogue.Snapshot) -> None:
    """Raise if it is another snapshot of the same name."""
    if (before.taken, sorted(before.images)) != (now.taken, sorted(now.images)):
        raise errors.OpPrereqError(
            "Snapshot %s has been replaced by another one since you were asked" % before.name,
            errors.ECODE_STATE,
        )


def _find(name: str) -> snapshots.Instance:
    (instance,) = snapshots.find([name])
    return instance


def _place(opts: Any, instance: snapshots.Instance) -> VolumeSpec:
    """The volume that has the snapshots."""
    spec = instance.volume
    if opts.host is not None and opts.volume is None:
        raise errors.OpPrereqError("--host requires --volume", errors.ECODE_INVAL)
    if opts.host is not None:
        return VolumeSpec.from_params({"volume": opts.volume, "host": opts.host})
    if opts.volume is not None:
        return spec._replace(name=names.volume_name(opts.volume))
    return spec


def _request(
    opts: Any,
    operation: str,
    instance: snapshots.Instance,
    name: str,
    disks: tuple[request.DiskRequest, ...],
) -> request.SnapshotRequest:
    return request.SnapshotRequest(
        operation=operation,
        instance=instance.name,
        instance_uuid=instance.uuid,
        name=name,
        disks=disks,
        disks_volume=instance.volume,
        snapshots_volume=_place(opts, instance),
        running=snapshots.is_running(instance),
    )


def carry_out(
    opts: Any, instance: snapshots.Instance, wanted: request.SnapshotRequest
) -> dict[str, Any]:
    """Have the node of the instance do it, and show how it goes."""
    terminal = Terminal()

    def listen(event: service.WorkerEvent) -> None:
        if event.get("event") == request.MESSAGE:
            terminal.end()
            if not getattr(opts, "json", False):
                cli.ToStdout("%s", event["text"])
        elif event.get("event") == request.PROGRESS:
            terminal(Progress(*(event[field] for field in Progress._fields)))

    try:
        return snapshots.carry_out(instance, wanted, listen)
    finally:
        terminal.end()


def disk_names(indices: list[int]) -> str:
    """Disks as people name them."""
    return ", ".join("disk/%d" % index for index in indices)


_ONE_NAMED = [cli.ArgInstance(min=1, max=1), cli.ArgUnknown(min=1, max=1)]

COMMANDS = {
    "disk snapshot": (
        Take,
        cli.ARGS_ONE_INSTANCE,
        [DISKS_OPT, NAME_OPT, KEEP_OPT, LIMIT_OPT, CHECKSUM_OPT, *PLACE_OPTS]
        + [cli.DRY_RUN_OPT, JSON_OPT],
        "[--disk N]... [--name NAME] [--keep N] <instance>",
        "Take a snapshot of all disks of an instance at the same instant",
    ),
    "disk snapshots": (
        List,
        cli.ARGS_MANY_INSTANCES,
        [JSON_OPT, cli.NOHDR_OPT, cli.SEP_OPT, *PLACE_OPTS],
        "[<instance>...]",
        "Show the snapshots of instances",
    ),
    "disk restore": (
        Restore,
        _ONE_NAMED,
        [
            DISKS_OPT,
            cli.CONFIRM_OPT,
            cli.FORCE_OPT,
            cli.DRY_RUN_OPT,
            LIMIT_OPT,
            CHECKSUM_OPT,
            *PLACE_OPTS,
        ],
        "[--disk N]... <instance> <snapshot>",
        "Restore the disks of a stopped instance from a snapshot",
    ),
    "disk clone": (
        Clone,
        [cli.ArgInstance(min=1, max=1), cli.ArgUnknown(min=2, max=2)],
        [DISK_OPT, LIMIT_OPT, CHECKSUM_OPT, *PLACE_OPTS],
        "[--disk N] <instance> <snapshot> <image>",
        "Create a new image from the snapshot of a disk",
    ),
    "disk remove-snapshot": (
        Remove,
        [cli.ArgInstance(min=1, max=1), cli.ArgUnknown(min=1)],
        [cli.CONFIRM_OPT, cli.FORCE_OPT, cli.DRY_RUN_OPT, PLAN_OPT, *PLACE_OPTS],
        "<instance> <snapshot>...",
        "Remove snapshots, including incomplete ones",
    ),
}
