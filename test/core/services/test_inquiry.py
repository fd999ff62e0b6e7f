"""What the master makes of the answers of all nodes."""

from __future__ import annotations

import dataclasses
import json

from ganeti_gluster.core.services import config
from ganeti_gluster.core.services import node as on_node
from ganeti_gluster.core.services.answers import NodeAnswer
from ganeti_gluster.core.services.config import ServicesConfig
from ganeti_gluster.core.services.inquiry import OFFLINE, Inquiry
from ganeti_gluster.core.services.model import ServiceNode, ServiceStatus
from ganeti_gluster.core.services.systemd import UnitState

SWIFT = config.BUILT_IN[0]
NODES = [ServiceNode("node%d" % n, address="10.0.0.%d" % n) for n in (1, 2)]


class Manager:
    """A manager of a node whose units are all in one state."""

    def __init__(self, status: ServiceStatus, transition: str = "") -> None:
        self.status = status
        self.transition = transition

    def read(self, units: list[str]) -> dict[str, UnitState]:
        return {
            unit: UnitState(unit, True, self.status, transition=self.transition) for unit in units
        }


def answer(status: ServiceStatus = ServiceStatus.RUNNING, transition: str = "") -> NodeAnswer:
    told = on_node.status(ServicesConfig(), Manager(status, transition), master="node1")  # type: ignore[arg-type]
    return NodeAnswer(json.dumps(told))


def test_each_node_is_asked_until_its_services_have_settled() -> None:
    inquiry = Inquiry([SWIFT], NODES)
    assert inquiry.to_ask == {"node1": "10.0.0.1", "node2": "10.0.0.2"}
    inquiry.take(
        {"node1": answer(ServiceStatus.STOPPED, "activating"), "node2": NodeAnswer(reason="cut")}
    )
    assert inquiry.to_ask == {"node1": "10.0.0.1"}
    found = inquiry.snapshot()
    assert [s.status for s in found.services] == [ServiceStatus.UNKNOWN] * 8
    assert [s.message for s in found.select(node="node2")] == ["cut"] * 4
    assert (found.failures, found.masters) == ({"node2": "cut"}, {"node1": "node1"})

    inquiry.take({"node1": answer()})
    assert inquiry.to_ask == {}
    assert [s.status for s in inquiry.snapshot().select(node="node1")] == [
        ServiceStatus.RUNNING
    ] * 4


def test_what_a_node_told_a_moment_ago_counts() -> None:
    inquiry = Inquiry([SWIFT], NODES[:1])
    inquiry.take({"node1": answer(ServiceStatus.RUNNING, "reloading")})
    inquiry.take({"node1": NodeAnswer(reason="no answer within 1 s")})
    found = inquiry.snapshot()
    assert found.failures == {}
    assert {s.transition for s in found.services} == {"reloading"}


def test_only_nodes_with_services_are_asked_and_none_that_is_offline() -> None:
    elsewhere = dataclasses.replace(
        SWIFT, nodes=config.NodeChoice("names", names=frozenset({"x"}))
    )
    assert Inquiry([elsewhere], NODES).to_ask == {}
    assert Inquiry([elsewhere], NODES).snapshot().services == ()
    offline = dataclasses.replace(NODES[1], offline=True)
    inquiry = Inquiry([SWIFT], [NODES[0], offline])
    assert list(inquiry.to_ask) == ["node1"]
    inquiry.take({"node1": answer()})
    assert inquiry.snapshot().failures == {"node2": OFFLINE}
