"""The volume of a disk, as the job that modifies an instance sets it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.core import presence
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError, PatchRefused
from ganeti_gluster.patches import disk_volume

PATH = "ganeti/u.0"
CHANGE = {"volume": "gv1", "serial": "7", "old_image": "old", "new_image": "new"}


class OpPrereqError(Exception):
    """Ganeti's."""


class Cfg:
    """One instance whose group has the volume gv0; what was written last."""

    def __init__(self, template: str = "gluster", **own: str) -> None:
        logical_id = ("gluster", PATH)
        self.disk = SimpleNamespace(
            uuid="d0", dev_type=template, logical_id=logical_id, params=own, name=None
        )
        self.written: dict[str, str] | None = None

    def GetInstanceDisks(self, uuid: str) -> list[Any]:
        return [self.disk]

    def GetInstanceDiskParams(self, instance: object) -> dict[str, Any]:
        return {"gluster": {"volume": "gv0", "host": "node1", "port": 24007}, "ext": {}}

    def Update(self, disk: Any) -> None:
        self.written = dict(disk.params)


class LU:
    """Ganeti's job, as far as it goes for a disk; `running` is the instance's state."""

    def __init__(self, cfg: Cfg, *mods: Any, running: bool = False) -> None:
        self.cfg, self.running = cfg, running
        self.op = SimpleNamespace(disks=[list(mod) for mod in mods])
        self.instance = SimpleNamespace(uuid="u", name="vm1", serial_no=7)

    def _VerifyDiskModification(self, op: str, params: Any, excl: bool, access: object) -> None:
        if self.cfg.disk.dev_type != "ext" and set(params) - {"name", "mode"}:
            raise OpPrereqError("Unknown parameter %s" % ", ".join(sorted(params)))

    def CheckPrereq(self) -> None:
        for op, _, params in self.op.disks:
            self._VerifyDiskModification(op, params, False, {})

    def _ModifyDisk(self, idx: int, disk: Any, params: Any, private: object) -> list[Any]:
        changes = []
        if "name" in params:
            disk.name = params["name"]
            changes.append(("disk.name/%d" % idx, disk.name))
        if disk.dev_type == "ext":
            disk.params.update(params)
        self.cfg.Update(disk)
        return changes

    def go(self) -> list[Any]:
        self.CheckPrereq()
        changes: list[Any] = []
        for _, _, params in self.op.disks:
            changes += self._ModifyDisk(0, self.cfg.disk, params, None)
        return changes


def check_state(unit: Any, instance: Any, wanted: str, msg: str) -> None:
    assert wanted == "down"
    if unit.running:
        raise OpPrereqError("Instance %s is marked to be up, %s" % (instance.name, msg))


@pytest.fixture
def ganeti() -> Any:
    module = SimpleNamespace(
        LUInstanceSetParams=type("LUInstanceSetParams", (LU,), {}),
        CheckInstanceState=check_state,
        INSTANCE_DOWN="down",
        constants=SimpleNamespace(DT_GLUSTER="gluster", DDM_MODIFY="modify"),
        errors=SimpleNamespace(
            OpPrereqError=OpPrereqError, ECODE_STATE="wrong_state", ECODE_INVAL="wrong_input"
        ),
    )
    disk_volume.extend(module)
    return module.LUInstanceSetParams


