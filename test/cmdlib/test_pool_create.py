"""Which nodes a pool is made of, and what keeps it from being made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from ganeti_cli import OpPrereqError
from ganeti_master import Master
from gluster_pool import GlusterPool, secondary, volume

from ganeti_gluster.core.pool.settings import Settings
from ganeti_gluster.core.pool.steps import run
from ganeti_gluster.errors import GanetiGlusterError

from .conftest import Part

OPTIONS = {
    "volume": "gv0",
    "replica": None,
    "arbiter": None,
    "disperse": None,
    "redundancy": None,
    "brick_dir": "/srv/b",
    "brick_device": None,
    "pool_nodes": None,
    "nodegroup": None,
    "pool_network": None,
    "on_node_add": None,
    "configure": True,
    "wipe": False,
    "tls": False,
    "force": False,
}


class Create:
    """Three nodes with a glusterd each, in no pool yet."""

    def __init__(self, module: Any, use: Any, pool: Any, master: Master) -> None:
        self.module = module
        self.use = use
        self.pool = pool
        self.master = master

    def plan(self, **options: Any) -> Any:
        asked = self.module.order(SimpleNamespace(**{**OPTIONS, **options}))
        return self.module.plan(asked, self.master, self.pool, lambda line: None)

    def problems(self, **options: Any) -> list[str]:
        return [str(each) for each in self.plan(**options).obstacles(False)]


@pytest.fixture
def create(part: Part, in_pool: Callable[[Any], Any], master: Master) -> Create:
    pool = in_pool(GlusterPool())
    return Create(part("pool_create"), part("pool_use"), pool, master)


def test_all_nodes_have_bricks_and_ganeti_uses_the_volume(create: Create) -> None:
    plan = create.plan()
    assert (plan.layout.nodes, plan.layout.spares) == (("node1", "node2", "node3"), ())
    assert plan.obstacles(False) == []
    texts = [step.text for step in plan.steps]
    assert texts[-2:] == [
        "Ganeti's disk template gluster on volume gv0",
        "settings of the pool (on node-add: join)",
    ]
    run(plan.steps[-2:], lambda line: None)
    assert create.use.servers_of(create.master, "gv0", None) == "node1,node2,node3"
    assert create.use.read_settings(create.master)["gv0"] == Settings("gv0", "/srv/b")


def test_ganeti_is_left_alone_where_that_is_asked(create: Create) -> None:
    texts = [step.text for step in create.plan(configure=False).steps]
    assert not any("template" in text for text in texts)


def test_tags_that_ganeti_did_not_keep_are_noticed(
    create: Create, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = create.plan().steps[-1]
    monkeypatch.setattr(create.master, "_TagsSet", lambda **fields: None)
    with pytest.raises(GanetiGlusterError, match="Ganeti accepted the tags, but has different"):
        keep.do()


def test_nodes_are_in_the_order_in_which_they_are_named(create: Create) -> None:
    create.master.nodes["node1"]["name"] = "node1.example.org"
    create.pool.members[0] = "node1.example.org"
    plan = create.plan(pool_nodes=["node3", "node1", "node2"])
    assert plan.layout.nodes == ("node3", "node1.example.org", "node2")


def test_nodes_that_make_no_whole_set_are_spares(create: Create) -> None:
    for name in ("node4", "node5"):
        create.master.nodes[name] = create.master.node(name)
        create.pool.members.append(name)
    assert create.plan().layout.spares == ("node4", "node5")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"pool_nodes": ["node1", "node1", "node2"]}, "node node1 is named more than once"),
        ({"pool_nodes": ["node1", "node2", "node3.x"]}, "node node3.x is offline in Ganeti"),
        ({"nodegroup": "none"}, "there is no node group none, or it has no nodes"),
        (
            {"nodegroup": "other", "pool_nodes": ["node4", "node1"]},
            "node node1 is not in node group other",
        ),
        ({"replica": 10**400}, "replica 1000"),
        ({"disperse": 10**400}, "disperse 1000"),
        ({"replica": 5}, "replica 5 needs 5 nodes, but there are 3: node1, node2, node4"),
        ({"disperse": 5}, "disperse 5 redundancy 2 needs 5 nodes, but there are 3: node1"),
        ({"nodegroup": "other"}, "replica 3 needs 3 nodes, but there are 1: node4"),
    ],
)
def test_nodes_that_will_not_do(create: Create, options: dict[str, Any], said: str) -> None:
    create.master.nodes["node3"].update(offline=True, name="node3.x")
    create.master.nodes["node4"] = create.master.node("node4", group="other")
    create.master.groups["other"] = {"params": {}, "policy": {}}
    create.pool.members.append("node4")
    with pytest.raises(GanetiGlusterError) as failure:
        create.plan(**options)
    assert str(failure.value).startswith(said)


def test_a_node_that_there_is_not(create: Create) -> None:
    with pytest.raises(OpPrereqError) as failure:
        create.plan(pool_nodes=["node1", "node2", "node9"])
    assert failure.value.args == ("Node 'node9' not known", "unknown_entity")


def test_a_node_that_does_not_answer_is_a_problem(create: Create) -> None:
    create.pool.dead.add("node3")
    assert "node3: SSH does not reach it: no route" in create.problems()


def test_so_is_one_without_glusterd(create: Create) -> None:
    create.pool.facts["node2"] = replace(create.pool.look("node2"), active=False)
    assert any(text.startswith("node2: glusterd") for text in create.problems())


def test_two_copies_are_a_danger_that_can_be_forced(create: Create) -> None:
    plan = create.plan(replica=2)
    (problem,) = plan.obstacles(False)
    assert "split-brain" in str(problem)
    assert plan.obstacles(True) == []


def test_disks_on_another_volume_would_be_lost_sight_of(create: Create) -> None:
    create.use.use(create.master, create.use.params_for("gv1", ["node1"]), None)
    create.master.add_instance("vm1", {})
    (problem,) = create.problems()
    assert problem.startswith(
        "Ganeti: these instances have disks on another volume and could not access them any more:"
        " vm1 (gv1); "
    )
    assert create.problems(configure=False) == []
    # Nor are those of another group.
    create.master.nodes["node4"] = create.master.node("node4", group="other")
    create.master.groups["other"] = {"params": {}, "policy": {}}
    create.master.instances["vm1"]["pnode.group"] = "other"
    assert create.problems(nodegroup="default") == []


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ({"state": "Started"}, ""),
        ({"replica": 1}, "volume gv0 "),
    ],
)
def test_a_volume_that_is_there_is_gone_on_with_if_it_is_the_same(
    create: Create, there: dict[str, Any], said: str
) -> None:
    create.pool.there = [volume("node3", "node1", "node2", **there)]
    plan = create.plan()
    assert plan.layout.nodes == ("node3", "node1", "node2")
    created = next(step for step in plan.steps if step.text.startswith("volume gv0, replica 3"))
    if said:
        with pytest.raises(GanetiGlusterError, match=said):
            created.done()
    else:
        assert created.done()


def test_one_with_bricks_elsewhere_is_another(create: Create) -> None:
    create.pool.there = [volume("node1", "node2", "node3")]
    with pytest.raises(GanetiGlusterError) as failure:
        create.plan(brick_dir="/srv/c")
    assert str(failure.value).startswith(
        "volume gv0 already exists, with bricks that are not in /srv/c: node1:/srv/b/gv0, node2"
    )


def test_the_pool_is_named_by_secondary_addresses(create: Create) -> None:
    plan = create.plan(pool_network="storage")
    assert plan.obstacles(False) == []
    assert plan.layout.peers == {name: secondary(name) for name in plan.layout.members}
    assert plan.layout.bricks == [
        secondary(n) + ":/srv/b/gv0" for n in ("node1", "node2", "node3")
    ]
    run([step for step in plan.steps if "template" in step.text], lambda line: None)
    servers = create.use.servers_of(create.master, "gv0", None)
    assert servers == "198.51.100.1,198.51.100.2,198.51.100.3"


def test_not_where_a_node_has_no_secondary_address(create: Create) -> None:
    create.master.nodes["node2"]["sip"] = create.master.nodes["node2"]["pip"]
    with pytest.raises(GanetiGlusterError) as failure:
        create.plan(pool_network="storage")
    assert str(failure.value) == (
        "these nodes have no secondary address: node2; give them one with gnt-node modify"
        " --secondary-ip, or leave out --network"
    )
    assert create.plan(pool_network="primary").layout.servers == ["node1", "node2", "node3"]


def test_an_address_that_another_node_has_is_a_problem(create: Create) -> None:
    create.pool.facts["node2"] = replace(create.pool.look("node2"), own_addresses=("192.0.2.2",))
    assert create.problems() == []
    assert (
        "node1: the name 198.51.100.2 resolves to 198.51.100.2 there, which is not an address of"
        " that node; check /etc/hosts and DNS"
    ) in create.problems(pool_network="storage")


def test_what_is_there_is_gone_on_with_in_its_network(create: Create) -> None:
    for name in ("node4",):
        create.master.nodes[name] = create.master.node(name)
        create.pool.members.append(name)
    there = volume("node1", "node2", "node3")
    bricks = tuple(replace(brick, server=secondary(brick.server)) for brick in there.bricks)
    create.pool.there = [replace(there, bricks=bricks)]
    for network in (None, "storage"):
        layout = create.plan(pool_network=network).layout
        assert layout.nodes == ("node1", "node2", "node3")
        assert layout.servers == [secondary(name) for name in layout.nodes]
        assert layout.spares == ("node4",)
    # It is a member by this name already.
    assert layout.peers["node4"] == "node4"
    with pytest.raises(GanetiGlusterError) as failure:
        create.plan(pool_network="primary")
    assert str(failure.value).startswith(
        "volume gv0 already exists, with servers that are not named in the primary network:"
        " 198.51.100.1, 198.51.100.2, 198.51.100.3; leave out --network"
    )
