"""Corrections of Ganeti's Xen code, which treats every gluster disk as a file.

Xen needs to know whether a disk is a file or a block device, and Ganeti decides by the template;
with this package's class the path is a block device.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from ganeti_gluster.errors import PatchRefused


def extend(module: Any) -> None:
    """Have `hv_xen` name a gluster disk that is a block device `phy:`.

    One that is a file, as stock Ganeti's class gives, stays what it was.
    """
    original = module._GetConfigFileDiskData
    if list(inspect.signature(original).parameters)[:2] != ["block_devices", "blockdev_prefix"]:
        raise PatchRefused("hv_xen._GetConfigFileDiskData is not as expected")
    template = module.constants.DT_GLUSTER

    def _GetConfigFileDiskData(
        block_devices: list[Any], blockdev_prefix: str, *args: Any, **kwargs: Any
    ) -> list[str]:
        lines: list[str] = original(block_devices, blockdev_prefix, *args, **kwargs)
        return [
            as_device(line, path) if disk.dev_type == template else line
            for line, (disk, path, _) in zip(lines, block_devices, strict=True)
        ]

    _GetConfigFileDiskData.__doc__ = original.__doc__
    module._GetConfigFileDiskData = _GetConfigFileDiskData


def as_device(line: str, path: str) -> str:
    """A disk's line of a Xen configuration, with the driver that its path needs."""
    driver, colon, rest = line.partition(":")
    if not colon or not rest.startswith("%s," % path) or not Path(path).is_block_device():
        return line
    return "%sphy:%s" % (driver[: len(driver) - len(driver.lstrip("'\""))], rest)
