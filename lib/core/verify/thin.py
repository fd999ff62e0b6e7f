"""What is left of the LVM thin pool below a file system.

A file system on a thin volume shows the space that it was promised.  Once the pool is full, its
writes fail, whatever it shows.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import command

BLOCK_DEVICES = Path("/sys/dev/block")
#: Seconds for LVM to answer.
SECONDS = 10.0
_OF_LVM = "LVM-"


def left(device: int, *, run: command.Run = command.run) -> int | None:
    """The bytes left in the pool of a device by its number; None where there is no pool.

    None as well where LVM does not tell, as it may in a unit that may not use its devices.
    """
    mapped = BLOCK_DEVICES / ("%d:%d" % (os.major(device), os.minor(device))) / "dm"
    try:
        if not (mapped / "uuid").read_text(encoding="ascii").startswith(_OF_LVM):
            return None
        name = "/dev/mapper/" + (mapped / "name").read_text(encoding="ascii").strip()
        volume = _ask("vg_name,pool_lv", name, run)
        if not volume["pool_lv"]:
            return None
        pool = _ask("lv_size,data_percent", "%s/%s" % (volume["vg_name"], volume["pool_lv"]), run)
        return int(int(pool["lv_size"]) * (1 - float(pool["data_percent"]) / 100))
    except (OSError, GanetiGlusterError, ValueError, LookupError, TypeError):
        return None


def argv(fields: str, name: str) -> list[str]:
    """The question for some fields of a logical volume; see lvs(8)."""
    report = ["--reportformat", "json", "--units", "b", "--nosuffix", "--options", fields]
    return ["lvs", *report, name]


def _ask(fields: str, name: str, run: command.Run) -> dict[str, Any]:
    answer = json.loads(run(argv(fields, name), timeout=SECONDS).stdout)
    found: dict[str, Any] = answer["report"][0]["lv"][0]
    return found
