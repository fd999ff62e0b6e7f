"""What each check makes of facts, where the real fault is not worth a cluster."""

from __future__ import annotations

import dataclasses
import json
import re
import runpy
import time
from pathlib import Path

import pytest

from ganeti_gluster.core.image import ImageInfo
from ganeti_gluster.core.pool import profile
from ganeti_gluster.core.verify import expected_volumes
from ganeti_gluster.core.verify import facts as f
from ganeti_gluster.core.verify.backlog import update
from ganeti_gluster.core.verify.codes import CODES, ERROR, WARNING
from ganeti_gluster.core.verify.finding import Finding, from_json, ordered
from ganeti_gluster.core.verify.gather import (
    active_units,
    count_behind,
    look_at_brick,
    reserve,
)
from ganeti_gluster.core.verify.image_checks import check_images, orphans
from ganeti_gluster.core.verify.node_checks import (
    check_brick,
    check_certificate,
    check_node,
    check_plugin,
    check_servers,
)
from ganeti_gluster.core.verify.pool_checks import check_pool
from ganeti_gluster.core.verify.volume_checks import (
    check_self_heal,
    check_sets,
    check_volume,
    duration,
    image_of,
)
from ganeti_gluster.tools.decode import NotUnderstood, as_data
from ganeti_gluster.tools.gluster_cli import (
    BrickHeal,
    BrickStatus,
    Daemon,
    VolumeBrick,
    VolumeInfo,
    VolumeStatus,
)

ROOT = Path(__file__).resolve().parents[3]
DAY = 24 * 3600.0
GOOD_PLUGIN = {
    "version": "0.1.0",
    "template": "ganeti-gluster",
    "reasons": [],
    "noded": "ganeti-gluster",
    "noded_reasons": [],
}
UUID = "92e25a96-55cf-40f6-bf3c-bf4061c11a98"


def node(name: str = "node1", **values) -> f.NodeFacts:
    return f.NodeFacts(
        name, values.pop("plugin", GOOD_PLUGIN), **{"glusterd": f.RUNNING, **values}
    )


def peer(name: str, **values) -> f.PeerView:
    usual = {"connected": True, "sound": True, "rejected": False, "state": "Peer in Cluster"}
    return f.PeerView(name, (name,), "uuid-" + name, **{**usual, **values})


BRICKS = tuple(VolumeBrick("node%d" % i, "/b", "uuid-node%d" % i) for i in (1, 2, 3))
INFO = VolumeInfo("gv0", "u", "Started", "Replicate", 3, 0, 0, 0, BRICKS, {})
OPTIONS = {option.name: option.value for option in (*profile.OPTIONS, *profile.DEFAULTS)}


def status(*down: str, daemons: tuple[Daemon, ...] = ()) -> VolumeStatus:
    bricks = [
        BrickStatus(b.server, b.path, b.server_uuid, b.server not in down, 1, 1) for b in BRICKS
    ]
    return VolumeStatus("gv0", tuple(bricks), daemons)


def volume(**values) -> f.VolumeFacts:
    return f.VolumeFacts("gv0", **{"info": INFO, "options": OPTIONS, "status": status(), **values})


def codes(findings) -> list[str]:
    return [finding.code for finding in findings]


def test_healthy_facts_give_no_finding() -> None:
    nodes = {"node1": node(peers=(peer("node2"),)), "node2": node("node2")}
    assert codes(check_node(nodes["node1"])) == []
    assert codes(check_pool(nodes)) == []
    assert codes(check_volume(volume())) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"template": "stock", "reasons": ["switched off by /x"]}, ["PLUGIN_OFF"]),
        ({"template": "stock", "reasons": ["Ganeti 9 is not supported (supported: 3.0)"]},
         ["GANETI_UNSUPPORTED"]),
        ({"reasons": ["Disk.ComputeLDParams is not as expected"]}, ["PLUGIN_REFUSED"]),
        ({"template": "stock"}, ["PLUGIN_REFUSED"]),
        ({"noded": "stock"}, ["NODED_STALE"]),
        ({"noded_reasons": ["ganeti-noded still runs version 0.0; restart it"]}, ["NODED_STALE"]),
        ({"noded": "stopped", "noded_reasons": ["ganeti-noded is not running"]}, []),
        # Switched off and restarted: one finding, not two.
        ({"template": "stock", "noded": "stock", "reasons": ["switched off by /x"],
          "noded_reasons": ["switched off by /x"]}, ["PLUGIN_OFF"]),
    ],
)  # fmt: skip
def test_the_plugin_of_a_node(changed, expected) -> None:
    assert codes(check_plugin("node1", {**GOOD_PLUGIN, **changed})) == expected


