"""What an eviction is told of the cluster."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest
from ganeti_master import Master

from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.tools.gluster_cli import BrickStatus, GlusterFailed

from .conftest import Part

ADDRESSES = {"node1": ("192.0.2.1", "198.51.100.1"), "node2": ("192.0.2.2",)}
SPEC = VolumeSpec.from_params({"volume": "gv0", "host": "node1"})


def brick(server: str, port: int | None, *, online: bool = True) -> BrickStatus:
    return BrickStatus(server, "/b", "u", online, port, 1)


@pytest.fixture
def evictions(part: Part, master: Master) -> Any:
    return part("evictions")


def test_each_node_has_both_its_addresses_once(evictions: Any, master: Master) -> None:
    assert evictions.addresses_of(evictions.ssconf.SimpleStore()) == ADDRESSES


def test_hosts_are_found_by_name_or_by_address(
    evictions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"stor1": "198.51.100.1", "stor9": "203.0.113.9"}

    def resolve(host: str, port: None) -> Any:
        if host not in known:
            raise socket.gaierror(-2, "Name or service not known")
        return [(0, 0, 0, "", (known[host], 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    bricks = [
        brick("node2", 49152),
        brick("node2", 49153),
        brick("node2", 49154, online=False),
        brick("stor1", 49152),
        brick("stor9", 49152),
        brick("nowhere", 49152),
        brick("node1", None),
    ]
    found = evictions.hosts_of(bricks, ADDRESSES)
    assert [(host.host, host.node, host.ports) for host in found] == [
        ("node2", "node2", (49152, 49153)),
        ("stor1", "node1", (49152,)),
        ("stor9", "", (49152,)),
        ("nowhere", "", (49152,)),
    ]


class Taken:
    """What is asked of glusterd, and what is taken."""

    def __init__(self, evictions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken: list[Any] = []
        self.refusal: Exception | None = None
        module = evictions
        monkeypatch.setattr(module, "SshChannel", lambda: "channel")
        monkeypatch.setattr(module, "Gluster", lambda: SimpleNamespace(ask=self.ask))
        answer = SimpleNamespace(bricks=[brick("node1", 49152)])
        monkeypatch.setattr(module.status, "parse", lambda found, name: answer)
        monkeypatch.setattr(module.node_names, "own", lambda: "node1")
        monkeypatch.setattr(module.evict, "evict", lambda *args: self.taken.append(args))

    def ask(self, *words: str) -> str:
        if self.refusal:
            raise self.refusal
        return "answer"


@pytest.mark.parametrize(("node", "here"), [("node1", True), ("node2", False)])
def test_images_are_taken_one_after_the_other(
    evictions: Any, monkeypatch: pytest.MonkeyPatch, node: str, here: bool
) -> None:
    found = Taken(evictions, monkeypatch)
    evictions.take_from(node, [(SPEC, "ganeti/x.0"), (SPEC, "ganeti/x.1")])
    assert [args[1] for args in found.taken] == ["ganeti/x.0", "ganeti/x.1"]
    holder = found.taken[0][2]
    assert (holder.node, holder.addresses, holder.here) == (node, ADDRESSES[node], here)
    assert [host.node for host in found.taken[0][3]] == ["node1"]


def test_nothing_is_taken_where_glusterd_does_not_tell_of_the_bricks(
    evictions: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Taken(evictions, monkeypatch)
    found.refusal = GlusterFailed(["volume", "status", "gv0"], "no glusterd answers")
    with pytest.raises(GlusterFailed):
        evictions.take_from("node2", [(SPEC, "ganeti/x.0")])
    assert found.taken == []
