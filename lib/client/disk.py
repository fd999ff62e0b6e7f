"""`gnt-gluster disk`: the images of instances on their volumes."""

from __future__ import annotations

import json
import stat
from typing import Any

from ganeti import cli, errors, utils

from ganeti_gluster.client.options import JSON_OPT, LIMIT_OPT, bandwidth, confirm
from ganeti_gluster.client.snapshot import shown
from ganeti_gluster.cmdlib import disk_move, evict, evictions, instance_disks, open_images
from ganeti_gluster.cmdlib.cluster import SshChannel
from ganeti_gluster.constants import MIB
from ganeti_gluster.core import health, image
from ganeti_gluster.core.serve.holder import holder_of, node_number
from ganeti_gluster.core.volume import connect
from ganeti_gluster.errors import GanetiGlusterError, in_words
from ganeti_gluster.storage import node_names
from ganeti_gluster.tools import decode, names
from ganeti_gluster.tools.gfapi import Volume


def ShowInfo(opts: Any, args: list[str]) -> int:
    """Print what the volume knows of each disk; 0 only if all could be read."""
    if not args:
        raise errors.OpPrereqError("Name at least one instance", errors.ECODE_INVAL)
    disks = [describe(disk) for disk in instance_disks.find(args)]
    _ask_servers(disks)
    if opts.json:
        cli.ToStdout("%s", json.dumps(disks, indent=2, sort_keys=True))
    else:
        for disk in disks:
            _print(disk)
        if not disks:
            cli.ToStderr("No gluster disks: %s", ", ".join(args))
    return 1 if any("error" in disk for disk in disks) else 0


def describe(disk: instance_disks.InstanceDisk) -> dict[str, Any]:
    """One disk as plain data: sizes in bytes, `error` if the volume did not answer."""
    result: dict[str, Any] = {
        "instance": disk.instance,
        "disk": disk.index,
        "uuid": disk.uuid,
        "volume": disk.spec.name,
        "path": disk.path,
        "configured_size": disk.size * MIB,
    }
    try:
        with connect(disk.spec) as volume:
            info = image.stat(volume, disk.path)
            state = health.check(volume, disk.path)
            result.update(
                size=info.size,
                allocated=info.allocated,
                mode="%04o" % stat.S_IMODE(info.mode),
                owner=[info.uid, info.gid],
                info=image.get_info(volume, disk.path),
                degraded=state.degraded,
                split_brain=state.split_brain,
                state=state.detail,
                open_on=_open_on(volume, disk.path),
                served="",
            )
    except (GanetiGlusterError, OSError) as err:
        result["error"] = in_words(err)
    return result


def _ask_servers(disks: list[dict[str, Any]]) -> None:
    """Add how the image's server does, of images that are open on a node."""
    node_of = {
        id(disk): disk["open_on"].removeprefix("node ").split(" ")[0]
        for disk in disks
        if disk.get("open_on", "").startswith("node ")
    }
    known = set(node_names.every())
    answers = open_images.statuses(
        {node for node in node_of.values() if node in known}, SshChannel()
    )
    for disk in disks:
        served = answers.get(node_of.get(id(disk), ""), {})
        key = names.unit_key(disk["volume"], disk["path"])
        if key in served:
            disk["served"] = open_images.in_words(served[key])


def Evict(opts: Any, args: list[str]) -> int:
    """Take the images of an instance from the node that has them."""
    disks = instance_disks.find(args)
    nodes = node_names.every()
    by_number = {node_number(node): node for node in nodes}
    held: dict[str, list[Any]] = {}
    for disk in disks:
        number = evict.last_holder(disk.spec, disk.path, nodes)
        if number and number not in by_number:
            raise GanetiGlusterError(
                "image %s of volume %s is open on a machine that is not a node of this cluster"
                % (disk.path, disk.spec.name),
                hint="stop what uses it there",
            )
        if number:
            held.setdefault(by_number[number], []).append((disk.spec, disk.path))
    if not held:
        cli.ToStdout("No node has an image of %s open.", args[0])
        return 0
    for node, images in sorted(held.items()):
        cli.ToStdout("%s: %s", node, ", ".join(path for _, path in images))
    if opts.dry_run:
        return 0
    confirm(
        opts,
        "Take these images from %s? A guest that uses them there is killed, and other guests"
        " there pause for a moment." % " and ".join(sorted(held)),
        otherwise="No image was taken from a node",
    )
    for node, images in sorted(held.items()):
        still = [
            (spec, path)
            for spec, path in images
            if by_number.get(evict.last_holder(spec, path, nodes)) == node
        ]
        evictions.take_from(node, still)
        cli.ToStdout("Taken from %s; the instance can be started on another node.", node)
    return 0


def Move(opts: Any, args: list[str]) -> int:
    """Move the disks of a stopped instance to another volume."""
    if opts.volume is None:
        raise errors.OpPrereqError("--volume: name the volume", errors.ECODE_INVAL)
    asked = disk_move.Asked(args[0], opts.volume, bandwidth(opts))
    with shown(opts) as listen:
        moved = disk_move.move(asked, listen)
    if not moved:
        cli.ToStdout("All disks of %s are on volume %s", args[0], opts.volume)
    for disk in moved:
        words = (disk.index, disk.instance, disk.spec.name, opts.volume)
        cli.ToStdout("Moved disk/%d of %s from volume %s to %s", *words)
    return 0


def _open_on(volume: Volume, path: str) -> str:
    """The node that has the image open and how, in words; empty if none has."""
    holder = holder_of(volume, path)
    if holder is None:
        return ""
    return "%s (%s)" % (holder.name(node_names.every()), holder.mode)


def _print(disk: dict[str, Any]) -> None:
    cli.ToStdout("%s disk/%d", disk["instance"], disk["disk"])
    lines = [
        ("image", "%s on volume %s" % (disk["path"], disk["volume"])),
        ("configured", _size(disk["configured_size"])),
    ]
    if "error" in disk:
        lines.append(("error", disk["error"]))
    else:
        lines += [
            ("size", _size(disk["size"])),
            ("allocated", _size(disk["allocated"])),
            ("owner, mode", "%d:%d %s" % (*disk["owner"], disk["mode"])),
            ("state", disk["state"] or "healthy"),
            ("open on", disk["open_on"].removeprefix("node ") or "-"),
            *([("server", disk["served"])] if disk["served"] else []),
            ("info", disk["info"] or "-"),
        ]
    for name, value in lines:
        # Attributes on the volume may hold anything.
        cli.ToStdout("  %-12s %s", name + ":", decode.printable(value))


def _size(size: int) -> str:
    return "%s (%d bytes)" % (utils.FormatUnit(size / MIB, "h"), size)


VOLUME_OPT = cli.cli_option(
    "--volume", dest="volume", default=None, metavar="VOLUME", help="Volume to move the disks to"
)

COMMANDS = {
    "disk info": (
        ShowInfo,
        cli.ARGS_MANY_INSTANCES,
        [JSON_OPT],
        "<instance>...",
        "Show the images of instances' disks on their volumes",
    ),
    "disk evict": (
        Evict,
        cli.ARGS_ONE_INSTANCE,
        [cli.DRY_RUN_OPT, cli.CONFIRM_OPT, cli.FORCE_OPT],
        "[--yes] <instance>",
        "Take an instance's images from a node that does not release them",
    ),
    "disk move": (
        Move,
        cli.ARGS_ONE_INSTANCE,
        [VOLUME_OPT, LIMIT_OPT],
        "--volume=VOLUME [--bandwidth-limit=MIB] <instance>",
        "Move the disks of a stopped instance to another volume",
    ),
}