def test_a_node_on_which_no_server_of_images_runs() -> None:
    (finding,) = check_node(node(server_problem="libgfapi.so.0 is missing"))
    assert (finding.code, finding.severity, finding.object) == ("SERVER_BROKEN", ERROR, "node1")
    assert finding.text == "libgfapi.so.0 is missing"


SINCE = 1700000000.0
CLOCK = time.strftime("%H:%M:%S", time.localtime(SINCE))


@pytest.mark.parametrize(
    ("view", "code", "text"),
    [
        (f.ServerView("gv0-1", "serving"), None, ""),
        (f.ServerView("gv0-1", "waiting"), None, ""),  # it is just being opened
        (
            f.ServerView("gv0-1", "waiting", SINCE, "write: No space left on device", full=True),
            "IMAGE_NO_SPACE",
            "gv0-1: since %s: write: No space left on device" % CLOCK,
        ),
        (
            f.ServerView("gv0-1", "waiting", 0.0, "its server does not answer within 5 s"),
            "IMAGE_WAITS",
            "gv0-1: its server does not answer within 5 s",
        ),
        (
            f.ServerView("gv0-1", "lost", SINCE, "another node has had the image in the meantime"),
            "IMAGE_LOST",
            "gv0-1: another node has had the image in the meantime",
        ),
    ],
)
def test_the_server_of_an_open_image(view: f.ServerView, code: str | None, text: str) -> None:
    found_here = list(check_servers(node(servers=(view,))))
    assert codes(found_here) == ([code] if code else [])
    for finding in found_here:
        assert (finding.severity, finding.object, finding.text) == (ERROR, "node1", text)


def test_a_server_that_has_lost_its_image_is_stopped_by_its_unit() -> None:
    lost = f.ServerView("gv0-1", "lost", 0.0, "another node has had the image in the meantime")
    (finding,) = check_servers(node(servers=(lost,)))
    assert finding.remedy.endswith("systemctl stop ganeti-gluster-image@gv0-1.service")


def test_every_open_image_of_a_node_counts() -> None:
    servers = (f.ServerView("a", "lost"), f.ServerView("b", "serving"), f.ServerView("c", "lost"))
    assert codes(check_node(node(servers=servers))) == ["IMAGE_LOST", "IMAGE_LOST"]


def test_peers_as_one_node_sees_them() -> None:
    peers = (
        peer("node2", rejected=True, sound=False, state="Peer Rejected"),
        peer("node3", connected=False, sound=False),
        peer("node4", sound=False, state="Accepted peer request"),
        peer("node5", connected=False, sound=False),
    )
    found_here = list(check_node(node(peers=peers), offline=["node5"]))
    assert codes(found_here) == ["PEER_REJECTED", "PEER_DISCONNECTED", "PEER_STATE"]
    assert "node4 is: Accepted peer request" in str(found_here[2])


@pytest.mark.parametrize(
    ("changed", "reserve", "expected"),
    [
        ({"problem": "Input/output error", "mounted": False}, 5, [("BRICK_UNREADABLE", ERROR)]),
        ({"mounted": False}, 5, [("BRICK_NOT_MOUNTED", ERROR)]),
        ({"mounted": False, "empty": True}, 5, [("BRICK_EMPTY", ERROR)]),
        ({"read_only": True}, 5, [("BRICK_READ_ONLY", ERROR)]),
        ({"free": 14}, 5, [("BRICK_FULL", WARNING)]),
        ({"thin": 40}, 5, [("BRICK_THIN", WARNING)]),
        ({"thin": 5}, 5, [("BRICK_THIN", ERROR)]),
        ({"thin": 50}, 5, []),
        ({"free": 5}, 1, [("BRICK_FULL", ERROR)]),
        ({"free": 9}, 10, [("BRICK_FULL", ERROR)]),
        ({"inodes_free": 2}, 5, [("BRICK_FULL", ERROR)]),
        ({"inodes": 0, "inodes_free": 0}, 5, []),
    ],
)
def test_a_brick_on_its_file_system(changed, reserve, expected) -> None:
    good = f.BrickPlace("gv0", "node1:/b", "/b", size=100, free=50, inodes=100, inodes_free=50)
    brick = dataclasses.replace(good, reserve=reserve, **changed)
    assert [(x.code, x.severity) for x in check_brick(brick, "node1")] == expected


