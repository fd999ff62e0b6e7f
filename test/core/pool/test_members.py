"""The pools of a cluster, and which of them is meant."""

from __future__ import annotations

import pytest

from ganeti_gluster.core.pool import hosts, members
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.gluster_cli import Peer, VolumeBrick, VolumeInfo
from ganeti_gluster.tools.gluster_cli.runner import GlusterdDown

ADDRESSES = {"node%d" % number: "192.0.2.1%d" % number for number in range(1, 6)}
NODES = list(ADDRESSES)


def volume(name, *nodes):
    bricks = tuple(VolumeBrick(node, "/b/" + name, "uuid-" + node) for node in nodes)
    return VolumeInfo(name, name, "Started", "Replicate", len(nodes), 0, 0, 0, bricks, {})


class Glusterd:
    """A node's glusterd; one that is down if it has no name."""

    def __init__(self, node="", others=(), volumes=()):
        self.node, self.others, self.known = node, others, list(volumes)

    def own_uuid(self):
        if not self.node:
            raise GlusterdDown(["pool", "list"], "no glusterd answers")
        return "uuid-" + self.node

    def peers(self):
        return [Peer("uuid-" + node, (node,), True, 3, "in") for node in self.others]

    def volumes(self):
        return self.known


class Nodes:
    """node1 alone with a volume, node2 and node3 with another, node4 down, node5 plain."""

    def __init__(self):
        self.asked = []
        self.glusterds = {
            "node1": Glusterd("node1", (), [volume("gv-1", "node1")]),
            "node2": Glusterd("node2", ["node3"], [volume("gv-2", "node2", "node3")]),
            "node3": Glusterd("node3", ["node2"], [volume("gv-2", "node2", "node3")]),
            "node4": Glusterd(),
            "node5": Glusterd("node5"),
        }

    def gluster(self, node):
        self.asked.append(node)
        return self.glusterds[node]


def test_members_of_a_pool_that_is_known_are_not_asked():
    agents = Nodes()
    pools = members.find_all(agents, NODES, ADDRESSES, {})
    assert [pool.anchor for pool in pools] == ["node1", "node2"]
    assert agents.asked == ["node1", "node2", "node4", "node5"]


def test_which_pool_is_meant():
    pools = members.find_all(Nodes(), NODES, ADDRESSES, {})
    assert members.with_volume(pools, "gv-2").anchor == "node2"
    assert members.with_volume(pools, "gv-3").anchor == "node1"
    assert members.with_node(pools, "node3", "node1").anchor == "node2"
    assert members.with_node(pools, "node5", "node1").anchor == "node1"
    assert members.with_node(pools, "node5").anchor == "node1"


def test_no_pool_at_all():
    with pytest.raises(GanetiGlusterError, match=r"in a Gluster pool; node4: .*no glusterd"):
        members.find_all(Nodes(), ["node4", "node5"], ADDRESSES, {})


TWO_NETWORKS = {
    "node%d" % number: ("192.0.2.%d" % number, "198.51.100.%d" % number) for number in range(1, 5)
}
ALIASES = {"node%d-gl" % number: {"198.51.100.%d" % number} for number in range(1, 5)}


def pool(*servers, peers=(), told=None):
    """node1 is asked; each brick is on the server of the next node, whose peers are so called."""
    bricks = tuple(
        VolumeBrick(server, "/b/gv", "uuid-node%d" % number)
        for number, server in enumerate(servers, 1)
    )
    info = VolumeInfo("gv", "gv", "Started", "Replicate", 3, 0, 0, 0, bricks, {})
    called = tuple(
        Peer("uuid-node%d" % number, names, True, 3, "in") for number, names in enumerate(peers, 2)
    )
    return members.Pool("node1", "uuid-node1", called, (info,), TWO_NETWORKS, told or {})


@pytest.fixture
def aliases(monkeypatch):
    monkeypatch.setattr(hosts, "resolve", lambda host: ALIASES.get(host, {host}))