@pytest.fixture(autouse=True)
def there(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The stamp of the image on each volume."""
    found: dict[str, Any] = {"gv0": "old", "gv1": "new"}

    def stamps(spec: VolumeSpec, paths: Any) -> dict[str, str]:
        if isinstance(found.get(spec.name), Exception):
            raise found[spec.name]
        return {path: found[spec.name] for path in paths if spec.name in found}

    monkeypatch.setattr(presence, "stamps", stamps)
    return found


@pytest.mark.parametrize("disk", ["d0", 0])
def test_a_disk_has_the_volume_of_its_new_image(ganeti: Any, disk: Any) -> None:
    cfg = Cfg()
    assert ganeti(cfg, ("modify", disk, dict(CHANGE))).go() == [("disk.volume/0", "gv1")]
    assert cfg.written == {"volume": "gv1"}


def test_on_the_volume_of_the_group_it_has_none_of_its_own(
    ganeti: Any, there: dict[str, Any]
) -> None:
    cfg = Cfg(volume="gv1")
    there.update(gv0="new", gv1="old")
    ganeti(cfg, ("modify", "d0", {**CHANGE, "volume": "gv0"})).go()
    assert cfg.written == {}


@pytest.mark.parametrize("volume", ["gv0", "gv1"])
@pytest.mark.parametrize("stamp", ["another", None])
def test_an_image_that_was_replaced_since_keeps_its_volume(
    ganeti: Any, there: dict[str, Any], volume: str, stamp: str | None
) -> None:
    cfg = Cfg()
    there[volume] = stamp
    if stamp is None:
        del there[volume]
    with pytest.raises(OpPrereqError, match="%s of volume %s has been replaced" % (PATH, volume)):
        ganeti(cfg, ("modify", "d0", dict(CHANGE))).go()
    assert cfg.written is None


def test_an_instance_that_was_changed_since_keeps_its_volume(ganeti: Any) -> None:
    cfg = Cfg()
    with pytest.raises(OpPrereqError, match="Instance vm1 has been changed since"):
        ganeti(cfg, ("modify", "d0", {**CHANGE, "serial": "6"})).go()
    assert cfg.written is None


def test_a_volume_that_does_not_answer(ganeti: Any, there: dict[str, Any]) -> None:
    there["gv1"] = GanetiGlusterError("volume gv1: no brick answers")
    with pytest.raises(OpPrereqError, match="volume gv1: no brick answers"):
        ganeti(Cfg(), ("modify", "d0", dict(CHANGE))).go()


def test_a_name_that_no_volume_has(ganeti: Any) -> None:
    with pytest.raises(OpPrereqError, match="volume"):
        ganeti(Cfg(), ("modify", "d0", {**CHANGE, "volume": "a/b"})).go()


def test_an_instance_that_runs_keeps_its_volume(ganeti: Any) -> None:
    cfg = Cfg()
    with pytest.raises(OpPrereqError, match="marked to be up"):
        ganeti(cfg, ("modify", "d0", dict(CHANGE)), running=True).go()
    assert cfg.written is None


@pytest.mark.parametrize(
    ("disk", "change"),
    [
        ("d0", {"volume": "gv1"}),
        (0, {"volume": "gv1"}),
        (1, CHANGE),
        ("d7", CHANGE),
        ("d0", {"old_image": "old"}),
    ],
)
def test_by_hand_it_is_not_changed(ganeti: Any, disk: Any, change: dict[str, str]) -> None:
    cfg = Cfg()
    with pytest.raises(OpPrereqError, match="is changed by gnt-gluster disk move"):
        ganeti(cfg, ("modify", disk, dict(change))).go()
    assert cfg.written is None


def test_all_else_is_ganetis(ganeti: Any) -> None:
    cfg = Cfg(volume="gv1")
    assert ganeti(cfg, ("modify", 0, {"name": "data"}), running=True).go()
    assert (cfg.disk.name, cfg.written) == ("data", {"volume": "gv1"})
    with pytest.raises(OpPrereqError, match="Unknown parameter colour"):
        ganeti(cfg, ("modify", 0, {"colour": "red"})).go()
    with pytest.raises(OpPrereqError, match="Unknown parameter size, volume"):
        ganeti(cfg, ("add", -1, {"volume": "gv1", "size": 1})).go()


def test_a_disk_of_another_template_keeps_what_it_is_given(ganeti: Any) -> None:
    cfg = Cfg("ext", provider="gluster", volume="gv0")
    ganeti(cfg, ("modify", 0, {"volume": "gv1"})).go()
    assert cfg.written == {"provider": "gluster", "volume": "gv1"}


def test_another_ganeti_is_left_as_it_is() -> None:
    with pytest.raises(PatchRefused, match="instance_set_params is not as expected"):
        disk_volume.extend(SimpleNamespace(constants=None))
