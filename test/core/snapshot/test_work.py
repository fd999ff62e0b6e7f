"""Snapshots, restorations, clones and removals while others want the images."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from local_volume import LocalVolume

from ganeti_gluster.core import at_rest
from ganeti_gluster.core.copy import Progress
from ganeti_gluster.core.copy.images import NewImage
from ganeti_gluster.core.serve import holder
from ganeti_gluster.core.serve.files import EXCLUSIVE, SHARED
from ganeti_gluster.core.serve.holder import node_number, work_number
from ganeti_gluster.core.snapshot import catalogue, request, work
from ganeti_gluster.core.snapshot import replace as replace_
from ganeti_gluster.core.snapshot.request import DiskRequest, SnapshotRequest
from ganeti_gluster.core.volume import VolfileServer, VolumeSpec
from ganeti_gluster.errors import CopyFailed, GanetiGlusterError, IncompleteImage

UUID = "3bcf4bcd-8379-4e25-9c80-5371cb899f56"
PATHS = ["ganeti/%s.%d" % (UUID, index) for index in (0, 1)]
SPEC = VolumeSpec("gv0", (VolfileServer("node1", 24007),))
SIZE = 3 << 20
OLD, SAVED = b"o" * SIZE, b"s" * SIZE
OTHER = node_number("node2")

DISKS = tuple(DiskRequest(index, "u%d" % index, path) for index, path in enumerate(PATHS))


def asked(
    operation: str, *, disks: tuple[DiskRequest, ...] = DISKS, **more: Any
) -> SnapshotRequest:
    return SnapshotRequest(
        operation=operation,
        instance="vm1",
        instance_uuid=UUID,
        name="one",
        disks=disks,
        disks_volume=SPEC,
        snapshots_volume=SPEC,
        running=False,
        **more,
    )


class Guests:
    """Nothing runs on this node."""

    node = "node1"

    def is_running(self, instance: str) -> bool:
        return False


class Report:
    """Calls `during` once, when the copy of the disk of that index is under way."""

    def __init__(self, disk: int = 0, during: Callable[[], object] = lambda: None) -> None:
        self._disk, self._during = disk, during
        self.said: list[str] = []

    def message(self, text: str) -> None:
        self.said.append(text)

    def progress(self, disk: int, progress: Progress) -> None:
        if disk == self._disk:
            during, self._during = self._during, lambda: None
            during()


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """This node's servers: `state` by path, None where there is none."""
    found = SimpleNamespace(modes={}, peers=(), changed=[])

    class InUse:
        def __init__(self, spec: VolumeSpec, path: str, patience: int) -> None:
            self.spec, self.path = spec, path
            self.server = SimpleNamespace(change=self._change)

        def _change(self, mode: str) -> None:
            found.changed.append((self.path, mode))
            if self.path in found.modes:
                found.modes[self.path](mode)

        def status(self) -> object | None:
            return object() if self.path in found.modes else None

        def has_user(self) -> bool:
            return bool(found.peers)

        def flush(self) -> None:
            found.changed.append((self.path, "flush"))

    monkeypatch.setattr(at_rest, "ImageInUse", InUse)
    return found


@pytest.fixture(autouse=True)
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: SimpleNamespace) -> Any:
    """A stopped instance of two disks with a snapshot of them."""
    found = LocalVolume(tmp_path)
    about = catalogue.About("vm1", "one", 1.0, (0, 1))
    for path in PATHS:
        found.write(path, OLD)
        found.write(path + ".snap.one", SAVED)
        found.setxattr(path + ".snap.one", catalogue.XATTR, json.dumps(about.__dict__).encode())

    @contextmanager
    def connect(spec: VolumeSpec) -> Iterator[Any]:
        yield found

    monkeypatch.setattr(work, "connect", connect)
    monkeypatch.setattr(holder, "ask_each", lambda volume, question: [])
    return found


ALL = sorted([*PATHS, *(path + ".snap.one" for path in PATHS)])


def opens(volume: Any, path: str, number: int = OTHER) -> str:
    """What a node is told that wants to start the instance: "" or who keeps it from that."""
    file = volume.open(path, write=True)
    try:
        file.lock(1, pid=number)
    except OSError:
        found = file.conflicting_lock(1)
        assert found is not None
        return "node1" if found[1] == work_number("node1") else "another"
    else:
        return ""
    finally:
        file.close()


# -- restore ----------------------------------------------------------------------------


def test_a_restoration_gives_all_disks_their_content(volume: Any) -> None:
    work.do(asked(request.RESTORE), Guests(), Report())
    assert [volume.read(path) for path in PATHS] == [SAVED, SAVED]
    assert volume.names() == ALL
    assert volume.files == []


