"""`gnt-gluster backup mount` and `umount`: the disks of backups and snapshots as devices."""

from __future__ import annotations

from typing import Any

from ganeti import cli, errors

from ganeti_gluster.client.backup import FROM_OPT, open_repository
from ganeti_gluster.cmdlib import snapshots
from ganeti_gluster.core.backup import mounts
from ganeti_gluster.core.backup.mounts import Mount
from ganeti_gluster.core.snapshot import catalogue
from ganeti_gluster.core.volume import connect

SNAPSHOT_OPT = cli.cli_option(
    "--snapshot",
    dest="snapshot",
    default=None,
    metavar="NAME",
    help="A snapshot of the instance in the place of a backup",
)


def Attach(opts: Any, args: list[str]) -> int:
    """Make the disks block devices of this node."""
    if opts.snapshot is not None:
        if opts.repository is not None or len(args) > 1:
            raise errors.OpPrereqError("Name a backup or a snapshot", errors.ECODE_INVAL)
        mount, words, properties = _snapshot(args[0], opts.snapshot)
    else:
        with open_repository(opts) as repository:
            backup = repository.find(args[0], args[1] if len(args) > 1 else None)
        mount = Mount(backup.instance, backup.name)
        words, properties = mounts.of_backup(opts.repository, backup.instance, backup.name)
    for number, device in sorted(mount.start(words, properties).items()):
        cli.ToStdout("disk/%d of %s: %s", number, mount.name, device)
    return 0


def _snapshot(instance_name: str, text: str) -> tuple[Mount, list[str], list[str]]:
    (instance,) = snapshots.find([instance_name])
    name = catalogue.check_name(text)
    with connect(instance.volume) as volume:
        found = catalogue.find_complete(volume, instance.uuid, instance.paths, name)
    images = {number: image.path for number, image in found.images.items()}
    return Mount(instance.name, name), *mounts.of_snapshot(instance.volume, images)


def Umount(opts: Any, args: list[str]) -> int:
    """Give the devices back: all on this node, those of an instance, or of one backup."""
    chosen = [
        each
        for each in mounts.every()
        if not args or args in ([each.instance], [each.instance, each.name])
    ]
    if args and not chosen:
        raise errors.OpPrereqError("Nothing of this is mounted here", errors.ECODE_NOENT)
    for each in chosen:
        each.stop()
        cli.ToStdout("Unmounted %s of %s", each.name, each.instance)
    return 0


COMMANDS = {
    "backup mount": (
        Attach,
        [cli.ArgUnknown(min=1, max=1), cli.ArgUnknown(max=1)],
        [FROM_OPT, SNAPSHOT_OPT],
        "{--from <repository> <instance> [<backup>] | --snapshot <name> <instance>}",
        "Make the disks of a backup or a snapshot read-only block devices of this node",
    ),
    "backup umount": (
        Umount,
        [cli.ArgUnknown(max=1), cli.ArgUnknown(max=1)],
        [],
        "[<instance> [<backup>]]",
        "Take these devices away",
    ),
}