@pytest.mark.parametrize("changed", [{"problem": "Input/output error"}, {"mounted": False}])
@pytest.mark.parametrize("empty", [False, True])
def test_a_brick_whose_disk_was_replaced_names_the_command(changed, empty) -> None:
    place = f.BrickPlace("gv0", "node1-gl:/b", "/b", empty=empty)
    (finding,) = check_brick(dataclasses.replace(place, **changed), "node1")
    assert "gnt-gluster pool replace node1 node1" in finding.remedy


@pytest.mark.parametrize(
    ("value", "per_cent"),
    [("", 0), ("5", 5), ("7.5%", 7.5), ("10GB", 0), ("200000", 0), ("x", 0)],
)
def test_what_a_volume_leaves_unused_of_its_bricks(value, per_cent) -> None:
    assert reserve(dataclasses.replace(INFO, options={"storage.reserve": value})) == per_cent


def test_nodes_compared() -> None:
    old = node("node3", plugin={**GOOD_PLUGIN, "version": "0.0.9"}, glusterfs="10.3")
    nodes = {
        "node1": node(
            glusterfs="11.1", uuid="uuid-node1", volumes=("gv0",), peers=(peer("node2"),)
        ),
        "node2": node("node2", glusterfs="11.1", uuid="uuid-node2", volumes=("gv0",)),
        "node3": dataclasses.replace(old, uuid="uuid-node3"),
    }
    found_here = [(x.code, x.object) for x in check_pool(nodes)]
    assert found_here == [
        ("PLUGIN_VERSION", "node3"),
        ("OP_VERSION_MIXED", "node3"),
        ("NODE_OUTSIDE_POOL", "node3"),
    ]


def test_what_all_members_could_is_said_once() -> None:
    nodes = {
        name: node(name, op_version=now, max_op_version=110000)
        for name, now in (("node1", 100000), ("node2", 100000), ("node3", 0))
    }
    (finding,) = check_pool(nodes)
    assert (finding.code, finding.object) == ("OP_VERSION_LOW", "node1, node2")
    assert finding.remedy.endswith("gluster volume set all cluster.op-version 110000")


def test_a_node_that_was_installed_anew_is_told_by_which_uuid_the_pool_knows_it() -> None:
    nodes = {
        "node1": node(uuid="uuid-node1", volumes=("gv0",), peers=(peer("node2"),)),
        "node2": node("node2", uuid="new"),
    }
    (finding,) = check_pool(nodes)
    assert (finding.code, finding.object) == ("NODE_OUTSIDE_POOL", "node2")
    assert "by UUID uuid-node2" in finding.text


@pytest.mark.parametrize(
    ("sums", "wrong"),
    [
        (["1", "1", "2"], ["node3"]),
        (["1", "2", "1", "3"], []),
        (["1", "2"], []),
        (["1", "1", "1"], []),
    ],
)
def test_the_node_with_another_configuration_than_most(sums, wrong) -> None:
    nodes = {
        "node%d" % i: node("node%d" % i, checksums={"gv0": each}) for i, each in enumerate(sums, 1)
    }
    found = list(check_pool(nodes))
    assert [each.object for each in found] == wrong
    text = "its configuration of volume gv0 differs from that on node1, node2"
    assert {each.text for each in found} <= {text}


@pytest.mark.parametrize(
    ("incomplete", "paths"),
    [
        (("vols/gv0/bricks/n1:-b", "vols/gv0/info", "vols/a b/info"), "'vols/a b' vols/gv0"),
        # A brick may be on that peer, whatever its volume is.
        (("peers/%s" % UUID, "vols/gv0/info"), "peers/%s vols" % UUID),
    ],
)
def test_a_glusterd_that_lacks_files_copies_them_from_others(incomplete, paths) -> None:
    (found,) = check_node(node(glusterd=f.DOWN, incomplete=incomplete))
    assert (found.code, found.object) == ("GLUSTERD_FILES", "node1")
    assert found.text == "empty or missing in /var/lib/glusterd: %s" % ", ".join(incomplete)
    assert "mv -t /root/glusterd.old %s; " % paths in found.remedy


