"""From what glusterd and the services' store say to what the page shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from ganeti_gluster.core.pool.state import PoolState, of_glusterd
from ganeti_gluster.core.services import config, store
from ganeti_gluster.core.services.model import ClusterServices, ServerService, ServiceStatus
from ganeti_gluster.core.verify.facts import BrickPlace, NodeFacts, ServerView
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.command import CommandResult
from ganeti_gluster.tools.gluster_cli import (
    BrickHeal,
    BrickStatus,
    Gluster,
    GlusterFailed,
    Peer,
    VolumeBrick,
    VolumeInfo,
    VolumeStatus,
)
from ganeti_gluster.web import pool, services, verification
from ganeti_gluster.web.facts import Board, encode

BRICKS = tuple(VolumeBrick("node%d" % n, "/b", "u%d" % n) for n in (1, 2, 3))
INFO = VolumeInfo("gv0", "u", "Started", "Replicate", 3, 0, 0, 0, BRICKS, {})
STATUS = VolumeStatus(
    "gv0",
    tuple(BrickStatus(one.server, one.path, one.server_uuid, True, 1, 1) for one in BRICKS),
    (),
)
HEALS = [BrickHeal("node1:/b", True, "", 7, 7, 0, 0)]


class FakeGluster(Gluster):
    """A pool of one volume that counts how often it is asked for heals."""

    asked = 0

    def peers(self) -> list[Peer]:
        return []

    def volumes(self) -> list[VolumeInfo]:
        return [INFO]

    def status(self, name: str) -> VolumeStatus:
        return STATUS

    def options(self, name: str) -> dict[str, str]:
        return {"network.ping-timeout": "42", "storage.reserve": "5"}

    def heal_counts(self, name: str, *, timeout: float = 0) -> list[BrickHeal]:
        type(self).asked += 1
        if self.asked > 1:
            raise GlusterFailed(["volume", "heal"], "too busy")
        return HEALS


def test_heals_are_asked_for_now_and_then_only() -> None:
    now = 0.0
    FakeGluster.asked = 0
    source = pool.PoolSource(FakeGluster(), dict, clock=lambda: now)
    for now in (0.0, 1.0, pool.HEALS_EVERY - 1):  # noqa: B007  # the clock
        assert source().volumes[0].heals == 7
    assert FakeGluster.asked == 1

    now = pool.HEALS_EVERY
    (volume,) = source().volumes
    assert volume.heals is None
    assert volume.problems == (
        "It is not known what needs healing: gluster volume heal: too busy",
    )


def test_options_that_differ_from_the_profile_are_shown() -> None:
    (volume,) = pool.PoolSource(FakeGluster(), dict)().volumes
    assert [text.partition(":")[0] for text in volume.differences] == [
        "network.ping-timeout is 42, not 20"
    ]


def test_options_that_are_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object, name: str) -> None:
        raise GlusterFailed(["volume", "get"], "too busy")

    monkeypatch.setattr(FakeGluster, "options", fail)
    (volume,) = pool.PoolSource(FakeGluster(), dict)().volumes
    assert volume.differences[0].startswith("Its options are not known: ")


def test_the_page_asks_glusterd_for_nothing_that_makes_it_grow() -> None:
    """`volume status … detail` does; the nodes tell the space of their bricks instead."""
    data = Path(__file__).parents[1] / "tools" / "gluster_cli" / "data" / "11.1"
    now = 0.0
    asked: list[tuple[str, ...]] = []
    rounds: list[float] = []

    def execute(argv: Sequence[str], timeout: float) -> CommandResult:
        words = tuple(argv[3:])
        asked.append(words)
        if "heal" in words:
            return CommandResult(tuple(argv), 0, "", "")
        if words[:2] == ("volume", "get"):
            return CommandResult(tuple(argv), 1, "", "too busy")
        name = "-".join(words[:2])
        text = (data / (name + ".xml")).read_text(encoding="utf-8")
        return CommandResult(tuple(argv), 0, text, "")

    def nodes() -> dict[str, NodeFacts]:
        rounds.append(now)
        brick = BrickPlace("gv0", brick_name, "/b", size=9, free=4)
        server = ServerView("k", "waiting", image="gv0/ganeti/a.0", full=True)
        fine = ServerView("l", "waiting", image="gv0/ganeti/b.0")
        return {"node1": NodeFacts("node1", {}, servers=(server, fine), bricks=(brick,))}

    gluster = Gluster(execute)
    info = next(each for each in gluster.volumes() if each.name == "gv0")
    brick_name = str(info.bricks[0])
    asked.clear()
    source = pool.PoolSource(gluster, nodes, clock=lambda: now)
    for now in range(0, 241, 30):  # noqa: B007  # the clock
        volume = next(each for each in source().volumes if each.name == "gv0")
    assert (volume.bricks[0].total, volume.bricks[0].free) == (9, 4)
    assert source().no_space == ("gv0/ganeti/a.0",)
    assert rounds == [0, 60, 120, 180, 240]
    assert not any("detail" in words for words in asked)
    assert {words[:2] for words in asked} == {
        ("peer", "status"),
        ("volume", "info"),
        ("volume", "status"),
        ("volume", "heal"),
        ("volume", "get"),
    }


def test_the_space_is_that_of_the_commands_once_it_has_been_measured(tmp_path: Path) -> None:
    FakeGluster.asked = 0
    path = tmp_path / "report.json"
    source = pool.PoolSource(
        FakeGluster(),
        dict,
        measured=lambda: verification.volumes_in_use(str(path)),
        clock=lambda: 0.0,
    )
    (before,) = source().volumes
    assert before.provisioned is None
    use = {"volume": before.name, "total": 1000, "free": 300, "provisioned": 5000}
    use |= {"snapshots": 0, "snapshot_bytes": 0}
    path.write_text(json.dumps({"data": {"volumes": [use]}}))
    (volume,) = source().volumes
    assert (volume.total, volume.free, volume.provisioned) == (1000, 300, 5000)
    path.write_text(json.dumps({"data": {}}))  # of a node that is not the master
    assert source().volumes == (before,)


def test_the_history_is_thinned_and_bounded() -> None:
    now = 0.0
    history = pool.History(clock=lambda: now, every=10.0)
    facts_ = PoolState((), (of_glusterd(INFO, STATUS, HEALS),))
    kept = 0
    for now in range(0, 10 * (pool.MAX_SAMPLES + 5), 5):  # noqa: B007  # the clock
        added = history.add(facts_)
        kept = len(added.samples) if added else kept

    assert kept == pool.MAX_SAMPLES
    assert history.add(PoolState()) is None


def test_the_store_is_shown_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "s" / "store.db")
    monkeypatch.setattr("ganeti_gluster.constants.SERVICES_STORE", path)
    monkeypatch.setattr("ganeti_gluster.constants.SERVICES_CONF", str(tmp_path / "none"))
    with pytest.raises(GanetiGlusterError, match="nothing is known about the services yet"):
        services.services_facts()
    names = [one.name for one in config.load().type("GLUSTER_SWIFT").services]

    def taken(time: float, node2: ServiceStatus) -> ClusterServices:
        return ClusterServices(
            time,
            tuple(
                ServerService("GLUSTER_SWIFT", name, node, state)
                for node, state in (("node1", ServiceStatus.RUNNING), ("node2", node2))
                for name in names
            ),
        )

    with store.connect(path, readonly=False) as opened:
        for time, state in ((1.0, ServiceStatus.RUNNING), (2.0, ServiceStatus.STOPPED)):
            opened.record(taken(time, state), master="node1", history=100)

    assert services.silent_nodes() == {}
    board = Board()
    board.post(json.loads(encode("swift", services.services_facts())))
    part = board.snapshot.part("swift")
    assert part.at == 2.0
    assert part.data.status is ServiceStatus.PARTIALLY_UP and part.data.message == "down: node2"
    assert [(one.node, one.status) for one in part.data.hosts] == [
        ("node1", ServiceStatus.RUNNING),
        ("node2", ServiceStatus.STOPPED),
    ]
    assert [one.name for one in part.data.hosts[0].services] == names
    events = services.events_facts().events
    assert events[0].text == ("GLUSTER_SWIFT in the cluster: Up -> Partially up: down: node2")
    assert [one.id for one in events] == sorted((one.id for one in events), reverse=True)
