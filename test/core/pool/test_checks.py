"""What is wrong with nodes, from the facts about them."""

from __future__ import annotations

import dataclasses
import json

import pytest

from ganeti_gluster.core.pool import checks
from ganeti_gluster.core.pool.facts import CandidateFacts, DeviceFacts, PlaceFacts

NODES = ("node1", "node2", "node3")
IPS = {"node1": "192.0.2.11", "node2": "192.0.2.12", "node3": "192.0.2.13"}
PLACE = PlaceFacts(
    "/srv/b",
    exists=True,
    own_file_system=True,
    file_system="xfs",
    size=8 << 30,
    free=8 << 30,
    sector=512,
)


def well(node):
    return CandidateFacts(
        version="11.1",
        plugin="1",
        active=True,
        enabled=True,
        uuid="uuid-of-" + node,
        own_addresses=("127.0.0.1", IPS[node]),
        addresses=dict(IPS),
        names={address: name for name, address in IPS.items()},
        reach=dict.fromkeys(NODES, ""),
        has_mkfs=True,
        place=PLACE,
    )


def found(*, wipe=False, volume_id="", **changed):
    """The problems with some facts of node2 changed."""
    facts = {node: well(node) for node in NODES}
    facts["node2"] = dataclasses.replace(facts["node2"], **changed)
    return checks.check(
        facts, bricks=NODES, volume="gv0", plugin="1", wipe=wipe, volume_id=volume_id
    )


def test_nothing_to_say_of_good_nodes():
    assert found() == []


def test_facts_survive_their_way_through_json():
    facts = dataclasses.replace(well("node1"), device=DeviceFacts("/dev/vdb", signatures=("xfs",)))
    assert CandidateFacts.from_dict(json.loads(json.dumps(dataclasses.asdict(facts)))) == facts


def place(**changed):
    return {"place": dataclasses.replace(PLACE, **changed)}


def device(**changed):
    facts = DeviceFacts("/dev/vdb", exists=True, is_block=True, size=8 << 30)
    return {"device": dataclasses.replace(facts, **changed), "place": PlaceFacts("/srv/b")}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"version": ""}, "node2: glusterd is not installed; apt-get install glusterfs-server"),
        ({"active": False}, "node2: glusterd does not answer; systemctl enable --now glusterd"),
        ({"enabled": False}, "node2: glusterd does not start at boot; systemctl enable glusterd"),
        (
            {"plugin": "0"},
            "node2: ganeti-gluster 0 is installed there, but 1 here; install the same",
        ),
        (
            {"addresses": {**IPS, "node3": ""}},
            "node2: the name node3 does not resolve there; check /etc/hosts and DNS",
        ),
        (
            {"addresses": {**IPS, "node2": "127.0.1.1"}},
            "node2: the name node2 is a loopback address there (127.0.1.1), which Gluster refuses",
        ),
        (
            {"addresses": {**IPS, "node3": "192.0.2.99"}},
            "node2: the name node3 resolves to 192.0.2.99 there, which is not an address"
            " of that node",
        ),
        (
            {"reach": {"node3": "Connection refused"}},
            "node2: port 24007 of node3 cannot be reached from there: Connection refused;"
            " open TCP",
        ),
        (
            place(exists=False),
            "node2: there is no directory /srv/b; create it, or use --brick-device",
        ),
        (place(read_only=True), "node2: /srv/b is mounted read-only"),
        (place(inside="/srv"), "node2: /srv/b is within a brick: /srv"),
        (
            place(entries=("x", "y")),
            "node2: /srv/b/gv0 is not empty: x, y; choose another directory",
        ),
        (place(volume_id="v"), "node2: /srv/b/gv0 is a brick of the volume with UUID v"),
        (device(exists=False), "node2: /dev/vdb does not exist"),
        (device(is_block=False), "node2: /dev/vdb is not a block device"),
        (device(busy=True), "node2: /dev/vdb is in use; see lsblk /dev/vdb"),
        (device(mounted_at="/home"), "node2: /dev/vdb is mounted at /home"),
        (
            device(signatures=("ext4",)),
            "node2: /dev/vdb contains data: ext4; use --wipe to format",
        ),
        (
            place(sector=4096),
            "node2: its disk has sectors of 4096 bytes, while others have 512; use disks with the",
        ),
        ({**device(), "has_mkfs": False}, "node2: mkfs.xfs is missing; apt-get install xfsprogs"),
        (
            {**device(), "place": PlaceFacts("/srv/b", exists=True, holds_something=True)},
            "node2: /srv/b contains files, which mounting /dev/vdb there would hide",
        ),
    ],
)
def test_what_cannot_be_forced(changed, message):
    (problem,) = found(**changed)
    assert str(problem).startswith(message)
    assert problem.blocks and not problem.force


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"clock": -61.0}, "node2: its clock differs from the master's by 61 s"),
        (
            {"version": "10.3"},
            "pool: the nodes have different versions of GlusterFS: 11.1 on node1",
        ),
        (place(own_file_system=False), "node2: /srv/b is on the root file system: a full brick"),
        (place(file_system="tmpfs"), "node2: /srv/b is on tmpfs, which is not one of xfs, ext4"),
        (
            {"unsound_peers": ("x: Peer Rejected",)},
            "node2: some members of its pool are unhealthy: x:",
        ),
    ],
)
def test_what_can_be_forced(changed, message):
    (problem,) = found(**changed)
    assert str(problem).startswith(message)
    assert problem.blocks and problem.force


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            place(size=4 << 30),
            "node2: its brick is the smallest (4.0 GiB, while the largest has 8.0)",
        ),
        (
            {"names": {**{a: n for n, a in IPS.items()}, IPS["node3"]: ""}},
            "node2: the address 192.0.2.13 of node3 resolves back to nothing there",
        ),
    ],
)
def test_what_is_only_said(changed, message):
    (problem,) = found(**changed)
    assert str(problem).startswith(message)
    assert not problem.blocks


