"""What the answers say, read from those that real glusterds gave."""

from __future__ import annotations

import pytest

from ganeti_gluster.tools.gluster_cli import heal, peers, profile, status, tasks, volumes
from ganeti_gluster.tools.gluster_cli.volumes import VolumeBrick

ROOT = "/srv/gluster/brick1/"


def test_peers(answer):
    found = peers.parse(answer("peer-status"))
    assert [(peer.hostname, peer.sound) for peer in found] == [("node2", True), ("node3", True)]
    assert found[0].state_text == "Peer in Cluster"
    assert peers.parse(answer("peer-status-alone")) == []


def test_a_disconnected_peer_is_not_sound(answer):
    found = peers.parse(answer("peer-status-disconnected"))
    assert [(peer.hostname, peer.connected, peer.sound) for peer in found] == [
        ("node2", True, True),
        ("node3", False, False),
    ]


def test_the_own_uuid_is_none_of_the_peers(answer):
    own = peers.own_uuid(answer("pool-list"))
    assert len(own) == 36
    assert own not in {peer.uuid for peer in peers.parse(answer("peer-status"))}


@pytest.mark.parametrize(
    ("name", "kind", "shape", "sets"),
    [
        ("gv0", "Replicate", (3, 0, 0, 0), 1),
        ("arb", "Replicate", (3, 1, 0, 0), 1),
        ("distrep", "Distributed-Replicate", (3, 0, 0, 0), 2),
        ("disp", "Disperse", (1, 0, 3, 1), 1),
        ("dist", "Distribute", (1, 0, 0, 0), 3),
    ],
)
def test_the_shape_of_a_volume(answer, name, kind, shape, sets):
    (found,) = [volume for volume in volumes.parse(answer("volume-info")) if volume.name == name]
    assert (found.kind, found.started) == (kind, True)
    assert (found.replica, found.arbiter, found.disperse, found.redundancy) == shape
    assert len(found.sets) == sets
    assert {brick.server for brick in found.bricks} == {"node1", "node2", "node3"}


def test_the_bricks_of_a_volume(answer):
    found = {volume.name: volume for volume in volumes.parse(answer("volume-info"))}
    assert [str(brick) for brick in found["arb"].bricks] == [
        "node%d:%sarb" % (number, ROOT) for number in (1, 2, 3)
    ]
    assert [brick.arbiter for brick in found["arb"].bricks] == [False, False, True]
    assert found["gv0"].options["features.shard-block-size"] == "64MB"
    assert volumes.parse(answer("volume-info-none")) == []


def test_the_options_in_force(answer):
    found = volumes.parse_options(answer("volume-get"))
    assert found["network.ping-timeout"] == "20"
    assert found["cluster.min-free-disk"] == "10%"  # a default, without its mark
    assert len(found) > 300


def test_the_processes_of_a_volume(answer):
    found = status.parse(answer("volume-status"), "gv0")
    assert [(brick.server, brick.online) for brick in found.bricks] == [
        ("node1", True),
        ("node2", True),
        ("node3", True),
    ]
    assert {daemon.kind for daemon in found.daemons} == {"Self-heal Daemon"}
    assert all(daemon.online for daemon in found.daemons)
    assert all(brick.port and brick.pid for brick in found.bricks)
    assert status.parse(answer("volume-status"), "other").bricks == ()


def test_a_brick_of_which_glusterd_has_no_port_is_not_online(answer):
    given = answer("volume-status")
    node = next(node for node in given.iter("node") if node.findtext("path", "").startswith("/"))
    for port in (node.find("port"), node.find("ports/tcp")):
        if port is not None:
            port.text = "N/A"
    found = status.parse(given, "gv0")
    lost = found.bricks[0]
    assert (lost.online, lost.port) == (False, None)
    assert lost.pid == int(node.findtext("pid"))
    assert found.without_port == [lost]


@pytest.mark.parametrize("name", ["volume-status-brick-down", "volume-status-node-down"])
def test_a_brick_that_is_down(answer, name):
    uuids = {brick.server: brick.server_uuid for brick in _bricks(answer, "volume-status")}
    expected = [VolumeBrick(server, ROOT + "gv0", uuid) for server, uuid in uuids.items()]
    found = status.parse(answer(name), "gv0")
    assert [brick.server for brick in found.offline(expected)] == ["node3"]


def _bricks(answer, name):
    return status.parse(answer(name), "gv0").bricks


def test_a_backlog_in_numbers(answer):
    first, _, down = heal.parse_summary(answer("heal-summary-brick-down"))
    assert (first.brick, first.connected) == ("node1:%sgv0" % ROOT, True)
    assert (first.total, first.pending, first.split_brain, first.healing) == (2, 2, 0, 0)
    assert (down.connected, down.total) == (False, None)
    assert down.status == (
        "Failed to process entries completely. (Transport endpoint is not connected)"
    )
    assert [brick.total for brick in heal.parse_summary(answer("heal-summary"))] == [0, 0, 0]


def test_a_backlog_by_path(answer):
    first, _, down = heal.parse_entries(answer("heal-info-brick-down"))
    assert (sorted(first.paths), first.count) == (["/", "/b"], 2)
    assert len(first.gfids[0]) == 36
    assert (down.connected, down.count, down.paths) == (False, None, ())


def test_what_bricks_were_asked(answer):
    found = profile.parse(answer("profile"))
    assert [brick.brick.split(":")[0] for brick in found] == ["node1", "node2", "node3"]
    assert {brick.bytes_written for brick in found} == {4 << 20}
    (fsync,) = [calls for calls in found[0].calls if calls.name == "FSYNC"]
    assert fsync.hits >= 1
    assert 0 < fsync.least <= fsync.average <= fsync.most


def test_a_removal_that_is_through(answer):
    found = tasks.parse(answer("remove-brick-status"))
    assert (found.state, found.failures, found.done) == ("completed", 0, True)
