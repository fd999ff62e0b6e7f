"""No change of a guest's disk is missed while the guest moves, and when its node dies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from demolib import guest
from demolib.console import Boot

from .conftest import SERVERS, Cluster

NAME = "vm16"

PROGRAM = (
    """
import hashlib, json, sys
from ganeti_gluster.core.changed.points import begin, changed_since
from ganeti_gluster.core.volume import VolumeSpec, connect
spec = VolumeSpec.from_params({"host": %r, "volume": "gv0"})
path, what = sys.argv[1:]
if what == "begin":
    begin(spec, path, "p")
with connect(spec) as volume, volume.open(path, direct=True) as file:
    step = 64 << 10
    pieces = [
        hashlib.md5(file.pread(step, offset)).hexdigest()
        for offset in range(0, file.stat().size, step)
    ]
changes = changed_since(spec, path, "p") if what == "read" else ((), "")
print(json.dumps({"pieces": pieces, "extents": changes[0], "reason": changes[1]}))
"""
    % SERVERS
)


def look(cluster: Cluster, node: str, path: str, what: str) -> dict[str, Any]:
    argv = ("/usr/bin/python3", "-c", PROGRAM, path, what)
    answer: dict[str, Any] = json.loads(cluster.run(*argv, node=node, max_seconds=120).stdout)
    return answer


def check(before: dict[str, Any], now: dict[str, Any]) -> set[int]:
    """All that is different counts as changed; returns what does."""
    assert now["extents"] is not None, now["reason"]
    counted = {
        piece
        for offset, length in now["extents"]
        for piece in range(offset >> 16, (offset + length - 1 >> 16) + 1)
    }
    pairs = enumerate(zip(before["pieces"], now["pieces"], strict=True))
    missed = {piece for piece, (old, new) in pairs if old != new} - counted
    assert missed == set()
    return counted


def goes_on(boot: Boot) -> None:
    before = guest.last_acknowledged(boot.events())
    boot.wait(lambda events: guest.last_acknowledged(events) > before + 5, 60, "more records")


@pytest.fixture
def lost(cluster: Cluster) -> Iterator[str]:
    """A node that a test takes the power from; it is one of the cluster's again afterwards."""
    node = "node2"
    yield node
    cluster.testbed.boot(node)
    cluster.testbed.wait_volume()
    cluster.run("gnt-node", "add", "--readd", node, max_seconds=120)


@pytest.mark.slow
def test_a_guest_that_moves_and_one_whose_node_dies(cluster: Cluster, lost: str) -> None:
    boot = cluster.boot(NAME, "node1")
    path = cluster.add(NAME)
    try:
        boot.wait(lambda events: guest.last_acknowledged(events) > 5, 60, "records")
        before = look(cluster, "node1", path, "begin")
        goes_on(boot)
        found = check(before, look(cluster, "node1", path, "read"))
        assert len(found) < len(before["pieces"]) // 4
        cluster.run("gnt-instance", "migrate", "-f", "-n", lost, NAME, max_seconds=120)
        assert found <= check(before, look(cluster, lost, path, "read"))
        cluster.testbed.kill(lost)
        cluster.run("gnt-node", "modify", "--offline=yes", lost, max_seconds=120)
        second = cluster.boot(NAME, "node3")
        cluster.run("gnt-instance", "failover", "-f", "-n", "node3", NAME, max_seconds=180)
        second.wait(lambda events: guest.last_acknowledged(events) > 5, 60, "it boots elsewhere")
        assert found <= check(before, look(cluster, "node3", path, "read"))
        second.close()
    finally:
        boot.close()
        cluster.remove(NAME)