def test_nodes_that_trust_different_authorities() -> None:
    tls = [f.TlsFiles(True, (), digest) for digest in ("a", "a", "b")]
    nodes = {"node%d" % i: node("node%d" % i, tls=each) for i, each in enumerate(tls, 1)}
    assert [(x.code, x.object) for x in check_pool(nodes)] == [("TLS_INCONSISTENT", "node3")]


def test_sectors_compared() -> None:
    def with_sector(name: str, size: int) -> f.NodeFacts:
        place = f.BrickPlace("gv0", name + ":/b", "/b", sector=size)
        other = f.BrickPlace("gv1", name + ":/c", "/c", sector=4096)
        return node(name, bricks=(place, other))

    nodes = {name: with_sector(name, 512) for name in ("node1", "node2")}
    assert codes(check_pool(nodes)) == []
    nodes["node3"] = with_sector("node3", 0)  # not known
    assert codes(check_pool(nodes)) == []
    nodes["node3"] = with_sector("node3", 4096)
    (finding,) = check_pool(nodes)
    assert (finding.code, finding.object) == ("BRICK_SECTORS", "node3:/b")
    assert "sectors of 512 bytes" in finding.remedy


@pytest.mark.parametrize(
    ("tls", "found"),
    [
        ({"ends": 100 * DAY}, []),
        ({"ends": 20 * DAY}, [(WARNING, "TLS_EXPIRES", "the certificate ends on 1970-01-21")]),
        ({"ends": 5 * DAY}, [(ERROR, "TLS_EXPIRES", "the certificate ends on 1970-01-06")]),
        ({"problem": "it has expired"}, [(ERROR, "TLS_CERTIFICATE", "it has expired")]),
        (
            {"ends": 100 * DAY, "name": "other"},
            [(WARNING, "TLS_CERTIFICATE", "the certificate's name is other")],
        ),
    ],
)
def test_certificates(tls: dict, found: list) -> None:
    facts = node(tls=f.TlsFiles(True, **{"name": "node1", **tls}))
    seen = check_certificate(facts, now=0.0)
    assert [(each.severity, each.code, each.text) for each in seen] == found


def test_a_volume_that_is_missing_or_stopped() -> None:
    assert codes(check_volume(volume(info=None))) == ["VOLUME_MISSING"]
    silent = volume(info=None, problems=("volume gv0: no glusterd answers",))
    assert codes(check_volume(silent)) == ["NOT_CHECKED"]
    stopped = dataclasses.replace(INFO, state="Stopped")
    assert codes(check_volume(volume(info=stopped))) == ["VOLUME_STOPPED"]


@pytest.mark.parametrize(
    ("replica", "arbiter", "expected"),
    [(3, 0, []), (3, 1, []), (2, 0, [ERROR]), (1, 0, [WARNING])],
)
def test_the_shape_of_a_volume(replica, arbiter, expected) -> None:
    info = dataclasses.replace(INFO, replica=replica, arbiter=arbiter, bricks=BRICKS[:replica])
    found_here = check_volume(volume(info=info, options=None, status=None))
    assert [x.severity for x in found_here if x.code == "VOLUME_SHAPE"] == expected


@pytest.mark.parametrize(
    ("down", "offline", "silent", "expected"),
    [
        (["node2"], [], [], ["BRICK_DOWN"]),
        (["node2", "node3"], [], [], ["BRICK_DOWN", "BRICK_DOWN", "VOLUME_NO_QUORUM"]),
        (["node2", "node3"], ["node3"], [], ["BRICK_DOWN", "VOLUME_NO_QUORUM"]),
        (["node2"], ["node2"], [], []),
        (["node2", "node3"], [], ["node3"], ["BRICK_DOWN", "VOLUME_NO_QUORUM"]),
    ],
)
def test_bricks_that_do_not_run(down, offline, silent, expected) -> None:
    facts = volume(status=status(*down))
    assert codes(check_volume(facts, offline=offline, silent=silent)) == expected


