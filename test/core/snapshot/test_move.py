"""The images of a stopped instance are copied to another volume, all or none."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from local_volume import LocalVolume

from ganeti_gluster.core import image
from ganeti_gluster.core.serve import holder
from ganeti_gluster.core.serve.holder import node_number, work_number
from ganeti_gluster.core.snapshot import move, request
from ganeti_gluster.core.snapshot.request import DiskRequest, SnapshotRequest
from ganeti_gluster.core.volume import VolfileServer, VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError

PATHS = ["ganeti/u.0", "ganeti/u.1"]
OLD_SPEC = VolumeSpec("gv0", (VolfileServer("node1", 24007),))
CONTENT = {PATHS[0]: b"a" * (2 << 20), PATHS[1]: b"b" * (3 << 20)}

ASKED = SnapshotRequest(
    operation=request.MOVE,
    instance="vm1",
    instance_uuid="u",
    name="",
    disks=tuple(DiskRequest(index, "u%d" % index, path) for index, path in enumerate(PATHS)),
    disks_volume=OLD_SPEC,
    snapshots_volume=OLD_SPEC._replace(name="gv1"),
    running=False,
    checksum=True,
)


class Guests:
    """What runs on this node."""

    node = "node1"
    running = False

    def is_running(self, instance: str) -> bool:
        return self.running


class Report:
    """Calls `during` when it is told of something, or of a copy that goes on."""

    def __init__(self, during: Any = None) -> None:
        self.during = during
        self.said: list[str] = []

    def message(self, text: str) -> None:
        self.said.append(text)

    def progress(self, disk: int, progress: object) -> None:
        during, self.during = self.during, None
        if during is not None:
            during()


class Volumes(dict[str, Any]):
    """The volumes by name."""

    def old(self) -> None:
        """The old images are there, whole and closed, and nothing else is anywhere."""
        assert {path: self["gv0"].read(path) for path in self["gv0"].names()} == CONTENT
        assert self["gv1"].names() == []
        assert self["gv0"].files == self["gv1"].files == []


@pytest.fixture(autouse=True)
def volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Volumes:
    found = Volumes()
    for name in ("gv0", "gv1"):
        (tmp_path / name).mkdir()
        found[name] = LocalVolume(tmp_path / name)
        found[name].name = name
    for path, content in CONTENT.items():
        found["gv0"].write(path, content)

    @contextmanager
    def connect(spec: VolumeSpec) -> Iterator[Any]:
        yield found[spec.name]

    monkeypatch.setattr(move, "connect", connect)
    monkeypatch.setattr(holder, "ask_each", lambda volume, question: [])
    return found


def moved(report: Report | None = None) -> dict[str, Any]:
    return move.do(ASKED, Guests(), report or Report())  # type: ignore[arg-type]


def test_each_volume_has_the_images_then_and_the_new_ones_say_whence(volumes: Volumes) -> None:
    image.set_info(volumes["gv0"], PATHS[0], "origin")
    stamps = moved()["stamps"]
    for path, stamp in zip(PATHS, stamps, strict=True):
        assert volumes["gv1"].read(path) == volumes["gv0"].read(path) == CONTENT[path]
        assert move.origin(volumes["gv1"], path) == "gv0"
        assert stamp["old"] == image.stamp(volumes["gv0"], path)
        assert stamp["new"] == image.stamp(volumes["gv1"], path)
    assert image.get_info(volumes["gv1"], PATHS[0]) == "origin"
    assert volumes["gv1"].names() == PATHS
    move.forget_origin(volumes["gv1"], PATHS[0])
    assert move.origin(volumes["gv1"], PATHS[0]) == ""


def test_a_server_that_had_an_old_image_never_comes_back_and_the_next_one_does_not_wait(
    volumes: Volumes,
) -> None:
    volumes["gv0"].setxattr(PATHS[0], holder.WORD_ATTRIBUTE, b"of-a-node-that-was-cut-off 7")
    moved()
    word, number = holder.word_of(volumes["gv0"], PATHS[0])
    assert word.startswith(holder.EVICTED + "-") and number == 0


def test_an_image_that_was_replaced_has_another_stamp(volumes: Volumes) -> None:
    before = image.stamp(volumes["gv0"], PATHS[0])
    volumes["gv0"].write(PATHS[0] + ".restored", CONTENT[PATHS[0]])
    volumes["gv0"].rename(PATHS[0] + ".restored", PATHS[0])
    assert image.stamp(volumes["gv0"], PATHS[0]) != before


def test_nobody_opens_an_old_image_meanwhile(volumes: Volumes) -> None:
    told = []

    def start() -> None:
        for path in PATHS:
            with volumes["gv0"].open(path, write=True) as file:
                with pytest.raises(OSError, match="locked"):
                    file.lock(1, pid=node_number("node2"))
                told.append(file.conflicting_lock(1)[1])

    moved(Report(start))
    assert told == [work_number("node1")] * 2


def test_an_image_that_is_open_stays(volumes: Volumes) -> None:
    with (
        volumes["gv0"].elsewhere(PATHS[1], node_number("node2")),
        pytest.raises(GanetiGlusterError, match="disk/1 is open on a node"),
    ):
        moved()
    volumes.old()


def test_an_instance_that_runs_stays(volumes: Volumes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Guests, "running", True)
    with pytest.raises(GanetiGlusterError, match="instance vm1 is running"):
        moved()
    volumes.old()


def test_what_was_opened_in_spite_of_the_lock_stays(volumes: Volumes) -> None:
    """The worker's node is cut off, and the instance is started elsewhere."""
    with pytest.raises(GanetiGlusterError, match="may have opened it since"):
        moved(Report(lambda: volumes["gv0"].lose(PATHS[1])))
    volumes.old()


