"""The snapshot of a gluster disk in Ganeti's job that makes a backup."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ganeti_gluster.errors import PatchRefused
from ganeti_gluster.patches import masterd


def module(fails=()):
    """`ganeti.masterd.instance` with what its helper does of snapshots."""

    class ExportInstanceHelper:
        def __init__(self, lu, feedback_fn, instance):
            self._lu, self._instance = lu, instance
            self._snapshots = [None] * len(instance.disks)
            self.removed = []

        def _SnapshotsReady(self):
            return all(self._snapshots)

        def CreateSnapshots(self):
            for idx, disk in enumerate(self._instance.disks):
                if idx not in fails:
                    template = "ext" if disk.dev_type == "ext" else "plain"
                    self._snapshots[idx] = SimpleNamespace(
                        dev_type=template, params={"stripes": 1, **disk.params}
                    )
            if not self._SnapshotsReady():
                self.Cleanup()
            return self._SnapshotsReady()

        def _RemoveSnapshot(self, disk_index):
            if self._snapshots[disk_index]:
                self.removed.append(self._snapshots[disk_index].dev_type)

        def Cleanup(self):
            for idx in range(len(self._snapshots)):
                self._RemoveSnapshot(idx)

    made = SimpleNamespace(
        constants=SimpleNamespace(DT_GLUSTER="gluster"), ExportInstanceHelper=ExportInstanceHelper
    )
    masterd.extend(made)
    return made


def helper(made, *templates):
    disks = [SimpleNamespace(dev_type=name, params={"of": name}) for name in templates]
    cfg = SimpleNamespace(GetInstanceDisks=lambda uuid: disks)
    instance = SimpleNamespace(uuid="i", disks=disks)
    return made.ExportInstanceHelper(SimpleNamespace(cfg=cfg), print, instance)


def test_the_snapshot_of_a_gluster_disk_is_one_and_others_stay():
    found = helper(module(), "gluster", "ext", "drbd")
    assert found.CreateSnapshots()
    assert [(snap.dev_type, snap.params) for snap in found._snapshots] == [
        ("gluster", {"of": "gluster"}),
        ("ext", {"stripes": 1, "of": "ext"}),
        ("plain", {"stripes": 1, "of": "drbd"}),
    ]


def test_one_is_removed_as_what_it_is_when_another_fails():
    found = helper(module(fails=[1]), "gluster", "gluster")
    assert not found.CreateSnapshots()
    assert found.removed == ["gluster"]


def test_an_unknown_helper_is_refused():
    with pytest.raises(PatchRefused):
        masterd.extend(SimpleNamespace())
