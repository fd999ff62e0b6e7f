"""What `verify` asks of the nodes and volumes, and what it makes of the answers together."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ganeti_master import Master

from ganeti_gluster.core.image import ImageInfo
from ganeti_gluster.core.services.answers import NodeAnswer
from ganeti_gluster.core.verify import facts as f
from ganeti_gluster.core.verify.finding import Finding
from ganeti_gluster.tools.gluster_cli import (
    BrickHeal,
    BrickStatus,
    VolumeBrick,
    VolumeInfo,
    VolumeStatus,
)

from .conftest import Part

PLUGIN = {
    "version": "0.1.0",
    "template": "ganeti-gluster",
    "reasons": [],
    "noded": "ganeti-gluster",
    "noded_reasons": [],
}
NODES = ("node1", "node2", "node3")
BRICKS = tuple(VolumeBrick(name, "/b", "uuid-%s" % name) for name in NODES)
INFO = VolumeInfo("gv0", "u", "Started", "Replicate", 3, 0, 0, 0, BRICKS, {})
PATH = "ganeti/web.0"


def status(*down: str) -> VolumeStatus:
    bricks = (
        BrickStatus(each.server, each.path, each.server_uuid, each.server not in down, 49152, 1)
        for each in BRICKS
    )
    return VolumeStatus("gv0", tuple(bricks), ())


def volume(*down: str, **values: Any) -> f.VolumeFacts:
    return f.VolumeFacts("gv0", INFO, **{"status": status(*down), **values})


def image(path: str = PATH) -> ImageInfo:
    return ImageInfo(path, 1 << 30, 0, 0o600, 0, 0, time.time())


def images(*paths: str, name: str = "gv0") -> f.ImageFacts:
    return f.ImageFacts(name, tuple(image(path) for path in paths), (), (0, 0))


def brick(name: str, **values: Any) -> f.BrickPlace:
    return f.BrickPlace("gv0", "%s:/b" % name, "/b", size=100, free=50, **values)


class Cluster:
    """Three nodes with an instance on volume gv0; `volume` and `images` are what is seen."""

    def __init__(self, part: Part, master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
        use = part("pool_use")
        use.use(master, use.params_for("gv0", ["node1"]), None)
        master.add_instance("web", {})
        self.verify = part("verify")
        self.config = part("cluster_config").load()
        self.nodes = {name: self.node(name, brick(name, behind=0)) for name in NODES}
        self.instead: dict[str, NodeAnswer] = {}
        self.asked: list[str] = []
        self.volume = volume()
        self.images = images(PATH)
        #: Whether a backlog was asked for, the paths asked elsewhere, and what was read.
        self.backlog: list[bool] = []
        self.elsewhere: list[list[str]] = []
        self.read: list[tuple[list[str], frozenset[str]]] = []
        self.other: dict[str, str] = {}
        self.unreadable: dict[str, str] = {}
        #: The files that other nodes were given, each with the nodes that were to get it.
        self.copied: list[tuple[str, list[str]]] = []
        self.channel = SimpleNamespace(copy=self.copy)
        gather = self.verify.gather_volume
        monkeypatch.setattr(self.verify.cluster, "ask", self.ask)
        monkeypatch.setattr(gather, "gather_volume", self.look)
        monkeypatch.setattr(gather, "gather_images", self.list)
        monkeypatch.setattr(gather, "elsewhere", self.search)
        monkeypatch.setattr(gather, "unreadable", self.try_to_read)
        monkeypatch.setattr(self.verify, "PROVIDERS", [])

    def node(self, name: str, *bricks: f.BrickPlace, **values: Any) -> f.NodeFacts:
        usual = {
            "glusterd": f.RUNNING,
            "uuid": "uuid-%s" % name,
            "volumes": ("gv0",),
            "reached": ("gv0",),
            "bricks": bricks,
            "told": tuple(self.config.params["default"]),
        }
        return f.NodeFacts(name, PLUGIN, **{**usual, **values})

    def ask(self, command: str, addresses: Mapping[str, str], **rest: Any) -> Any:
        self.asked += addresses
        return {
            name: self.instead.get(name) or NodeAnswer(json.dumps(self.nodes[name].to_dict()))
            for name in addresses
        }

    def look(self, spec: Any, *, backlog: bool) -> f.VolumeFacts:
        self.backlog.append(backlog)
        return self.volume

    def list(self, spec: Any, *, gfids_of: Any = ()) -> f.ImageFacts:
        gfids = {path: "gfid-of-%s" % path for path in gfids_of}
        return replace(self.images, gfids=gfids)

    def search(self, paths: Any, without: Any) -> dict[str, str]:
        self.elsewhere.append(list(paths))
        return self.other

    def try_to_read(self, spec: Any, paths: list[str], *, whole: frozenset[str]) -> Any:
        self.read.append((paths, whole))
        return self.unreadable

    def copy(self, path: str, names: list[str], *, seconds: float) -> list[str]:
        self.copied.append((path, names))
        return ["node2"]

    def findings(self) -> list[Finding]:
        found: list[Finding] = self.verify.check_cluster(self.verify.look_at_cluster(self.config))
        return found

    def codes(self) -> dict[str, str]:
        return {each.code: each.object for each in self.findings()}


@pytest.fixture
def cluster(
    part: Part, master: Master, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Cluster:
    found = Cluster(part, master, monkeypatch)
    verify = found.verify
    for module in (verify.backlog, verify.last):
        for name in ("load", "save"):
            usual = getattr(module, name)
            path = str(tmp_path / module.__name__)
            monkeypatch.setattr(
                module,
                name,
                lambda *args, usual=usual, path=path, **how: usual(*args, path=path, **how),
            )
    for function in (verify.identities.load, verify.identities.note):
        monkeypatch.setattr(function, "__defaults__", (str(tmp_path / "identities"),))
    monkeypatch.setattr(verify.cluster, "SshChannel", lambda: found.channel)
    return found


def test_all_nodes_are_asked_once_and_no_backlog_where_no_brick_knows_of_one(
    cluster: Cluster,
) -> None:
    codes = cluster.codes()
    assert sorted(cluster.asked) == list(NODES)
    assert cluster.backlog == [False]
    assert cluster.read == cluster.elsewhere == []
    assert not {"NODE_SILENT", "IMAGE_MISSING", "HEAL_BACKLOG", "NOT_CHECKED"} & set(codes)


def test_a_node_that_knows_other_volumes_is_told_and_asked_again(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    cluster.nodes["node2"] = replace(cluster.nodes["node2"], told=())
    channel = SimpleNamespace(copy=lambda path, names, seconds: told.extend(names) or ["node2"])
    monkeypatch.setattr(cluster.verify.cluster, "SshChannel", lambda: channel)
    monkeypatch.setattr(cluster.verify.expected_volumes, "save_all", lambda params: None)
    answers = cluster.verify.ask_nodes(cluster.config)
    assert told == ["node2"]
    assert sorted(cluster.asked) == ["node1", "node2", "node2", "node3"]
    assert sorted(answers.nodes) == list(NODES)


def test_a_silent_node_keeps_nothing_from_being_checked(cluster: Cluster) -> None:
    cluster.instead["node2"] = NodeAnswer(reason="no answer within 90 s", error="Error 28: x")
    cluster.volume = volume("node2")
    codes = cluster.codes()
    assert codes["NODE_SILENT"] == "node2"
    assert "BRICK_DOWN" in codes


def test_an_image_that_is_nowhere_is_missing(cluster: Cluster) -> None:
    cluster.images = images()
    codes = cluster.codes()
    assert cluster.elsewhere == [[PATH]]
    assert "IMAGE_MISSING" in codes
    assert "IMAGE_ELSEWHERE" not in codes


def test_an_image_on_another_volume_is_not_missing(cluster: Cluster) -> None:
    cluster.images = images()
    cluster.other = {PATH: "gv9"}
    found = {each.code: each for each in cluster.findings()}
    assert "gv9" in found["IMAGE_ELSEWHERE"].text
    assert "IMAGE_MISSING" not in found


def test_volumes_that_were_listed_anyway_are_not_asked_again(cluster: Cluster) -> None:
    listed = {"gv0": images(), "gv1": images(PATH, name="gv1")}
    assert cluster.verify.look_elsewhere(cluster.config, listed) == ({PATH: "gv1"}, ())
    assert cluster.elsewhere == [[]]


def test_other_volumes_that_cannot_be_asked_are_told(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(paths: Any, without: Any) -> Any:
        raise OSError("glusterd is down")

    monkeypatch.setattr(cluster.verify.gather_volume, "elsewhere", refuse)
    cluster.images = images()
    found = {each.code: each for each in cluster.findings()}
    assert found["NOT_CHECKED"].text == "other volumes: glusterd is down"


def test_a_volume_that_cannot_be_looked_at_is_not_checked(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(spec: Any, *, backlog: bool) -> Any:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(cluster.verify.gather_volume, "gather_volume", refuse)
    found = [each for each in cluster.findings() if each.code == "NOT_CHECKED"]
    assert [each.text for each in found] == ["volume gv0: Input/output error"]


@pytest.mark.parametrize("what", ["a brick is down", "a brick is behind", "no brick tells"])
def test_images_are_read_where_a_good_copy_may_be_away(cluster: Cluster, what: str) -> None:
    if what == "a brick is down":
        cluster.volume = volume("node3")
    elif what == "a brick is behind":
        known = brick("node1", behind=2, pieces={"piece": "image"})
        cluster.nodes["node1"] = cluster.node("node1", known)
    else:
        cluster.nodes = {name: cluster.node(name) for name in NODES}
    cluster.unreadable = {PATH: "Input/output error"}
    codes = cluster.codes()
    pieces = frozenset({"image"} if what == "a brick is behind" else ())
    assert cluster.read == [([PATH], pieces)]
    assert "IMAGE_UNREADABLE" in codes
    assert cluster.backlog == [what != "a brick is down"]


@pytest.mark.parametrize("info", [None, replace(INFO, state="Stopped")])
def test_nothing_is_read_of_a_volume_that_is_not_started(
    cluster: Cluster, info: VolumeInfo | None
) -> None:
    cluster.volume = f.VolumeFacts("gv0", info)
    cluster.findings()
    assert cluster.read == []


def test_a_piece_in_split_brain_is_told_with_its_image(cluster: Cluster) -> None:
    known = brick("node1", behind=1, pieces={"piece": "gfid-of-%s" % PATH})
    cluster.nodes["node1"] = cluster.node("node1", known)
    cluster.volume = volume(split=(f.SplitFile("<gfid:piece>", "piece"),))
    found = {each.code: each for each in cluster.findings()}
    assert "web" in found["SPLIT_BRAIN"].text


def test_since_when_a_brick_waits_is_remembered_until_nothing_does(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    verify = cluster.verify
    heal = BrickHeal("node1:/b", True, "Connected", 3, 3, 0, 0)
    clock = iter([1000.0, 1100.0, 1200.0, 1300.0])
    monkeypatch.setattr(verify.time, "time", lambda: next(clock))
    behind = {"gv0": volume(heal=(heal,))}
    assert verify._waiting(behind) == {"node1:/b": 0.0}
    assert verify._waiting(behind) == {"node1:/b": 100.0}
    # The servers did not tell: what is known stays.
    assert verify._waiting({"gv0": volume(problems=("no answer",))}) == {"node1:/b": 200.0}
    assert verify._waiting({"gv0": volume()}) == {}


def test_a_backlog_that_cannot_be_stored_fails_nothing(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    for module in (cluster.verify.backlog, cluster.verify.last):
        monkeypatch.setattr(module, "save", lambda *args, **how: refuse())
    heal = BrickHeal("node1:/b", True, "Connected", 3, 3, 0, 0)
    cluster.volume = volume(heal=(heal,))
    assert cluster.findings()
    assert "cannot store the findings" in caplog.text
    assert "cannot store since when heals have been pending" in caplog.text


def test_the_findings_are_kept_for_the_page(cluster: Cluster) -> None:
    cluster.images = images()
    found = cluster.findings()
    when, kept = cluster.verify.last.load()
    assert when is not None
    assert list(kept) == found


def test_a_node_is_known_by_the_names_that_its_peers_have_for_it(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = f.PeerView("node2-gl", ("node2-gl", "198.51.100.2"), "u", True, True, False, "")
    nodes = {"node1": cluster.node("node1", peers=(peer,))}
    known = cluster.verify.known_as(cluster.config, nodes, {"node2"})
    assert {"node2", "192.0.2.2", "198.51.100.2", "node2-gl"} <= known
    assert "node1" not in known
    assert cluster.verify.known_as(cluster.config, nodes, set()) == set()


def test_a_node_that_is_gone_is_known_by_the_uuid_that_it_had(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):  # the others are told what changes only
        cluster.findings()
    assert cluster.copied == [(cluster.verify.identities.PATH, list(NODES))]
    assert "cannot give node node2 the UUIDs of the nodes" in caplog.text
    names = ("203.0.113.2", "former-name")
    peer = f.PeerView(names[0], names, "uuid-node2", False, False, False, "")
    nodes = {"node1": cluster.node("node1", peers=(peer,))}
    known = cluster.verify.known_as(cluster.config, nodes, {"node2"})
    assert known >= {"node2", *names, "uuid-node2"}
    assert not set(names) & cluster.verify.known_as(cluster.config, nodes, {"node3"})


def test_uuids_that_cannot_be_kept_are_no_finding(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any) -> bool:
        raise OSError("disk full")

    monkeypatch.setattr(cluster.verify.identities, "note", fail)
    assert "NOT_CHECKED" not in cluster.codes()
    assert "cannot store the UUIDs of the nodes: disk full" in caplog.text


def test_a_node_without_a_brick_is_a_spare_of_the_pool_that_is_kept(
    cluster: Cluster, part: Part
) -> None:
    settings = SimpleNamespace(group="")
    config = replace(cluster.config, pools={"gv0": settings})
    two = replace(INFO, bricks=BRICKS[:2])
    seen = replace(volume(), info=two)
    assert cluster.verify.spares(config, seen, cluster.nodes) == ["node3"]
    assert cluster.verify.spares(cluster.config, seen, cluster.nodes) == []
    settings.group = "another"
    assert cluster.verify.spares(config, seen, cluster.nodes) == []


def test_settings_of_a_pool_that_are_not_valid_are_told(cluster: Cluster) -> None:
    cluster.config = replace(cluster.config, refused_pools={"gv0": "no directory"})
    found = {each.code: each for each in cluster.findings()}
    assert found["POOL_SETTINGS"].text == "no directory"


def test_a_cluster_without_gluster_is_only_asked_by_the_other_providers(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = Finding.of("NOT_CHECKED", "x", "y")
    monkeypatch.setattr(cluster.verify, "PROVIDERS", [lambda config: [extra]])
    config = replace(cluster.config, params={}, disks=())
    seen = cluster.verify.Look(config, {}, {"node2": "silent"}, {}, {}, {}, (), {})
    assert cluster.verify.check_cluster(seen) == [extra]


def test_what_cannot_be_asked_of_any_node_fails_the_whole(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **how: Any) -> Any:
        raise OSError("no certificate")

    monkeypatch.setattr(cluster.verify.cluster, "ask", refuse)
    with pytest.raises(OSError, match="no certificate"):
        cluster.findings()