@pytest.mark.parametrize(
    ("free", "expected"),
    [
        # Of two sets of three bricks, in per cent.
        ([60, 60, 60, 30, 30, 30], "set 2 will be full first: 30 per cent left on node4:/b, node"),
        ([20, 60, 60, 60, 60, 60], "set 1 will be full first: 20 per cent left on node1:/b, node"),
        ([60, 60, 60, 41, 41, 41], ""),
        ([90, 90, 90, 60, 60, 60], ""),
        ([60, 60, 60, None, None, None], ""),
        ([60, 60, None, None, 30, None], "set 2 will be full first"),
    ],
)
def test_the_set_that_is_full_first(free, expected) -> None:
    bricks = tuple(VolumeBrick("node%d" % n, "/b", "u%d" % n) for n in range(1, 7))
    info = dataclasses.replace(INFO, bricks=bricks)
    places = {
        str(brick): f.BrickPlace("gv0", str(brick), "/b", size=100, free=left)
        for brick, left in zip(bricks, free, strict=True)
        if left is not None
    }
    found_here = list(check_sets(info, places))
    assert codes(found_here) == (["SETS_UNEVEN"] if expected else [])
    assert all(finding.text.startswith(expected) for finding in found_here)


def test_an_arbiter_is_as_full_as_it_likes() -> None:
    bricks = tuple(VolumeBrick("node%d" % n, "/b", "u%d" % n, n % 3 == 0) for n in range(1, 7))
    info = dataclasses.replace(INFO, bricks=bricks, arbiter=1)
    places = {
        str(brick): f.BrickPlace(
            "gv0", str(brick), "/b", size=100, free=10 if brick.arbiter else 90
        )
        for brick in bricks
    }
    assert list(check_sets(info, places)) == []


def test_a_brick_without_its_file_system_is_not_advised_to_be_started() -> None:
    facts = volume(status=status("node2", "node3"))
    places = {"node2:/b": f.BrickPlace("gv0", "node2:/b", "/b", mounted=False)}
    found_here = list(check_volume(facts, places=places))
    assert codes(found_here) == ["BRICK_DOWN", "VOLUME_NO_QUORUM"]
    assert found_here[0].object == "node3:/b"


def test_a_brick_that_runs_without_a_port_is_told_with_its_process() -> None:
    there = status("node2")
    lost = dataclasses.replace(there.bricks[1], port=None, pid=974)
    bricks = (there.bricks[0], lost, there.bricks[2])
    (finding,) = check_volume(volume(status=dataclasses.replace(there, bricks=bricks)))
    assert (finding.code, finding.object, finding.severity) == ("BRICK_NO_PORT", "node2:/b", ERROR)
    assert finding.text == "it runs as process 974, and glusterd does not know its port"
    assert "kill -9 974" in finding.remedy
    assert "gluster volume start gv0 force" in finding.remedy


def test_a_brick_that_does_not_run_could_move_to_a_spare() -> None:
    (finding,) = check_volume(volume(status=status("node2")), spares=["node4", "node5"])
    assert finding.text == "it is not running, and could be moved to a spare: node4, node5"


@pytest.mark.parametrize(("down", "stops"), [("node1", True), ("node2", False)])
def test_of_two_copies_the_first_decides(down, stops) -> None:
    info = dataclasses.replace(INFO, replica=2, bricks=BRICKS[:2])
    found_here = codes(check_volume(volume(info=info, status=status(down))))
    assert ("VOLUME_NO_QUORUM" in found_here) is stops


def test_a_self_heal_daemon_that_does_not_run() -> None:
    daemon = Daemon("Self-heal Daemon", "localhost", "uuid-node1", False)
    (finding,) = check_volume(volume(status=status(daemons=(daemon,))))
    assert (finding.code, finding.object) == ("HEAL_DAEMON_DOWN", "node1")


def test_a_self_heal_daemon_without_a_connection_to_a_brick_that_is_up() -> None:
    bricks = [
        dataclasses.replace(each, port=50000 + number)
        for number, each in enumerate(status("node3").bricks, 1)
    ]
    facts = volume(status=dataclasses.replace(status(), bricks=tuple(bricks)))
    nodes = {
        "node1": node("node1", uuid="uuid-node1", self_heal=f.SelfHeal((50001, 50002))),
        "node2": node("node2", uuid="uuid-node2", self_heal=f.SelfHeal((50001, 49999), 1)),
        "node3": node("node3", uuid="uuid-node3"),  # it does not run
        "node4": node("node4", uuid="uuid-node4", self_heal=f.SelfHeal(())),  # it has no brick
    }
    (finding,) = check_self_heal(facts, nodes)
    assert (finding.code, finding.object, finding.text) == (
        "HEAL_DAEMON_DISCONNECTED",
        "node2",
        "volume gv0: the self-heal daemon has no connection to node2:/b",
    )
    (told,) = [f.NodeFacts.from_dict(json.loads(json.dumps(nodes["node2"].to_dict())))]
    assert told.self_heal == nodes["node2"].self_heal


