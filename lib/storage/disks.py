"""Where a disk of Ganeti's configuration is: its volume, and the image's path there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ganeti import constants as ganeti_constants

from ganeti_gluster import constants


def place(
    disk: Mapping[str, Any], template: Mapping[str, Any]
) -> tuple[Mapping[str, Any], str] | None:
    """A disk's volume and path, None if it is not on Gluster."""
    kind = disk.get("dev_type")
    if kind == ganeti_constants.DT_GLUSTER:
        # As Ganeti fills them in: a disk that was moved has a volume of its own.
        return {**template, **(disk.get("params") or {})}, disk["logical_id"][1]
    params = ext_params(disk)
    return (
        None
        if params is None
        else (params, "%s/%s" % (constants.EXT_DIRECTORY, disk["logical_id"][1]))
    )


def ext_params(disk: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The volume of a disk of our ExtStorage provider, None for any other disk."""
    if (
        disk.get("dev_type") != ganeti_constants.DT_EXT
        or disk["logical_id"][0] != constants.EXT_PROVIDER
    ):
        return None
    return {"host": "127.0.0.1", **(disk.get("params") or {})}
