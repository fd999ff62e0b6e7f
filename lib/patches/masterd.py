"""A correction of the job that makes a backup (`ganeti.masterd.instance`).

`ExportInstanceHelper.CreateSnapshots` treats the snapshot of any disk but an ext one as an LVM
volume.  Ganeti would look for, export and remove a volume group that does not exist.
"""

from __future__ import annotations

import functools
from typing import Any

from ganeti_gluster.errors import PatchRefused

_METHODS = ("CreateSnapshots", "_RemoveSnapshot", "_SnapshotsReady")


def extend(module: Any) -> None:
    """Let the snapshot of a gluster disk be a gluster disk."""
    helper = getattr(module, "ExportInstanceHelper", None)
    missing = [name for name in _METHODS if not callable(getattr(helper, name, None))]
    if helper is None or missing:
        raise PatchRefused("masterd.instance.ExportInstanceHelper is not as expected")
    create, remove = helper.CreateSnapshots, helper._RemoveSnapshot

    @functools.wraps(create)
    def create_snapshots(self: Any) -> Any:
        result = create(self)
        _correct(module, self)
        return result

    @functools.wraps(remove)
    def remove_snapshot(self: Any, disk_index: int) -> Any:
        # CreateSnapshots itself removes the others where one failed.
        _correct(module, self)
        return remove(self, disk_index)

    helper.CreateSnapshots = create_snapshots
    helper._RemoveSnapshot = remove_snapshot


def _correct(module: Any, helper: Any) -> None:
    """Give the snapshots of gluster disks the template and parameters of their disks."""
    template = module.constants.DT_GLUSTER
    disks = helper._lu.cfg.GetInstanceDisks(helper._instance.uuid)
    for disk, snapshot in zip(disks, helper._snapshots, strict=True):
        if snapshot is not None and disk.dev_type == template:
            snapshot.dev_type = template
            snapshot.params = dict(disk.params or {})