def images(*paths: str, **values) -> f.ImageFacts:
    infos = tuple(ImageInfo(path, 1 << 20, 0, 0o100600, 0, 0, 0.0) for path in paths)
    return f.ImageFacts("gv0", infos, (), (0, 0), **values)


@pytest.mark.parametrize(
    ("name", "value", "shards", "expected"),
    [
        ("cluster.quorum-type", "none", False, ["OPTION_DANGEROUS"]),
        ("cluster.quorum-type", "fixed", False, ["OPTION_DANGEROUS"]),
        ("cluster.ensure-durability", "off", False, ["OPTION_DANGEROUS"]),
        ("cluster.self-heal-daemon", "off", False, ["OPTION_DANGEROUS"]),
        ("network.ping-timeout", "3", False, ["OPTION_DANGEROUS"]),
        ("network.ping-timeout", "42", False, ["OPTION_DIFFERS"]),
        ("performance.read-ahead", "on", False, ["OPTION_DIFFERS"]),
        ("storage.reserve", "10", False, []),
        ("features.shard", "off", True, ["SHARD_OFF"]),
        ("features.shard", "off", False, ["OPTION_DIFFERS"]),
        # It cannot be changed while there are images.
        ("features.shard-block-size", "4MB", False, []),
    ],
)
def test_options(name, value, shards, expected) -> None:
    facts = volume(options={**OPTIONS, name: value})
    found_here = list(check_volume(facts, images=images("ganeti/x", shards=shards)))
    assert codes(found_here) == expected
    if expected and expected != ["SHARD_OFF"]:
        assert "gluster volume set gv0 %s %s" % (name, OPTIONS[name]) in found_here[0].remedy


def test_an_option_that_this_release_lacks() -> None:
    fewer = {name: value for name, value in OPTIONS.items() if "resync" not in name}
    assert codes(check_volume(volume(options=fewer))) == []


def test_a_backlog_and_its_age() -> None:
    heal = (BrickHeal("node1:/b", True, "Connected", 3, 2, 1, 0),)
    (young,) = check_volume(volume(heal=heal), waiting={"node1:/b": 7300.0})
    assert (young.severity, young.code) == (WARNING, "HEAL_BACKLOG")
    assert young.text == "2 entries need healing, for 2 hours so far"
    (old,) = check_volume(volume(heal=heal), waiting={"node1:/b": 2 * DAY})
    assert old.severity is ERROR


def test_an_image_that_cannot_be_read_is_no_backlog() -> None:
    heal = (BrickHeal("node1:/b", True, "Connected", 3, 3, 0, 0),)
    disks = [f.Disk("vm1", 0, "gv0", "ganeti/a", 1, "node1"),
             f.Disk("vm2", 1, "gv0", "ganeti/b", 1, "node1"),
             f.Disk("vm3", 0, "gv1", "ganeti/a", 1, "node1")]  # fmt: skip
    facts = volume(heal=heal, status=status("node2"), unreadable={"ganeti/a": "I/O error"})
    down, unread = check_volume(facts, disks=disks)
    assert (down.code, unread.severity, unread.code) == ("BRICK_DOWN", ERROR, "IMAGE_UNREADABLE")
    assert unread.object == "ganeti/a"
    assert unread.text == (
        "vm1 disk/0 cannot be read: I/O error; its good copy may be on node2:/b"
    )
    split = dataclasses.replace(facts, split=(f.SplitFile("/ganeti/a", "x"),))
    assert "IMAGE_UNREADABLE" not in codes(check_volume(split, disks=disks))


def test_since_when_a_backlog_is_there() -> None:
    def brick(name: str, total: int | None) -> BrickHeal:
        return BrickHeal(name, True, "", total, total, 0, 0)

    since = update({"a": 1.0, "b": 1.0, "c": 1.0}, [brick("a", 5), brick("b", 0)], now=9.0)
    assert since == {"a": 1.0, "c": 1.0}
    assert update(since, [brick("d", 1), brick("c", None)], now=9.0) == {**since, "d": 9.0}