@pytest.mark.parametrize("index", [0, 1])
def test_an_instance_cannot_be_started_while_it_is_restored(volume: Any, index: int) -> None:
    told = []
    report = Report(1, lambda: told.append(opens(volume, PATHS[index])))
    work.do(asked(request.RESTORE), Guests(), report)
    assert told == ["node1"]
    assert opens(volume, PATHS[index]) == ""


def test_an_image_that_was_opened_in_spite_of_that_keeps_its_content(volume: Any) -> None:
    """The worker's node is cut off, and the instance is failed over meanwhile."""
    with ExitStack() as elsewhere:

        def fail_over() -> None:
            volume.lose(PATHS[0])
            guest = elsewhere.enter_context(volume.elsewhere(PATHS[0], OTHER))
            guest.pwrite(b"written", 0)

        with pytest.raises(GanetiGlusterError, match="may have opened it since"):
            work.do(asked(request.RESTORE), Guests(), Report(1, fail_over))
        assert volume.read(PATHS[0]) == b"written" + OLD[7:]
    assert volume.read(PATHS[1]) == OLD
    assert volume.names() == ALL


@pytest.mark.parametrize("index", [0, 1])
def test_an_image_that_is_opened_at_the_last_moment_is_put_back(volume: Any, index: int) -> None:
    with ExitStack() as elsewhere:

        def fail_over(what: str, *names: str) -> None:
            if (what, names[-1]) == ("rename", PATHS[index]):
                volume.before = lambda *what: None
                volume.lose(PATHS[index])
                guest = elsewhere.enter_context(volume.elsewhere(PATHS[index], OTHER))
                guest.pwrite(b"written", 0)

        volume.before = fail_over
        with pytest.raises(GanetiGlusterError, match="may have opened it since"):
            work.do(asked(request.RESTORE), Guests(), Report())
        assert volume.read(PATHS[index]) == b"written" + OLD[7:]
    assert volume.read(PATHS[1 - index]) == OLD
    assert volume.names() == ALL


@pytest.mark.parametrize("finished", [False, True])
def test_what_another_restoration_put_there_meanwhile_stays(volume: Any, finished: bool) -> None:
    """This node stood still when it had replaced the first of two disks."""
    path, later = PATHS[0], b"by another node" + SAVED[15:]

    def stand_still(what: str, *names: str) -> None:
        if (what, names[-1]) != ("rename", PATHS[1]):
            return
        volume.before = lambda *what: None
        for mark in ("", ".restored"):
            volume.lose(path + mark)
        volume.unlink(path + ".replaced")
        volume.link(path, path + ".replaced")
        volume.write(path + ".restored", later)
        volume.rename(path + ".restored", path)
        if finished:
            volume.unlink(path + ".replaced")
        else:
            volume.write(path + ".restored", b"of a third one")

    volume.before = stand_still
    with pytest.raises(GanetiGlusterError, match="may have opened it since"):
        work.do(asked(request.RESTORE), Guests(), Report())
    assert (volume.read(path), volume.read(PATHS[1])) == (later, OLD)
    left = [] if finished else [path + ".replaced", path + ".restored"]
    assert volume.names() == sorted([*ALL, *left])


@pytest.mark.parametrize("number", [OTHER, node_number("node1"), work_number("node2")])
def test_an_open_image_is_not_replaced(volume: Any, number: int) -> None:
    with (
        volume.elsewhere(PATHS[1], number),
        pytest.raises(GanetiGlusterError, match="disk/1 is open on a node"),
    ):
        work.do(asked(request.RESTORE), Guests(), Report())
    assert volume.names() == ALL
    assert volume.read(PATHS[0]) == OLD


STEPS = [
    ("link", PATHS[0] + ".replaced"),
    ("link", PATHS[1] + ".replaced"),
    ("link", PATHS[1] + ".restored"),
    ("rename", PATHS[0]),
    ("rename", PATHS[1]),
]


@pytest.mark.parametrize("step", STEPS)
def test_a_restoration_that_fails_leaves_all_disks_as_they_were(
    volume: Any, step: tuple[str, str]
) -> None:
    def fail(what: str, *names: str) -> None:
        if (what, names[-1]) == step:
            volume.before = lambda *what: None
            raise OSError(errno.ENOTCONN, "too few bricks", names[-1])

    volume.before = fail
    with pytest.raises((OSError, GanetiGlusterError), match="too few bricks"):
        work.do(asked(request.RESTORE), Guests(), Report())
    assert [volume.read(path) for path in PATHS] == [OLD, OLD]
    assert volume.names() == ALL
    assert volume.files == []


