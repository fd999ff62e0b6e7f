"""`gnt-gluster volume`: the volumes with disks, as this node sees them."""

from __future__ import annotations

import json
from typing import Any

from ganeti import cli, errors

from ganeti_gluster.client.options import JSON_OPT
from ganeti_gluster.client.stepwise import Say
from ganeti_gluster.cmdlib import pool_heal, pool_nodes, volumes
from ganeti_gluster.constants import MIB
from ganeti_gluster.core.pool import steps
from ganeti_gluster.errors import GanetiGlusterError, in_words
from ganeti_gluster.tools import names

_HEADERS = {
    "volume": "Volume",
    "servers": "Servers",
    "groups": "Groups",
    "total": "Total",
    "used": "Used",
    "free": "Free",
    "disks": "Disks",
    "provisioned": "Provisioned",
}
_SIZES = ["total", "used", "free", "provisioned"]


def ShowStatus(opts: Any, args: list[str]) -> int:
    """Print the space of each volume, and what is promised of it; 0 only if all answer."""
    states = [status(volume) for volume in volumes.find()]
    unknown = sorted(set(args) - {volume["volume"] for volume in states})
    if unknown:
        raise errors.OpPrereqError(
            "No node group uses the volume %s" % ", ".join(unknown), errors.ECODE_NOENT
        )
    states = [volume for volume in states if not args or volume["volume"] in args]
    if opts.json:
        cli.ToStdout("%s", json.dumps(states, indent=2, sort_keys=True))
    else:
        _print_table(opts, states)
    return 1 if any("error" in volume for volume in states) else 0


def status(used: volumes.UsedVolume) -> dict[str, Any]:
    """One volume as plain data, in bytes; `error` if its space could not be read."""
    result: dict[str, Any] = {
        "volume": used.spec.name,
        "servers": [names.server(*server) for server in used.spec.servers],
        "groups": used.groups,
        "disks": used.disks,
        "provisioned": used.provisioned,
    }
    try:
        space = volumes.space(used.spec)
    except (GanetiGlusterError, OSError) as err:
        result["error"] = in_words(err)
    else:
        result.update(total=space.total, free=space.free, used=space.total - space.free)
    return result


def _print_table(opts: Any, states: list[dict[str, Any]]) -> None:
    fields = list(_HEADERS)
    rows = []
    for volume in states:
        shown = {
            **dict.fromkeys(_SIZES, "?"),
            **volume,
            **{field: volume[field] // MIB for field in _SIZES if field in volume},
            "servers": ",".join(volume["servers"]),
            "groups": ",".join(volume["groups"]) or "-",
        }
        rows.append([shown[field] for field in fields])
    for line in cli.GenerateTable(
        headers=None if opts.no_headers else _HEADERS,
        fields=fields,
        separator=opts.separator,
        unitfields=_SIZES,
        numfields=[*_SIZES, "disks"],
        units=opts.units,
        data=rows,
    ):
        cli.ToStdout("%s", line)
    for volume in states:
        if "error" in volume:
            cli.ToStderr("%s", volume["error"])
    if not states:
        cli.ToStderr("No node group uses a volume")


def Heal(opts: Any, args: list[str]) -> int:
    """Start a heal and wait for it; 0 only if nothing is left to heal."""
    name = names.volume_name(args[0])
    with pool_nodes.exclusive():
        steps.run(pool_heal.steps(name, cli.GetClient(), pool_nodes.agents(), Say), Say)
    return 0


COMMANDS = {
    "volume heal": (
        Heal,
        [cli.ArgUnknown(min=1, max=1)],
        [],
        "<volume>",
        "Start a heal of a volume, and wait until nothing is left to heal",
    ),
    "volume status": (
        ShowStatus,
        [cli.ArgUnknown()],
        [JSON_OPT, cli.NOHDR_OPT, cli.SEP_OPT, cli.USEUNITS_OPT],
        "[<volume>...]",
        "Show the total and free space of the volumes that have disks",
    ),
}