@pytest.mark.parametrize(
    ("path", "gfid", "image"),
    [
        ("/ganeti/x", "g0", "ganeti/x"),
        ("/.shard/g1.77", "g9", "ganeti/one"),
        ("<gfid:g1>", "g1", "ganeti/one"),
        ("<gfid:be318638-e8a0-4c6d-977d-7a937aa84806>/g1.4", "g9", "ganeti/one"),
        ("<gfid:be318638-e8a0-4c6d-977d-7a937aa84806>/g7.4", "g9", "<gfid:be318638-e8a0-4c6d-"
         "977d-7a937aa84806>/g7.4"),
        ("/.shard/unknown.1", "", ".shard/unknown.1"),
    ],
)  # fmt: skip
def test_the_image_of_a_piece(path, gfid, image) -> None:
    assert image_of(path, gfid, {"g1": "ganeti/one"}) == image


def test_a_split_brain_names_the_instance_once() -> None:
    split = (f.SplitFile("/ganeti/%s.0" % UUID, "g1"), f.SplitFile("/.shard/g1.2", "g2"))
    path = "ganeti/%s.0" % UUID
    disk = f.Disk("vm1", 0, "gv0", path, 1 << 20, "node1")
    known = images(path, gfids={path: "g1"})
    (finding,) = check_volume(volume(split=split), images=known, disks=[disk])
    assert (finding.code, finding.object) == ("SPLIT_BRAIN", path)
    assert "vm1 disk/0 cannot be used" in finding.text


def test_a_file_without_a_known_name_in_split_brain() -> None:
    (finding,) = check_volume(volume(split=(f.SplitFile("<gfid:g7>", "g7"),)), images=images())
    assert (finding.object, finding.severity) == ("<gfid:g7>", ERROR)
    assert "whose name is not known" in finding.text


def test_images_beside_the_configuration() -> None:
    path = "ganeti/%s.0" % UUID
    disks = [
        f.Disk("vm1", 0, "gv0", path, 1 << 21, "node1"),
        f.Disk("vm1", 1, "gv0", "ganeti/gone", 1, "node1"),
        f.Disk("vm2", 0, "other", "ganeti/there", 1, "node1"),
    ]
    facts = images(path, path + ".snap.mine", "ganeti/orphan", path + ".partial")
    old = list(check_images(facts, disks, now=10 * DAY))
    assert [(x.code, x.severity) for x in old] == [
        ("IMAGE_SIZE", ERROR),
        ("IMAGE_MISSING", ERROR),
        ("IMAGE_ORPHAN", WARNING),
        ("LEFTOVER", WARNING),
    ]
    other = list(check_images(facts, disks, now=10 * DAY, elsewhere={"ganeti/gone": "gv1"}))
    (moved,) = [each for each in other if each.object == "ganeti/gone"]
    assert (moved.code, moved.severity) == ("IMAGE_ELSEWHERE", ERROR)
    assert moved.text == "vm1 disk/1 is on volume gv1, not on gv0"
    assert "gluster:volume back to gv1" in moved.remedy and "recreate" in moved.remedy
    kept = check_images(facts, disks, now=10 * DAY, detached=["ganeti/orphan"])
    assert codes(kept) == ["IMAGE_SIZE", "IMAGE_MISSING", "LEFTOVER"]
    # What is young may be in the making; what does not show on half a volume is not gone.
    young = check_images(facts, disks, now=DAY / 2, volume_whole=False)
    assert codes(young) == ["IMAGE_SIZE"]
    assert [x.image.path for x in orphans(facts, [path])] == ["ganeti/orphan", path + ".partial"]


def test_names_of_copies_and_snapshots() -> None:
    facts = images("a", "a.snap.mine", "a.snap.ganeti-backup", "a.partial", "b.snap.mine", "b")
    assert [(x.image.path, x.leftover) for x in orphans(facts, ["a"])] == [
        ("a.snap.ganeti-backup", True),
        ("a.partial", True),
        ("b.snap.mine", False),
        ("b", False),
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3, "less than a minute"), (61, "1 minute"), (7300, "2 hours"), (3 * DAY, "3 days")],
)
def test_durations(seconds, words) -> None:
    assert duration(seconds) == words


