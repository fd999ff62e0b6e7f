"""When a node may be taken away, what happens to it in Ganeti, and what brings it back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ganeti_master import Master
from gluster_pool import GlusterPool, volume

from ganeti_gluster.core.pool import absence
from ganeti_gluster.core.pool.steps import Step, StepFailed, run
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.gluster_cli import BrickHeal

from .conftest import Part

THREE = ("node1", "node2", "node3")


class Maintenance:
    """Three members with a brick each; node1 is the master."""

    def __init__(self, module: Any, pool: GlusterPool, master: Master) -> None:
        self.module = module
        self.pool = pool
        self.master = master
        self.said: list[str] = []

    def on(self, node: str = "node3", how: str = "", target: str | None = None) -> list[Step]:
        away = self.module.Away(how, target)
        steps: list[Step] = self.module.entering(
            node, self.master, self.pool, away, self.said.append
        )
        return steps

    def off(self, node: str = "node3") -> list[Step]:
        steps: list[Step] = self.module.leaving(node, self.master, self.pool, self.said.append)
        return steps

    def state(self, node: str = "node3") -> tuple[str, list[str]]:
        row = self.master.nodes[node]
        return row["role"], sorted(row["tags"])


@pytest.fixture
def node(
    part: Part, in_pool: Callable[[Any], Any], master: Master, monkeypatch: pytest.MonkeyPatch
) -> Maintenance:
    pool = in_pool(GlusterPool(volume(*THREE)))
    master.nodes["node1"]["role"] = "M"
    found = Maintenance(part("node_maintenance"), pool, master)
    monkeypatch.setattr(
        part("node_maintenance").Healer,
        "heal",
        lambda self, volume, node="", path="": found.said.append("healed %s" % volume),
    )
    monkeypatch.setattr(absence, "BRICK_SECONDS", 0)
    monkeypatch.setattr(absence, "PEER_SECONDS", 0)
    return found


def texts(steps: list[Step]) -> list[str]:
    return [step.text for step in steps]


# -- on ----------------------------------------------------------------------


def test_nothing_is_placed_on_a_node_in_maintenance(node: Maintenance) -> None:
    steps = node.on()
    assert texts(steps) == [
        "node3: marked as in maintenance, and drained in Ganeti",
        "node3: not needed by the pool or by instances",
    ]
    run(steps, node.said.append)
    assert node.state() == ("D", ["gluster:maintenance"])
    assert node.master.done == ["TagsSet", "NodeSetParams"]
    run(node.on(), node.said.append)
    assert node.master.done == ["TagsSet", "NodeSetParams"]


def test_it_goes_on_where_it_was_interrupted(node: Maintenance) -> None:
    node.master.nodes["node3"]["tags"] = ["gluster:maintenance"]
    run(node.on(), node.said.append)
    assert node.state() == ("D", ["gluster:maintenance"])


@pytest.mark.parametrize("how", ["migrate", "failover"])
def test_instances_are_moved_by_ganeti(node: Maintenance, how: str) -> None:
    node.master.add_instance("web1", pnode="node3")
    node.master.add_instance("web2", pnode="node3", state="down")
    node.master.add_instance("web3", pnode="node2")
    steps = node.on(how=how, target="node2")
    done = {"migrate": "migrated", "failover": "failed over"}[how]
    moved = "instance web1 %s from node3 to node2" % done
    assert texts(steps)[1:-1] == [moved]
    run(steps, node.said.append)
    assert [row["pnode"] for row in node.master.instances.values()] == ["node2", "node3", "node2"]
    assert node.master.done[-1] == "Instance%s" % how.capitalize()


@pytest.mark.parametrize(("iallocator", "chosen"), [("hail", "node1"), ("", "node2")])
def test_who_chooses_the_new_node(node: Maintenance, iallocator: str, chosen: str) -> None:
    node.master.info["default_iallocator"] = iallocator
    node.master.nodes["node2"]["mfree"] = 4096
    node.master.nodes["node4"] = node.master.node("node4", mfree=9999, group="other")
    node.master.nodes["node5"] = node.master.node("node5", mfree=9999, role="D")
    node.master.add_instance("web1", pnode="node3")
    run(node.on(how="migrate"), node.said.append)
    assert node.master.instances["web1"]["pnode"] == chosen


def test_an_instance_that_runs_although_it_should_not(node: Maintenance) -> None:
    node.master.add_instance("web1", pnode="node3", state="down", oper_state=True)
    with pytest.raises(GanetiGlusterError, match="instances run on node node3: web1; use --mig"):
        node.on()


def test_drbd_has_its_own_other_node(node: Maintenance) -> None:
    node.master.info["default_iallocator"] = ""
    node.master.add_instance("db1", pnode="node3", disk_template="drbd")
    run(node.on(how="migrate"), node.said.append)
    assert node.master.instances["db1"]["pnode"] == "node1"


@pytest.mark.parametrize("when", ["while it moves", "at the end"])
def test_what_is_there_after_all_is_told(node: Maintenance, when: str) -> None:
    node.master.add_instance("web1", pnode="node3")
    steps = node.on(how="migrate")
    if when == "at the end":
        node.master.add_instance("web2", pnode="node3")
        with pytest.raises(StepFailed, match="instances have been started on node node3: web2; r"):
            run(steps, node.said.append)
    else:
        # Ganeti says that it is done, and the instance stays.
        node.master._InstanceMigrate = lambda **fields: None  # type: ignore[method-assign]
        with pytest.raises(StepFailed, match="Ganeti moved instance web1, but it is still on"):
            run(steps, node.said.append)


def test_it_is_looked_at_again_before_each_step(node: Maintenance) -> None:
    node.master.add_instance("web1", pnode="node3")
    mark, move, last = node.on(how="migrate")
    node.pool.down.add("node2:/srv/b/gv0")
    for step in (mark, move, last):
        with pytest.raises((StepFailed, GanetiGlusterError), match="node node3 is needed: brick"):
            step.do()
        node.master.instances.clear()
    assert node.master.done == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("master", "node node1 is the master, which cannot be drained; first run gnt-cluster mas"),
        ("itself", "instances of node node3 cannot be moved to itself"),
        ("instance", "instances run on node node3: web1; use --migrate or --failover to move"),
        ("plain", "instances on node node3 have their disks on that node only: web1; shut them"),
        ("dead", "node node3 is disconnected in the pool; see gnt-gluster pool status"),
        ("brick", "node node3 is needed: brick node2:/srv/b/gv0 of the same set is not online"),
        ("heal", "node node3 is needed: the remaining bricks are not healed: node2:/srv/b/gv0 (3"),
        ("own heal", "node node3 is needed: not healed yet: node1:/srv/b/gv0 (2 files)"),
        ("single", "node node3 is needed: volume gv1 cannot be used without brick node3:/srv/b"),
        ("disperse", "node node3 is needed: 4 entries of volume gv2 are not healed"),
        ("resting", "node node3 is needed: node node2, with a brick of the same set of vol"),
        ("quorum", "node node3 is needed: only 1 of 3 servers would be left, so the bricks of vo"),
    ],
)
def test_what_is_refused(
    node: Maintenance, monkeypatch: pytest.MonkeyPatch, change: str, said: str
) -> None:
    name, how, target = "node3", "", None
    pool = node.pool
    if change == "master":
        name = "node1"
    elif change == "itself":
        how, target = "migrate", "node3"
    elif change == "instance":
        node.master.add_instance("web1", pnode="node3")
    elif change == "plain":
        node.master.add_instance("web1", pnode="node3", disk_template="plain")
        how = "migrate"
    elif change == "dead":
        pool.dead.add("node3")
    elif change == "brick":
        pool.down.add("node2:/srv/b/gv0")
    elif change == "heal":
        pool.behind["node1"] = {"node2:/srv/b/gv0": 3}
    elif change == "own heal":
        pool.behind["node3"] = {"node1:/srv/b/gv0": 2}
    elif change == "single":
        pool.there.append(volume("node3", name="gv1"))
    elif change == "disperse":
        pool.there = [volume(*THREE, name="gv2", replica=1, disperse=3, redundancy=1)]
        heal = BrickHeal("b", True, "Connected", 4, 4, 0, 0)
        monkeypatch.setattr(
            "gluster_pool._Gluster.heal_counts", lambda self, name, timeout: [heal]
        )
    else:
        node.master.nodes["node2"]["tags"] = ["gluster:maintenance"]
        if change == "quorum":
            options = {"cluster.server-quorum-type": "server"}
            pool.there = [replace(pool.there[0], options=options)]
    with pytest.raises(GanetiGlusterError) as failure:
        node.on(name, how, target)
    assert str(failure.value).startswith(said)
    assert node.master.done == []


def test_a_volume_that_is_stopped_needs_nobody(node: Maintenance) -> None:
    node.pool.there.append(volume("node3", name="gv1", state="Stopped"))
    assert len(node.on()) == 2


# -- off ---------------------------------------------------------------------


@pytest.fixture
def away(node: Maintenance) -> Maintenance:
    """node3 was in maintenance, and is back without its glusterd and its brick."""
    run(node.on(), node.said.append)
    node.master.done.clear()
    node.pool.stopped.add("node3")
    node.pool.down.add("node3:/srv/b/gv0")
    node.pool.left.add("node3")
    return node


def test_all_that_has_to_run_is_started(away: Maintenance) -> None:
    steps = away.off()
    assert texts(steps) == [
        "node3: glusterd runs and is connected",
        "volume gv0: bricks and self-heal daemon of node3 online",
        "volume gv0: everything healed",
        "node3: maintenance ended, and no longer drained in Ganeti",
    ]
    assert [step.done() for step in steps] == [False] * 4
    run(steps, away.said.append)
    assert "start-glusterd node3" in away.pool.asked
    assert "volume start gv0 force" in away.pool.asked
    assert "healed gv0" in away.said
    assert away.state() == ("C", [])
    assert [step.done() for step in away.off()] == [True, True, False, True]
    run(away.off(), away.said.append)
    assert away.master.done == ["NodeSetParams", "TagsDel"]


def test_a_brick_whose_file_system_is_missing_is_not_forced(away: Maintenance) -> None:
    away.pool.left.clear()
    said = "node3:/srv/b/gv0 is not mounted, or is not the brick of volume gv0; mount its file"
    with pytest.raises(StepFailed, match=said):
        run(away.off(), away.said.append)
    assert "volume start gv0 force" not in away.pool.asked
    assert away.state() == ("D", ["gluster:maintenance"])


def test_a_node_that_was_drained_before_stays_so(node: Maintenance) -> None:
    node.master.nodes["node3"]["role"] = "D"
    run(node.on(), node.said.append)
    assert node.state() == ("D", ["gluster:maintenance", "gluster:maintenance:drained"])
    run(node.off(), node.said.append)
    assert node.state() == ("D", [])
    assert node.master.done == ["TagsSet", "TagsDel"]


def test_a_node_that_is_offline_in_ganeti(node: Maintenance) -> None:
    node.master.nodes["node3"]["offline"] = True
    with pytest.raises(GanetiGlusterError, match="node3 is offline in Ganeti; first run gnt-node"):
        node.off()


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (4, "node2 does not see node3 as Peer in Cluster"),
        (6, "node2 rejects node3: the configuration of a volume differs; gnt-gluster verify says"),
    ],
)
def test_a_node_that_does_not_connect(
    away: Maintenance, monkeypatch: pytest.MonkeyPatch, state: int, said: str
) -> None:
    peers = away.pool.peers
    monkeypatch.setattr(
        away.pool,
        "peers",
        lambda name: [
            replace(peer, state=state) if name == "node2" and peer.names == ("node3",) else peer
            for peer in peers(name)
        ],
    )
    with pytest.raises(StepFailed, match=said):
        run(away.off(), away.said.append)