@pytest.mark.parametrize(
    ("changed", "options"),
    [
        (place(volume_id="v"), {"volume_id": "v"}),
        (device(signatures=("xfs",), ours=True), {}),
        (device(signatures=("ext4",)), {"wipe": True}),
        (device(signatures=("xfs",), interrupted=True), {}),
        (
            {
                "addresses": {**IPS, "other": "192.0.2.99"},
                "names": {**{a: n for n, a in IPS.items()}, "192.0.2.99": "other"},
            },
            {},
        ),
    ],
)
def test_what_was_begun_is_no_obstacle(changed, options):
    assert found(**changed, **options) == []


def test_a_pool_that_all_are_in_is_no_obstacle():
    facts = {
        node: dataclasses.replace(
            well(node),
            peers=tuple(other for other in NODES if other != node),
            peer_uuids=tuple("uuid-of-" + other for other in NODES if other != node),
        )
        for node in NODES
    }
    assert checks.check(facts, bricks=NODES, volume="gv0") == []
    assert checks.anchor(facts, "node2") == "node2"


def test_members_of_another_pool_and_servers_with_volumes_are_refused():
    facts = {node: well(node) for node in NODES}
    facts["node2"] = dataclasses.replace(facts["node2"], peers=("a",), peer_uuids=("uuid-of-a",))
    facts["node3"] = dataclasses.replace(facts["node3"], volumes=("old",))
    facts["node1"] = dataclasses.replace(facts["node1"], peers=("b",), peer_uuids=("uuid-of-b",))
    assert [str(problem) for problem in checks.check(facts, bricks=NODES, volume="gv0")] == [
        "node2: it is a member of another pool, with a; remove it from that pool first:"
        " gluster peer detach node2",
        "node3: it has volumes of its own and cannot join the pool of node1: old",
    ]


def test_the_others_join_the_one_that_has_volumes():
    facts = {node: well(node) for node in NODES}
    assert checks.anchor(facts, "node1") == "node1"
    facts["node3"] = dataclasses.replace(facts["node3"], volumes=("old",))
    assert checks.anchor(facts, "node1") == "node3"
    assert checks.check(facts, bricks=NODES, volume="gv0") == []


def test_a_node_that_takes_a_brick_has_the_sectors_of_those_that_have_one():
    facts = {node: well(node) for node in NODES}
    with_brick = dataclasses.replace(PLACE, volume_id="v")
    facts["node1"] = dataclasses.replace(facts["node1"], place=with_brick)
    facts["node3"] = dataclasses.replace(facts["node3"], **place(sector=4096))
    (problem,) = checks.check(facts, bricks=["node3"], volume="gv0", plugin="1")
    assert str(problem).startswith("node3: its disk has sectors of 4096 bytes, while others have")
    assert checks.check(facts, bricks=["node2"], volume="gv0", plugin="1") == []
