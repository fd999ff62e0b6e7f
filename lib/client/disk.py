"""`gnt-gluster disk`: the images of instances, as the volume has them."""

from __future__ import annotations

import json
import stat
from typing import Any

from ganeti import cli, errors, utils

from ganeti_gluster import health, image
from ganeti_gluster.client.options import JSON_OPT
from ganeti_gluster.cmdlib import instance_disks
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.gfapi import Volume
from ganeti_gluster.serve.holder import holder_of
from ganeti_gluster.storage import node_names
from ganeti_gluster.volume import connect

MIB = 1024 * 1024


def ShowInfo(opts: Any, args: list[str]) -> int:
    """Print what the volume knows of each disk; 0 only if all could be read."""
    if not args:
        raise errors.OpPrereqError("Name at least one instance", errors.ECODE_INVAL)
    disks = [describe(disk) for disk in instance_disks.find(args)]
    if opts.json:
        cli.ToStdout("%s", json.dumps(disks, indent=2, sort_keys=True))
    else:
        for disk in disks:
            _print(disk)
        if not disks:
            cli.ToStderr("No gluster disks: %s", ", ".join(args))
    return 1 if any("error" in disk for disk in disks) else 0


def describe(disk: instance_disks.InstanceDisk) -> dict[str, Any]:
    """One disk as plain data: sizes in bytes, `error` where the volume did not tell."""
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
            found = image.stat(volume, disk.path)
            state = health.check(volume, disk.path)
            result.update(
                size=found.size,
                allocated=found.allocated,
                mode="%04o" % stat.S_IMODE(found.mode),
                owner=[found.uid, found.gid],
                info=image.get_info(volume, disk.path),
                degraded=state.degraded,
                split_brain=state.split_brain,
                state=state.detail,
                open_on=_open_on(volume, disk.path),
            )
    except (GanetiGlusterError, OSError) as err:
        result["error"] = str(err)
    return result


def _open_on(volume: Volume, path: str) -> str:
    """The node that has the image open and how, in words; empty where none has."""
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
            ("info", disk["info"] or "-"),
        ]
    for name, value in lines:
        cli.ToStdout("  %-12s %s", name + ":", value)


def _size(size: int) -> str:
    return "%s (%d bytes)" % (utils.FormatUnit(size / MIB, "h"), size)


COMMANDS = {
    "disk info": (
        ShowInfo,
        cli.ARGS_MANY_INSTANCES,
        [JSON_OPT],
        "<instance>...",
        "Show what the volume knows of the disks of instances",
    ),
}