def test_exports_in_systemds_words() -> None:
    line = "ganeti-gluster-export-gv0-12ab.service loaded active running Export of image\n"
    assert active_units(line + "\n") == {"gv0-12ab"}


def test_a_bricks_index(tmp_path) -> None:
    assert count_behind(str(tmp_path)) is None
    index = tmp_path / ".glusterfs/indices/xattrop"
    index.mkdir(parents=True)
    for name in ("xattrop-0d35", "gfid1", "gfid2"):
        (index / name).touch()
    assert count_behind(str(tmp_path)) == 2
    assert look_at_brick("gv0", "n:/x", str(tmp_path / "none")).mounted is False
    assert look_at_brick("gv0", "n:/x", str(tmp_path)).mounted is False  # without the mark


def test_a_dead_exporter_is_named_by_its_instance_and_disk() -> None:
    facts = node(exports=(f.ExportView("gv0-1", False), f.ExportView("gv0-2", False)))
    disks = {"gv0-1": f.Disk("web", 1, "gv0", "ganeti/x", 1, "node1")}

    def stale(**known: object) -> list[str]:
        return [
            str(each).partition(";")[0].rpartition(": ")[2]
            for each in check_node(facts, **known)
            if each.code == "EXPORT_STALE"
        ]

    assert stale(disks=disks) == [
        "the exporter of disk 1 of instance web is not running",
        "the exporter of gv0-2 is not running",
    ]
    # The node itself does not know the instances.
    assert stale()[0] == "the exporter of gv0-1 is not running"


def test_facts_and_findings_go_through_json() -> None:
    facts = node(
        peers=(peer("node2"),),
        bricks=(f.BrickPlace("gv0", "node1:/b", "/b", pieces={"g9": "g1"}),),
        exports=(f.ExportView("gv0-1", True),),
        server_problem="no libgfapi",
        servers=(f.ServerView("gv0-1", "waiting", 1.5, "no room"),),
        unreachable={"gv0": "no"},
        told=({"volume": "gv0"},),
    )
    assert f.NodeFacts.from_dict(json.loads(json.dumps(facts.to_dict()))) == facts
    older = {name: value for name, value in facts.to_dict().items() if name != "servers"}
    assert f.NodeFacts.from_dict(older).servers == ()
    with pytest.raises(NotUnderstood, match="format 7"):
        f.NodeFacts.from_dict({**facts.to_dict(), "format": 7})
    with pytest.raises(NotUnderstood, match="node: it is missing"):
        f.NodeFacts.from_dict({"format": 1})
    finding = Finding.of("BRICK_DOWN", "node1:/b", "it is not running", volume="gv0")
    assert from_json("[%s]" % json.dumps(as_data(finding))) == [finding]
    with pytest.raises(NotUnderstood, match=r"findings\[0\]: not an object, but int"):
        from_json("[1]")


def test_what_a_node_was_told(tmp_path) -> None:
    path = str(tmp_path / "d" / "volumes.json")
    params = [{"volume": "gv0", "host": "a,b", "port": 24007, "access": "userspace"}] * 2
    plain = expected_volumes.plain(params)
    assert plain == [{"volume": "gv0", "host": "a,b", "port": 24007}]
    assert expected_volumes.load("node1", path) == []
    expected_volumes.save("node1", plain, path)
    expected_volumes.save("node2", [], path)
    assert (expected_volumes.load("node1", path), expected_volumes.load("node2", path)) == (
        plain,
        [],
    )
    assert [spec.name for spec in expected_volumes.specs([*plain, {"volume": "-"}])] == ["gv0"]
    Path(path).write_text("[")
    assert expected_volumes.load("node1", path) == []


def test_errors_come_first_and_nothing_twice() -> None:
    a = Finding.of("IMAGE_ORPHAN", "x", "old")
    b = Finding.of("BRICK_DOWN", "y", "down", volume="gv0")
    assert ordered([a, b, a]) == [b, a]
    assert isinstance(a, Finding)


def test_the_documentation_is_made_from_the_table_of_codes() -> None:
    text = (ROOT / "doc" / "verify.rst").read_text()
    assert runpy.run_path(str(ROOT / ".ci" / "findings-doc"))["written"](text) == text
    assert re.findall(r"^``([A-Z_]+)``", text, re.MULTILINE) == list(CODES)
