"""An image's lock for work on it."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path
from typing import Any

import pytest
from local_volume import LocalVolume

from ganeti_gluster.core.serve import hold
from ganeti_gluster.core.serve.files import EXCLUSIVE, SHARED
from ganeti_gluster.core.serve.hold import LockLost, locked
from ganeti_gluster.core.serve.holder import LockHolder, OpenElsewhere, node_number, work_number

IMAGE = "ganeti/x.0"
NODES = ["node1", "node2"]


class Clock:
    """Time goes on where somebody sleeps; `after` is called once some has passed."""

    def __init__(self) -> None:
        self.now, self.after, self.at = 0.0, lambda: None, 1e9

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= self.at:
            self.at = 1e9
            self.after()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(hold, "time", found)
    return found


@pytest.fixture
def volume(tmp_path: Path) -> Any:
    found = LocalVolume(tmp_path)
    found.write(IMAGE, b"old" * 1000)
    return found


def test_who_changes_an_image_has_it_alone(volume: Any) -> None:
    with locked(volume, IMAGE, node="node1"), volume.open(IMAGE, write=True) as file:
        assert file.conflicting_lock(fcntl.F_RDLCK) == (fcntl.F_WRLCK, work_number("node1"))
    with volume.open(IMAGE, write=True) as file:
        file.lock(fcntl.F_WRLCK)
    assert volume.files == []


def test_readers_share_an_image(volume: Any) -> None:
    with locked(volume, IMAGE, node="node1", shared=True) as one:
        with locked(volume, IMAGE, node="node2", shared=True) as other:
            one.check()
            other.check()
        with pytest.raises(OpenElsewhere) as caught, locked(volume, IMAGE, node="node2"):
            pytest.fail("it is read")
    assert caught.value.holder == LockHolder(work_number("node1"), SHARED)


def test_an_image_that_a_node_has_open_is_refused(volume: Any, clock: Clock) -> None:
    with (
        volume.elsewhere(IMAGE, node_number("node2")),
        pytest.raises(OpenElsewhere) as caught,
        locked(volume, IMAGE, node="node1", own_seconds=60),
    ):
        pytest.fail("another has it")
    assert caught.value.holder == LockHolder(node_number("node2"), EXCLUSIVE)
    assert clock.now == 0.0
    assert volume.files == []


@pytest.mark.parametrize("number", [node_number("node1"), work_number("node1")])
def test_what_this_node_had_before_it_restarted_is_waited_for(
    volume: Any, clock: Clock, number: int
) -> None:
    before = volume.open(IMAGE, write=True)
    before.lock(fcntl.F_WRLCK, pid=number)
    clock.after, clock.at = before.close, 20.0
    with locked(volume, IMAGE, node="node1", own_seconds=60):
        assert clock.now == 20.0
    with (
        volume.elsewhere(IMAGE, number),
        pytest.raises(OpenElsewhere),
        locked(volume, IMAGE, node="node1", own_seconds=60),
    ):
        pytest.fail("it does not let go")
    assert clock.now == pytest.approx(80.0, abs=1)


def test_a_lock_that_was_lost_is_noticed(volume: Any) -> None:
    with locked(volume, IMAGE, node="node1", shared=True) as found:
        volume.lose(IMAGE)
        with pytest.raises(LockLost, match="a node may have opened it since"):
            found.check()


def test_an_image_that_took_the_name_meanwhile_is_locked(
    volume: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = type(volume.open(IMAGE)).lock

    def replaced_meanwhile(file: Any, *args: Any, **options: Any) -> None:
        monkeypatch.undo()
        volume.write(IMAGE + ".restored", b"new")
        volume.rename(IMAGE + ".restored", IMAGE)
        lock(file, *args, **options)

    monkeypatch.setattr(type(volume.open(IMAGE)), "lock", replaced_meanwhile)
    monkeypatch.setattr(hold, "time", Clock())
    with locked(volume, IMAGE, node="node1") as found:
        assert found.is_at(IMAGE)


def test_an_image_is_removed_unless_another_has_it(volume: Any) -> None:
    with volume.elsewhere(IMAGE, 7), pytest.raises(OpenElsewhere):
        hold.remove(volume, IMAGE, node="node1")
    assert volume.read(IMAGE) == b"old" * 1000
    assert hold.remove(volume, IMAGE, node="node1")
    assert not hold.remove(volume, IMAGE, node="node1")
    assert volume.names() == []


def test_other_errors_are_the_volumes(volume: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(file: Any, *args: Any, **options: Any) -> None:
        raise OSError(errno.ENOTCONN, "away")

    monkeypatch.setattr(type(volume.open(IMAGE)), "lock", away)
    with pytest.raises(OSError, match="away"), locked(volume, IMAGE, node="node1"):
        pytest.fail("nobody can lock")


def test_work_is_told_from_a_server() -> None:
    server, work = (
        LockHolder(node_number("node2"), SHARED),
        LockHolder(work_number("node2"), SHARED),
    )
    assert server.name(NODES) == "node node2"
    assert work.name(NODES) == "node node2 for a snapshot, copy or removal"
    assert (server.works(NODES), work.works(NODES)) == (False, True)
    assert work.name(["node1"]).startswith("an unknown node (")