def test_an_old_image_that_cannot_be_removed_is_named_and_the_next_restoration_removes_it(
    volume: Any,
) -> None:
    def fail(what: str, *names: str) -> None:
        if (what, names[-1]) == ("unlink", PATHS[0] + ".replaced"):
            raise OSError(errno.ENOTCONN, "too few bricks", names[-1])

    volume.before = fail
    with pytest.raises(IncompleteImage, match="is restored, but the old one could not be rem"):
        work.do(asked(request.RESTORE), Guests(), Report())
    assert [volume.read(path) for path in PATHS] == [SAVED, SAVED]
    assert volume.names() == sorted([*ALL, PATHS[0] + ".replaced"])
    volume.before = lambda *what: None
    work.do(asked(request.RESTORE), Guests(), Report())
    assert volume.names() == ALL


def test_what_a_restoration_left_that_was_killed_goes(volume: Any) -> None:
    volume.write(PATHS[0] + ".restored", b"half")
    volume.link(PATHS[0], PATHS[0] + ".replaced")
    volume.write(PATHS[1] + ".replaced", b"another")
    work.do(asked(request.RESTORE), Guests(), Report())
    assert [volume.read(path) for path in PATHS] == [SAVED, SAVED]
    assert volume.names() == ALL


def remains(volume: Any, mark: str) -> bool:
    instead = PATHS[0]
    return replace_.remove_remains(
        volume, instead + mark, instead, node="node1", nodes=["node1", "node2"]
    )


@pytest.mark.parametrize("mark", [".restored", ".replaced"])
@pytest.mark.parametrize("number", [None, OTHER, node_number("node1")])
def test_what_a_restoration_left_goes_without_another_one_whoever_runs_the_guest(
    volume: Any, mark: str, number: int | None
) -> None:
    volume.write(PATHS[0] + mark, SAVED)
    with volume.elsewhere(PATHS[0], number) if number else nullcontext():
        assert remains(volume, mark)
        assert volume.names() == ALL
        assert not remains(volume, mark)  # there is none
        volume.link(PATHS[0], PATHS[0] + mark)
        assert remains(volume, mark)
    assert volume.names() == ALL
    assert volume.read(PATHS[0]) == OLD


def test_nor_does_it_stay_where_the_image_is_gone(volume: Any) -> None:
    volume.rename(PATHS[0], PATHS[0] + ".replaced")
    assert remains(volume, ".replaced")
    assert PATHS[0] + ".replaced" not in volume.names()


@pytest.mark.parametrize("number", [work_number("node2"), work_number("node1"), 77])
def test_what_a_restoration_has_that_may_go_on_stays(volume: Any, number: int) -> None:
    volume.write(PATHS[0] + ".restored", SAVED)
    with volume.elsewhere(PATHS[0], number):
        assert not remains(volume, ".restored")
    with volume.elsewhere(PATHS[0] + ".restored", number):
        assert not remains(volume, ".restored")
    assert volume.names() == sorted([*ALL, PATHS[0] + ".restored"])


# -- take -------------------------------------------------------------------------------


def take(**more: Any) -> SnapshotRequest:
    return replace(asked(request.TAKE, **more), name="two")


TAKEN = sorted([*ALL, *(path + ".snap.two" for path in PATHS)])


def test_a_stopped_instance_cannot_be_started_while_its_disks_are_copied(volume: Any) -> None:
    told = []

    def start() -> None:
        told.extend(opens(volume, path) for path in PATHS)

    work.do(take(), Guests(), Report(0, start))
    assert told == ["node1", "node1"]
    assert volume.names() == TAKEN
    assert catalogue.find(volume, UUID, dict(enumerate(PATHS)), "two").complete


@pytest.mark.parametrize("index", [0, 1])
def test_a_disk_that_was_opened_meanwhile_makes_no_snapshot(volume: Any, index: int) -> None:
    with pytest.raises(GanetiGlusterError, match="may have opened it since"):
        work.do(take(), Guests(), Report(1, lambda: volume.lose(PATHS[index])))
    assert volume.names() == ALL
    assert volume.files == []


def test_an_image_that_a_node_has_open_is_not_copied(volume: Any) -> None:
    with (
        volume.elsewhere(PATHS[1], OTHER),
        pytest.raises(GanetiGlusterError, match="disk/1 is open on a node"),
    ):
        work.do(take(), Guests(), Report())
    assert volume.names() == ALL


def serve_here(volume: Any, served: SimpleNamespace, stack: ExitStack) -> None:
    """Ganeti has the first disk open on this node."""
    file = stack.enter_context(volume.elsewhere(PATHS[0], node_number("node1")))
    kinds = {EXCLUSIVE: 1, SHARED: 0}
    served.modes[PATHS[0]] = lambda mode: file.lock(kinds[mode], pid=node_number("node1"))


