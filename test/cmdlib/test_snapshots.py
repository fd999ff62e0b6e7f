"""An operation on snapshots is carried out where the instance is, as it is by then."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ganeti_cli import OpPrereqError
from ganeti_master import Master

from ganeti_gluster.core.snapshot import request, service
from ganeti_gluster.core.snapshot.request import SnapshotRequest

from .conftest import Part


class Snapshots:
    """An instance with two disks, and what its node is told."""

    def __init__(self, module: Any, master: Master) -> None:
        self.module = module
        self.master = master
        self.told: list[SnapshotRequest] = []
        self.argv: list[str] = []

    def converse(
        self, argv: list[str], name: str, ask: Callable[[], SnapshotRequest], listen: object
    ) -> dict[str, Any]:
        self.argv = argv
        self.told.append(ask())
        return {}

    def query_data(self, **fields: Any) -> Any:
        assert fields["use_locking"]
        row = self.master.instances["vm1"]
        disks = [
            {"uuid": uuid, "logical_id": self.master.config["disks"][uuid]["logical_id"]}
            for uuid in self.master.config["instances"]["u-vm1"]["disks"]
        ]
        return {"vm1": {"pnode": row["pnode"], "disks": disks}}

    def carry_out(self, meanwhile: Callable[[], None] = lambda: None) -> SnapshotRequest:
        (instance,) = self.module.find(["vm1"])
        wanted = SnapshotRequest(
            operation=request.TAKE,
            instance="vm1",
            instance_uuid=instance.uuid,
            name="s",
            disks=self.module.choose(instance, None),
            disks_volume=instance.volume,
            snapshots_volume=instance.volume,
            running=bool(instance.running),
        )
        meanwhile()
        self.module.carry_out(instance, wanted, lambda event: None)
        return self.told[-1]


@pytest.fixture
def snapshots(part: Part, master: Master, monkeypatch: pytest.MonkeyPatch) -> Snapshots:
    use = part("pool_use")
    use.use(master, use.params_for("gv0", ["node1"]), None)
    master.add_instance("vm1", {}, {})
    found = Snapshots(part("snapshots"), master)
    monkeypatch.setattr(master, "_InstanceQueryData", found.query_data, raising=False)
    monkeypatch.setattr(service, "converse", found.converse)
    monkeypatch.setattr(part("cluster_config"), "live", lambda: master.config)
    channel = SimpleNamespace(argv=lambda node, argv: ["ssh", node, *argv])
    monkeypatch.setattr(part("cluster"), "SshChannel", lambda: channel)
    return found


def test_it_is_done_on_the_primary_node(snapshots: Snapshots) -> None:
    told = snapshots.carry_out()
    assert snapshots.argv[:2] == ["ssh", "node1"]
    assert ([disk.path for disk in told.disks], told.running) == (
        ["ganeti/vm1.0", "ganeti/vm1.1"],
        True,
    )


def test_whether_it_runs_is_asked_once_no_job_has_it(snapshots: Snapshots) -> None:
    row = snapshots.master.instances["vm1"]
    assert not snapshots.carry_out(lambda: row.update(oper_state=False)).running


def test_a_node_that_does_not_tell_by_then_is_not_taken_for_one_without_the_instance(
    snapshots: Snapshots,
) -> None:
    row = snapshots.master.instances["vm1"]
    with pytest.raises(OpPrereqError) as failure:
        snapshots.carry_out(lambda: row.update(oper_state=None))
    assert failure.value.args == (
        "Node node1, the primary node of instance vm1, does not answer",
        "wrong_state",
    )
    assert snapshots.told == []


@pytest.mark.parametrize(
    "change", ["moved", "disk replaced", "disk removed", "disk added", "disk on another volume"]
)
def test_an_instance_that_a_job_has_changed_meanwhile(snapshots: Snapshots, change: str) -> None:
    master = snapshots.master

    def meanwhile() -> None:
        if change == "moved":
            master.instances["vm1"]["pnode"] = "node2"
        elif change == "disk replaced":
            master.config["disks"]["vm1-disk1"]["logical_id"] = ["gluster", "ganeti/new"]
        elif change == "disk added":
            master.config["disks"]["new"] = {
                **master.config["disks"]["vm1-disk1"],
                "logical_id": ["gluster", "ganeti/new"],
            }
            master.config["instances"]["u-vm1"]["disks"].append("new")
        elif change == "disk on another volume":  # by `disk move`, with the same path
            master.config["disks"]["vm1-disk1"]["params"] = {"volume": "gv1"}
        else:
            master.config["instances"]["u-vm1"]["disks"].pop()

    with pytest.raises(OpPrereqError) as failure:
        snapshots.carry_out(meanwhile)
    assert failure.value.args == (
        "Another job has changed instance vm1 in the meantime; try again",
        "wrong_state",
    )
    assert snapshots.told == []
