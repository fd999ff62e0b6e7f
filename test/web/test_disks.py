"""What the page is told of disks: by their volumes, and by the nodes that have them open."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from local_volume import LocalVolume

from ganeti_gluster.core.health import ImageHealth
from ganeti_gluster.core.snapshot import catalogue
from ganeti_gluster.core.snapshot.catalogue import About
from ganeti_gluster.core.verify.facts import Disk, NodeFacts, ServerView
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import VolumeUnreachable
from ganeti_gluster.tools.command import CommandResult
from ganeti_gluster.tools.decode import as_data, build
from ganeti_gluster.web import disks
from ganeti_gluster.web.disks import DisksAsked
from ganeti_gluster.web.facts import DisksFacts, ShownHolder

SPEC = VolumeSpec.from_params({"volume": "gv0", "host": "node1"})
PATHS = {"vm1": "ganeti/a.0", "vm2": "ganeti/b.0"}
WANTED = DisksAsked(
    ({"volume": "gv0", "host": "node1:24007"},),
    {"gv0": {name: {"0": path} for name, path in PATHS.items()}},
)


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A volume with the image of vm1, which has a snapshot, and none of vm2."""
    there = LocalVolume(tmp_path)
    for name in ("a.0", "a.0.snap.s", "a.0.snap.cut"):
        there.write("ganeti/" + name, b"x" * 4096)

    @contextlib.contextmanager
    def connect(spec: VolumeSpec) -> Iterator[LocalVolume]:
        yield there

    def about(volume: object, path: str) -> About | None:
        return About("vm1", "s", 7.0, (0,), live=True) if path.endswith(".s") else None

    monkeypatch.setattr(disks, "connect", connect)
    monkeypatch.setattr(catalogue, "_about", about)
    monkeypatch.setattr(
        disks.health, "check", lambda volume, path: ImageHealth(True, False, None, "node3 away")
    )
    return tmp_path


def test_images_and_snapshots_are_found_in_one_look(volume: Path) -> None:
    found = disks.find(WANTED)
    assert not found.problems
    one, other = found.images
    assert (one.path, one.size, one.degraded, one.state) == (
        *("ganeti/a.0", 4096, True, "node3 away"),
    )
    assert (other.path, other.size) == ("ganeti/b.0", None)
    assert not found.problems
    assert {(each.instance, each.name, each.complete) for each in found.snapshots} == {
        ("vm1", "s", True),
        ("vm1", "cut", False),
    }


def test_a_volume_that_does_not_answer_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(spec: VolumeSpec) -> None:
        raise VolumeUnreachable("volume gv0 cannot be reached", volume="gv0")

    monkeypatch.setattr(disks, "connect", connect)
    found = disks.find(WANTED)
    assert found.problems == ("volume gv0: volume gv0 cannot be reached",)
    assert not found.images


def test_the_program_is_told_what_to_look_at_and_nodes_tell_what_is_open(tmp_path: Path) -> None:
    file = str(tmp_path / "disks")
    told: list[DisksAsked] = []

    def run(argv: Sequence[str], *, timeout: float) -> CommandResult:
        told.append(build(DisksAsked, json.loads(Path(argv[-1]).read_text())))
        answer = DisksFacts(problems=("volume gv1: no answer",))
        return CommandResult(tuple(argv), 0, json.dumps(as_data(answer)), "")

    known = [Disk(name, 0, "gv0", path, 4096, "node1") for name, path in PATHS.items()]
    servers = (
        ServerView("k", "waiting", 35.0, "quorum is lost", "gv0/ganeti/a.0", mode="exclusive"),
        ServerView("l", "serving", 0.0, "once", "gv0/ganeti/b.0", mode="shared"),
    )
    nodes = {"node2": NodeFacts("node2", {}, servers=servers)}
    found = disks.disks_facts([SPEC], known, nodes, run=run, file=file)
    assert told == [WANTED]
    assert found.problems == ("volume gv1: no answer",)
    assert found.holders == (
        ShownHolder("gv0/ganeti/a.0", "node2", "exclusive", "quorum is lost"),
        ShownHolder("gv0/ganeti/b.0", "node2", "shared", ""),
    )


def test_it_prints_what_it_found(
    volume: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "wanted"
    file.write_text(json.dumps(as_data(WANTED)))
    assert disks.main([str(file)]) == 0
    assert build(DisksFacts, json.loads(capsys.readouterr().out)) == disks.find(WANTED)