def test_a_disk_that_ganeti_has_open_for_a_stopped_instance_is_kept_from_a_start(
    volume: Any, served: SimpleNamespace
) -> None:
    told = []
    with ExitStack() as stack:
        serve_here(volume, served, stack)

        def start() -> None:
            with pytest.raises(OSError, match="locked"):
                served.modes[PATHS[0]](EXCLUSIVE)
            told.append(opens(volume, PATHS[0]))

        work.do(take(), Guests(), Report(0, start))
    assert told == ["another"]
    assert served.changed == [(PATHS[0], "flush"), (PATHS[0], SHARED), (PATHS[0], EXCLUSIVE)]
    assert volume.names() == TAKEN


def test_a_disk_that_something_uses_here_is_not_copied(
    volume: Any, served: SimpleNamespace
) -> None:
    with ExitStack() as stack:
        serve_here(volume, served, stack)
        served.peers = (4711,)
        with pytest.raises(GanetiGlusterError, match="disk/0 is open on a node"):
            work.do(take(), Guests(), Report())
        served.peers = ()

        def use() -> None:
            served.peers = (4711,)

        with pytest.raises(GanetiGlusterError, match="in use on this node"):
            work.do(take(), Guests(), Report(1, use))
    assert volume.names() == ALL


# -- clone, remove ------------------------------------------------------------------------


def test_a_snapshot_is_not_removed_while_it_is_read(volume: Any) -> None:
    def remove() -> None:
        with pytest.raises(GanetiGlusterError, match="is in use"):
            work.do(asked(request.REMOVE), Guests(), Report())

    work.do(
        asked(request.CLONE, disks=DISKS[1:], target="ganeti/clone"), Guests(), Report(1, remove)
    )
    assert volume.names() == sorted([*ALL, "ganeti/clone"])
    work.do(asked(request.REMOVE), Guests(), Report())
    assert volume.names() == sorted([*PATHS, "ganeti/clone"])


def test_a_clone_whose_snapshot_may_have_changed_is_none(volume: Any) -> None:
    lose = Report(0, lambda: volume.lose(PATHS[0] + ".snap.one"))
    with pytest.raises(GanetiGlusterError, match="may have opened it since"):
        work.do(asked(request.CLONE, disks=DISKS[:1], target="ganeti/clone"), Guests(), lose)
    assert volume.names() == ALL


# -- a name is given to a whole copy alone --------------------------------------------------


def begun(volume: Any) -> NewImage:
    new = NewImage(volume, "ganeti/new")
    new.open(8192)
    new.pwrite(memoryview(b"x" * 8192), 0)
    new.sync(8192)
    return new


def test_a_copy_that_lost_its_lock_gives_no_name_to_anothers_half(volume: Any) -> None:
    first = begun(volume)
    volume.lose("ganeti/new.partial")
    second = NewImage(volume, "ganeti/new")
    second.open(8192)
    with pytest.raises(CopyFailed, match=r"the lock on the new image .* was lost"):
        first.publish()
    first.abort()
    assert "ganeti/new" not in volume.names()
    assert "ganeti/new.partial" in volume.names()
    second.publish()
    assert "ganeti/new" in volume.names()


def test_nor_at_the_last_moment(volume: Any) -> None:
    first = begun(volume)

    def take_it(what: str, *names: str) -> None:
        volume.before = lambda *what: None
        volume.lose("ganeti/new.partial")
        NewImage(volume, "ganeti/new").open(8192)

    volume.before = take_it
    with pytest.raises(CopyFailed, match="was lost"):
        first.publish()
    first.abort()
    assert "ganeti/new" not in volume.names()
    assert "ganeti/new.partial" in volume.names()


@pytest.mark.parametrize("step", ["link", "unlink"])
def test_one_that_stood_still_leaves_the_whole_image_of_another(volume: Any, step: str) -> None:
    """Between two steps its node loses its lock, and another node makes the image anew."""
    first, made = begun(volume), []

    def stand_still(what: str, *names: str) -> None:
        if what != step:
            return
        volume.before = lambda *what: None
        volume.lose("ganeti/new.partial")
        if what == "unlink":
            volume.unlink("ganeti/new")
        second = begun(volume)
        second.publish()
        made.append(volume.lstat("ganeti/new").inode)

    volume.before = stand_still
    with pytest.raises((CopyFailed, OSError)):
        first.publish()
    first.abort()
    assert [volume.lstat("ganeti/new").inode] == made


def test_a_copy_that_does_not_get_its_name_alone_leaves_nothing(volume: Any) -> None:
    new = begun(volume)

    def fail(what: str, *names: str) -> None:
        if (what, names[0]) == ("unlink", "ganeti/new.partial"):
            volume.before = lambda *what: None
            raise OSError(errno.ENOTCONN, "too few bricks")

    volume.before = fail
    with pytest.raises(OSError, match="too few bricks"):
        new.publish()
    new.abort()
    assert volume.names() == ALL