PLAIN = [("node2",), ("node3",)]
SECONDARY = [("198.51.100.2",), ("198.51.100.3",)]


@pytest.mark.parametrize(
    ("servers", "peers", "network", "new"),
    [
        (["node1", "node2", "node3"], PLAIN, "primary", "node4"),
        (["192.0.2.1", "192.0.2.2", "node3"], PLAIN, "primary", "node4"),
        (["198.51.100.%d" % n for n in (1, 2, 3)], SECONDARY, "storage", "198.51.100.4"),
        (["node1-gl", "node2-gl", "node3"], PLAIN, "storage", "198.51.100.4"),
        (["node1", "node2-gl", "node3"], PLAIN, "primary", "node4"),
        ([], PLAIN, "primary", "node4"),
    ],
)
@pytest.mark.usefixtures("aliases")
def test_a_new_node_is_called_as_the_others_are(servers, peers, network, new):
    found = pool(*servers, peers=peers, told={"node2": "uuid-node2", "node3": "uuid-node3"})
    assert found.network == network
    assert found.host("node4") == new
    assert [found.host("node%d" % n) for n in (1, 2, 3) if servers] == servers


@pytest.mark.parametrize(
    ("names", "host"),
    [
        (("node4-gl",), "node4-gl"),
        (("node4", "198.51.100.4"), "198.51.100.4"),
        (("node4", "node4-gl"), "node4-gl"),
        (("node4",), "node4"),
    ],
)
@pytest.mark.usefixtures("aliases")
def test_a_member_keeps_a_name_that_it_has(names, host):
    servers = ["198.51.100.%d" % n for n in (1, 2, 3)]
    found = pool(*servers, peers=[*SECONDARY, names], told={"node4": "uuid-node4"})
    assert found.host("node4") == host


class Renamed(Nodes):
    """One pool of node1, node2 and node3, which are known by names that nobody can tell."""

    def __init__(self):
        super().__init__()
        third = Peer("uuid-node3", ("former3",), False, 3, "in")
        second = Peer("uuid-node2", ("former2",), True, 3, "in")
        for name in ("node1", "node2"):
            self.glusterds[name].known = [volume("gv", "node1", "node2", "node3")]
            self.glusterds[name].peers = lambda: [second, third]


@pytest.mark.usefixtures("aliases")
def test_a_node_that_is_gone_is_known_by_the_uuid_that_it_had():
    agents = Renamed()
    seen = {"node3": "uuid-node3", "node2": "uuid-other", "node4": "uuid-node2"}
    (found,) = members.find_all(agents, ["node1", "node2"], ADDRESSES, seen)
    assert [found.uuid(name)[-5:] for name in NODES] == ["node1", "node2", "node3", "", ""]
    (found,) = members.find_all(agents, ["node1", "node2"], ADDRESSES, {})
    assert found.uuid("node3") == ""
    assert [str(each) for each in found.unknown_bricks(NODES)] == ["node3:/b/gv"]


@pytest.mark.usefixtures("aliases")
@pytest.mark.parametrize(("connected", "uuid"), [(True, ""), (False, "uuid-node3")])
def test_a_new_machine_is_not_the_one_that_had_its_name(connected, uuid):
    # The former node5 lives outside of Ganeti, and the new one tells another UUID; a member that
    # is gone may be the same machine, newly installed.
    agents = Renamed()
    third = Peer("uuid-node3", ("former3",), connected, 3, "in")
    for name in ("node1", "node2"):
        others = [
            *(each for each in agents.glusterds[name].peers() if each.uuid[-1] == "2"),
            third,
        ]
        agents.glusterds[name].peers = lambda others=others: others
    (found,) = members.find_all(
        agents, ["node1", "node2", "node5"], ADDRESSES, {"node5": "uuid-node3"}
    )
    assert found.uuid("node5") == uuid