@pytest.mark.parametrize("step", ["link", "unlink"])
@pytest.mark.parametrize("path", PATHS)
def test_a_move_that_fails_leaves_nothing(volumes: Volumes, step: str, path: str) -> None:
    def fail(what: str, *names: object) -> None:
        if what == step and str(names[0]).startswith(path):
            volumes["gv1"].before = lambda *what: None
            raise OSError(errno.ENOTCONN, "too few bricks", str(names[0]))

    volumes["gv1"].before = fail
    with pytest.raises((OSError, GanetiGlusterError), match="too few bricks"):
        moved()
    volumes.old()


def test_a_caller_that_is_gone_when_all_is_copied_leaves_nothing(volumes: Volumes) -> None:
    class Gone(Report):
        def message(self, text: str) -> None:
            if text == "Copied all":
                raise GanetiGlusterError("the process that requested it has ended")

    with pytest.raises(GanetiGlusterError, match="has ended"):
        moved(Gone())
    volumes.old()


def test_a_worker_that_was_cut_off_leaves_the_images_of_the_move_that_came_after_it(
    volumes: Volumes,
) -> None:
    """Its node stood still; the instance failed over, was moved from there, and may run."""
    stamps: list[dict[str, str]] = []

    class CutOff(Report):
        def message(self, text: str) -> None:
            if text != "Copied all" or stamps:
                return
            for path in PATHS:
                volumes["gv0"].lose(path)
                # Gluster gives no inode's number twice.
                kept.enter_context(volumes["gv1"].open(path))
                assert move.remove_unused(volumes["gv1"], path, node="node2", sure=lambda: True)
            stamps.extend(moved()["stamps"])
            for path in PATHS:
                volumes["gv0"].unlink(path)
            raise GanetiGlusterError("the process that requested it has ended")

    with ExitStack() as kept, pytest.raises(GanetiGlusterError, match="has ended"):
        moved(CutOff())
    assert [image.stamp(volumes["gv1"], path) for path in PATHS] == [s["new"] for s in stamps]
    assert [volumes["gv1"].read(path) for path in PATHS] == list(CONTENT.values())


def test_a_new_image_that_somebody_has_open_is_not_taken_back(volumes: Volumes) -> None:
    opened = []

    class Opened(Report):
        def message(self, text: str) -> None:
            if text == "Copied all":
                opened.append(volumes["gv1"].open(PATHS[0], write=True))
                opened[0].lock(1, pid=node_number("node2"))
                raise GanetiGlusterError("the process that requested it has ended")

    with pytest.raises(GanetiGlusterError, match=r"u\.0 of volume gv1 could not be removed"):
        moved(Opened())
    assert volumes["gv1"].read(PATHS[0]) == CONTENT[PATHS[0]]


def test_a_new_image_has_its_mark_before_its_name(volumes: Volumes) -> None:
    marks = []

    def look(what: str, old: object, *new: object) -> None:
        if what == "link":
            marks.append(move.origin(volumes["gv1"], str(old)))

    volumes["gv1"].before = look
    moved()
    assert marks == ["gv0", "gv0"]


def test_a_new_image_that_is_not_used_can_be_removed_and_no_other(volumes: Volumes) -> None:
    moved()
    assert move.remove_unused(volumes["gv1"], PATHS[0], node="node1", sure=lambda: True)
    assert not move.remove_unused(volumes["gv1"], PATHS[0], node="node1", sure=lambda: True)
    assert not move.remove_unused(volumes["gv0"], PATHS[0], node="node1", sure=lambda: True)
    move.forget_origin(volumes["gv1"], PATHS[1])
    assert not move.remove_unused(volumes["gv1"], PATHS[1], node="node1", sure=lambda: True)
    assert volumes["gv1"].names() == PATHS[1:]


def test_an_image_that_is_there_already_is_not_touched(volumes: Volumes) -> None:
    volumes["gv1"].write(PATHS[1], b"another")
    with pytest.raises(
        GanetiGlusterError, match=r"image ganeti/u\.1 of volume gv1 already exists"
    ):
        moved()
    assert volumes["gv1"].names() == [PATHS[1]]
    assert volumes["gv1"].read(PATHS[1]) == b"another"


def test_a_request_is_the_same_on_the_other_side() -> None:
    assert request.load(request.dump(ASKED)) == ASKED
    assert request.load(request.dump(replace(ASKED, limit=5))).limit == 5
