"""A brick is given up only where the others of its set have all that it has."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from ganeti_gluster.core.pool import blame, brick_moves, copies, steps
from ganeti_gluster.core.pool.brick_moves import BrickMove, BrickMover, MoveRefused
from ganeti_gluster.core.pool.copies import NotWhole
from ganeti_gluster.core.pool.members import Pool
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.gluster_cli import (
    BrickStatus,
    Peer,
    VolumeBrick,
    VolumeInfo,
    VolumeStatus,
)
from ganeti_gluster.tools.gluster_cli.heal import BrickHeal

NODES = ["node1", "node2", "node3"]
PATH = "/srv/b/gv0"
DATA = Path(__file__).parents[2] / "tools" / "gfapi" / "data"


def brick(node: str, *, arbiter: bool = False) -> VolumeBrick:
    return VolumeBrick(node, PATH, "uuid-" + node, arbiter)


def shape(*, arbiter: bool = False, disperse: int = 0) -> VolumeInfo:
    bricks = (brick("node1"), brick("node2"), brick("node3", arbiter=arbiter))
    return VolumeInfo(
        name="gv0", uuid="v", state="Started", kind="Disperse" if disperse else "Replicate",
        replica=1 if disperse else 3, arbiter=int(arbiter), disperse=disperse,
        redundancy=1 if disperse else 0, bricks=bricks, options={"features.shard": "on"},
    )  # fmt: skip


class Agents:
    """Nodes whose bricks know others to be behind, and images that some brick alone has."""

    def __init__(self, blames: dict[str, dict[str, int]], unreadable: list[str] | None = None):
        self.blames, self.unreadable = blames, unreadable or []
        #: The versions that each node's brick has, of all in its index.
        self.versions: dict[str, dict[str, list[int]]] = {}
        self.between = lambda: None
        #: What happens while images are read.
        self.reading = lambda: None
        self.asked: list[Any] = []
        self.down: set[str] = set()
        self.starts = True
        self.info = shape()

    def one(self, node: str, verb: str, **arguments: Any) -> Any:
        self.asked.append((node, verb))
        if verb == "behind":
            assert arguments["brick"] == PATH
            return {"%s:%s" % (to, PATH): n for to, n in self.blames.get(node, {}).items()}
        if verb == "versions":
            return self._versions(node, **arguments)
        if verb == "unreadable":
            assert arguments["without"] == "node2:" + PATH
            assert "node2" not in arguments["servers"]
            self.reading()
            return self.unreadable
        return {"files": 7}

    def _versions(
        self, node: str, *, brick: str, timeout: float, after: str = "", gfids: Any = None
    ) -> Any:
        assert brick == PATH
        if gfids is None:
            gfids = sorted(gfid for gfid in self.versions.get(node, {}) if gfid > after)[:2]
        found = {
            gfid: self.versions[node][gfid]
            for gfid in gfids
            if gfid in self.versions.get(node, {})
        }
        self.between()
        return found

    def gluster(self, node: str) -> Any:
        return self

    # gluster

    def ask(self, *words: str) -> None:
        self.asked.append(" ".join(words[1:]))
        if words[1] == "start" and self.starts:
            self.down.clear()

    def start_heal(self, name: str, *, full: bool = False) -> None:
        self.asked.append("heal")

    def volume(self, name: str) -> VolumeInfo:
        return self.info

    def status(self, name: str) -> VolumeStatus:
        bricks = [
            BrickStatus(node, PATH, "uuid-" + node, node not in self.down, 1, 1) for node in NODES
        ]
        return VolumeStatus(name, tuple(bricks), ())

    def heal_counts(self, name: str, *, timeout: float) -> list[BrickHeal]:
        return [BrickHeal("b", True, "Connected", 0, 0, 0, 0)]


def pool() -> Pool:
    peers = [Peer("uuid-" + node, (node,), True, 3, "Peer in Cluster") for node in NODES[1:]]
    return Pool("node1", "uuid-node1", tuple(peers), (shape(),), {})


def need(agents: Agents, info: VolumeInfo | None = None, nodes: list[str] | None = None) -> None:
    """Give up the brick of node2."""
    found: Any = agents
    copies.need_others(
        found,
        pool(),
        ["node1", "node3"] if nodes is None else nodes,
        info or shape(),
        brick("node2"),
    )


def test_bricks_that_have_all_are_enough() -> None:
    agents = Agents({"node1": {"node2": 300}, "node3": {"node2": 300}})  # since it is away
    need(agents)
    behind = [("node1", "behind"), ("node3", "behind")]
    assert agents.asked == [*behind, ("node1", "unreadable"), *behind]


def test_what_falls_behind_while_images_are_read_is_seen() -> None:
    # node1 was away meanwhile, and an arbiter alone has seen what was written.
    agents = Agents({})
    agents.reading = lambda: agents.blames.update({"node3": {"node1": 5}})
    with pytest.raises(NotWhole, match=r"not healed: node1:/srv/b/gv0 \(5 files\); node2:/srv/b"):
        need(agents, shape(arbiter=True))


@pytest.mark.parametrize("arbiter", [False, True])
@pytest.mark.parametrize(
    ("blames", "late"),
    [
        # away while the guest wrote, and back
        ({"node3": {"node1": 12, "node2": 3}}, "node1:/srv/b/gv0 (12 files)"),
        # away one after the other
        ({"node1": {"node3": 4}, "node3": {"node1": 2}}, "node1:.* (2 files), node3:.* (4 files)"),
        # who blames itself
        ({"node1": {"node1": 1}}, "node1:/srv/b/gv0 (1 files)"),
    ],
)
def test_what_is_behind_on_the_others_may_be_good_on_it_alone(
    blames: dict[str, dict[str, int]], late: str, arbiter: bool
) -> None:
    pattern = late.replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(
        NotWhole, match="the remaining bricks are not healed: " + pattern
    ) as caught:
        need(Agents(blames), shape(arbiter=arbiter))
    assert "start node node2, so that the others are healed from its brick" in caught.value.hint


def test_an_image_that_cannot_be_read_without_it_stays_on_it() -> None:
    images = ["ganeti/%d (Input/output error)" % number for number in range(5)]
    with pytest.raises(NotWhole, match=r"5 images cannot be read without .*, ganeti/2 .*, \.\.\."):
        need(Agents({}, images))


@pytest.mark.parametrize(
    ("versions", "late"),
    [
        # away while the guest wrote, and back
        ({"node1": {"a": [3, 1], "b": [3, 1]}, "node3": {"a": [9, 1], "b": [9, 1]}}, "node1 2"),
        # its file was made meanwhile, or has other attributes
        ({"node3": {"a": [0, 0], "b": [7, 7]}, "node1": {"b": [7, 6]}}, "node1 2"),
        # away one after the other; more than are told at once
        (
            {
                "node1": {"a": [5, 1], "b": [5, 1], "c": [5, 1], "d": [4, 1]},
                "node3": {"a": [5, 1], "b": [4, 1], "c": [5, 1], "d": [5, 1]},
            },
            "node1 1, node3 1",
        ),
    ],
)
def test_the_versions_in_a_disperse_set_tell_what_is_behind(
    versions: dict[str, dict[str, list[int]]], late: str
) -> None:
    agents = Agents({})
    agents.versions = versions
    with pytest.raises(NotWhole, match="the remaining bricks are not healed") as caught:
        need(agents, shape(disperse=3))
    said = [each.split() for each in late.split(", ")]
    assert ", ".join("%s:%s (%s files)" % (node, PATH, n) for node, n in said) in str(caught.value)
    assert "start node node2" in caught.value.hint


def test_what_is_written_and_removed_in_a_disperse_set_is_not_behind() -> None:
    agents = Agents({})
    files = {"node1": {"a": [1, 1], "c": [1, 1]}, "node3": {"a": [1, 1], "b": [1, 1]}}
    agents.versions = files

    def go_on() -> None:
        for node, number in files.items():
            files[node]["a"] = [number["a"][0] + 1, 1]
            files[node].pop("b", None)
        files["node3"]["c"] = [1, 1]

    agents.between = go_on
    need(agents, shape(disperse=3))
    assert agents.asked.count(("node1", "unreadable")) == 1


def test_a_brick_that_nobody_can_ask_is_not_relied_on() -> None:
    with pytest.raises(NotWhole, match="no node can report what brick node3:"):
        need(Agents({}), nodes=["node1"])


# -- moves --------------------------------------------------------------------------------


def mover(agents: Agents, monkeypatch: pytest.MonkeyPatch, nodes: list[str] = NODES) -> BrickMover:
    monkeypatch.setattr(steps.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(brick_moves, "BRICK_SECONDS", 0.01)
    found: Any = agents
    return BrickMover(found, pool(), nodes, lambda line: agents.asked.append(line))


MOVE = BrickMove("gv0", brick("node2"), "node4", PATH, "node4")


def test_a_brick_is_not_moved_while_the_others_are_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    agents = Agents({"node3": {"node1": 12}})
    move = mover(agents, monkeypatch).steps(MOVE, heal_first=False)[0]
    with pytest.raises(MoveRefused, match="is not moved: the remaining bricks are not healed"):
        move.do()
    assert not [words for words in agents.asked if "replace-brick" in str(words)]


def test_a_brick_is_not_moved_if_another_one_ends_while_images_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agents = Agents({})
    agents.reading = lambda: agents.down.add("node1")
    with pytest.raises(MoveRefused, match=r"other bricks of its set are not online: node1:/srv/b"):
        mover(agents, monkeypatch)._move(MOVE)
    assert not [words for words in agents.asked if "replace-brick" in str(words)]


def test_a_brick_that_does_not_run_is_looked_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    agents = Agents({})
    agents.down = {"node2"}
    bricks = [(shape(), brick(node)) for node in NODES]
    ordered = mover(agents, monkeypatch).dead_first(bricks)
    assert [one.server for _, one in ordered] == ["node2", "node1", "node3"]


@pytest.mark.parametrize("starts", [True, False])
def test_a_brick_that_does_not_run_is_started_and_healed_from(
    monkeypatch: pytest.MonkeyPatch, starts: bool
) -> None:
    agents = Agents({})
    agents.down, agents.starts = {"node2"}, starts
    healed: list[str] = []
    found = mover(agents, monkeypatch)
    monkeypatch.setattr(found, "heal", healed.append)
    found.steps(MOVE, heal_first=True)[0].do()
    assert agents.asked[0] == "start gv0 force"
    assert healed == (["gv0"] if starts else [])
    if not starts:
        assert "is not running and cannot be started" in agents.asked[-1]


# -- what a brick knows ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["glusterfs-11.1-replica3", "glusterfs-10.3-arbiter"])
def test_the_attributes_of_bricks(name: str) -> None:
    found = blame.attributes((DATA / (name + ".vol")).read_text())
    assert len(found) == 3
    assert all(key.startswith("trusted.afr.") and "-client-" in key for key in found)
    assert len(set(found.values())) == 3
    assert all(":/" in place for place in found.values())


def test_who_is_behind_is_read_from_the_files_in_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = (DATA / "glusterfs-11.1-replica3.vol").read_text()
    names = blame.attributes(graph)
    first, second, third = names
    volume = tmp_path / "vols/gv0"
    volume.mkdir(parents=True)
    (volume / "gv0.tcp-fuse.vol").write_text(graph)
    index = tmp_path / "brick/.glusterfs/indices/xattrop"
    index.mkdir(parents=True)
    pending = {
        "aa01": {first: bytes(12), second: b"\0\0\0\1" + bytes(8)},
        "aa02": {second: bytes(4) + b"\0\0\0\1" + bytes(4), third: bytes(11) + b"\1"},
        "aa03": {"trusted.afr.dirty": b"\1" * 12, "trusted.afr.other-client-0": b"\1" * 12},
    }
    for gfid in (*pending, "aa04", "xattrop-base"):
        (index / gfid).touch()

    def listed(path: str) -> list[str]:
        gfid = os.path.basename(path)
        assert path == str(tmp_path / "brick/.glusterfs" / gfid[:2] / gfid[2:4] / gfid)
        if gfid not in pending:
            raise FileNotFoundError(path)
        return list(pending[gfid])

    monkeypatch.setattr(blame, "VOLUMES", tmp_path / "vols")
    monkeypatch.setattr(blame.os, "listxattr", listed)
    monkeypatch.setattr(
        blame.os, "getxattr", lambda path, name: pending[os.path.basename(path)][name]
    )
    assert blame.behind(str(tmp_path / "brick"), "gv0") == {names[second]: 2, names[third]: 1}
    with pytest.raises(GanetiGlusterError, match="no graph of volume gv1"):
        blame.behind(str(tmp_path / "brick"), "gv1")


def test_one_that_is_behind_with_little_is_found_among_all_that_a_dead_one_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A brick has been away while guests wrote; of an arbiter set, it alone may have the last file.
    graph = (DATA / "glusterfs-11.1-replica3.vol").read_text()
    dead, late, _ = blame.attributes(graph)
    monkeypatch.setattr(blame, "_graph", lambda volume: graph)
    monkeypatch.setattr(blame, "_index", lambda brick: map(str, range(100_000, 150_000)))
    monkeypatch.setattr(blame, "_blamed", lambda path: [late if path.endswith("149999") else dead])
    names = blame.attributes(graph)
    assert blame.behind("/srv/b", "gv0") == {names[dead]: 49_999, names[late]: 1}


def test_the_versions_of_a_bricks_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = tmp_path / ".glusterfs/indices/xattrop"
    index.mkdir(parents=True)
    there = {
        "aa01": bytes(7) + b"\5" + bytes(7) + b"\1",
        "aa03": None,
        "aa04": bytes(7) + b"\2" + bytes(8),
    }
    for gfid in ("aa01", "aa02", "aa03", "aa04", "xattrop-base"):
        (index / gfid).touch()

    def get(path: str, name: str) -> bytes:
        gfid = os.path.basename(path)
        assert path == str(tmp_path / ".glusterfs" / gfid[:2] / gfid[2:4] / gfid)
        if gfid not in there:
            raise FileNotFoundError(path)
        value = there[gfid]
        if value is None:
            raise OSError(errno.ENODATA, "none")
        return value

    monkeypatch.setattr(blame.os, "getxattr", get)
    monkeypatch.setattr(blame, "PAGE", 2)
    brick = str(tmp_path)
    assert blame.versions(brick) == {"aa01": [5, 1], "aa03": [0, 0]}
    assert blame.versions(brick, after="aa03") == {"aa04": [2, 0]}
    assert blame.versions(brick, after="aa04") == {}
    assert blame.versions(brick, gfids=["aa04", "aa02"]) == {"aa04": [2, 0]}
