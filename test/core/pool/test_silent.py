"""A member that fell silent, and glusterd that has not noticed."""

from __future__ import annotations

import pytest

from ganeti_gluster.core.pool import connections, silent
from ganeti_gluster.core.pool.members import CONNECTED, DISCONNECTED, Pool
from ganeti_gluster.tools.gluster_cli import Peer

NODES = ["node1", "node2", "node3"]


def peers(*, down=()):
    return tuple(
        Peer("uuid-" + node, (node, "peer-" + node), node not in down, 3, "Peer in Cluster")
        for node in NODES[1:]
    )


class Stub:
    """Agents of which one does not answer; the members notice when told, or never."""

    def __init__(self, reason, *, notices=True):
        self.reason, self.notices = reason, notices
        self.told = {}

    def one(self, node, verb, *, server):
        assert (node, verb) == ("node1", "reach")
        return self.reason

    def try_all(self, verb, arguments):
        assert verb == "end-connections"
        self.told = arguments
        return {"node1": None}, {"node2": "SSH does not reach it"}

    def gluster(self, node):
        return self

    def own_uuid(self):
        return "uuid-node1"

    def volumes(self):
        return []

    def peers(self):
        return peers(down=["node3"] if self.told and self.notices else [])


def notice(monkeypatch, stub, *, down=(), node="node3"):
    monkeypatch.setattr(silent, "NOTICE_SECONDS", 0)
    said = []
    pool = Pool("node1", "uuid-node1", peers(down=down), (), {"node3": ("192.0.2.13",)})
    return silent.notice(stub, pool, node, NODES, said.append).state(node), said


@pytest.mark.parametrize(("notices", "state"), [(True, DISCONNECTED), (False, CONNECTED)])
def test_members_are_made_to_notice(monkeypatch, notices, state):
    stub = Stub("no answer within 2.7 s", notices=notices)
    assert notice(monkeypatch, stub) == (
        state,
        [
            "node3 does not answer (no answer within 2.7 s): closing glusterd's remaining "
            "connections",
            "  node2: SSH does not reach it",
        ],
    )
    names = ["192.0.2.13", "node3", "peer-node3"]
    assert stub.told == {"node1": {"servers": names}, "node2": {"servers": names}}


def test_one_that_answers_or_is_known_to_be_gone_is_left_alone(monkeypatch):
    for stub, options, state in (
        (Stub(""), {}, CONNECTED),
        (Stub("no answer"), {"down": ["node3"]}, DISCONNECTED),
        (Stub("no answer"), {"node": "node1"}, CONNECTED),
    ):
        assert notice(monkeypatch, stub, **options) == (state, [])
        assert stub.told == {}


@pytest.mark.parametrize(
    ("address", "shown"), [("192.0.2.13", "192.0.2.13"), ("2001:db8::1", "[2001:db8::1]")]
)
def test_both_directions_are_ended(address, shown):
    assert " ".join(connections.argv(address)) == (
        "ss --kill --tcp dst %s ( dport = :24007 or sport = :24007 )" % shown
    )
