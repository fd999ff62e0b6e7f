"""The pools of a cluster, and which of them is meant."""

from __future__ import annotations

import pytest

from ganeti_gluster.core.pool import members
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
    pools = members.find_all(agents, NODES, ADDRESSES)
    assert [pool.anchor for pool in pools] == ["node1", "node2"]
    assert agents.asked == ["node1", "node2", "node4", "node5"]


def test_which_pool_is_meant():
    pools = members.find_all(Nodes(), NODES, ADDRESSES)
    assert members.with_volume(pools, "gv-2").anchor == "node2"
    assert members.with_volume(pools, "gv-3").anchor == "node1"
    assert members.with_node(pools, "node3", "node1").anchor == "node2"
    assert members.with_node(pools, "node5", "node1").anchor == "node1"
    assert members.with_node(pools, "node5").anchor == "node1"


def test_no_pool_at_all():
    with pytest.raises(GanetiGlusterError, match=r"in a Gluster pool; node4: .*no glusterd"):
        members.find_all(Nodes(), ["node4", "node5"], ADDRESSES)
