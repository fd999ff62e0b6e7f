"""Counters that the node daemon's children share."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from pathlib import Path

import pytest

from ganeti_gluster.storage import operations


@pytest.fixture
def path(tmp_path, monkeypatch) -> str:
    name = str(tmp_path / "run" / "counters")
    monkeypatch.setattr(
        operations, "record", lambda *a, **k: original(*a, **{**k, "directory": name})
    )
    return name


original = operations.record


def test_counts_failures_and_durations(path) -> None:
    assert operations.read(path) == []
    original("Create", 0.2, failed=False, directory=path)
    original("Create", 4000.0, failed=True, directory=path)
    (create,) = operations.read(path)
    assert (create.name, create.count, create.failures, create.seconds) == ("Create", 2, 1, 4000.2)
    assert sum(create.buckets) == 1
    assert create.buckets[operations.BOUNDS.index(0.25)] == 1


def test_nothing_is_lost_among_many_at_once(path) -> None:
    def work() -> None:
        for _ in range(50):
            original("Open", 0.01, failed=False, directory=path)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.count for each in operations.read(path)] == [400]


@pytest.fixture
def no_waiting(monkeypatch) -> None:
    """Fail where a lock would be waited for."""
    flock = fcntl.flock

    def at_once(descriptor, operation) -> None:
        assert operation & fcntl.LOCK_NB
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", at_once)


@pytest.mark.parametrize("held", [1, operations.FILES])
def test_nobody_waits_for_a_counter(path, no_waiting, held) -> None:
    original("Open", 0.01, failed=False, directory=path)
    with contextlib.ExitStack() as stack:
        for number in range(held):
            name = Path(path) / str((os.getpid() + number) % operations.FILES)
            holder = stack.enter_context(name.open("a"))
            fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        original("Open", 0.01, failed=False, directory=path)
        counted = [each.count for each in operations.read(path)]
    assert counted == [2 if held == 1 else 1]


def test_counters_are_for_their_owner_alone(path) -> None:
    original("Open", 0.01, failed=False, directory=path)
    names = [Path(path), *Path(path).iterdir()]
    assert {oct(name.stat().st_mode & 0o077) for name in names} == {"0o0"}


@pytest.mark.parametrize("content", [b"", b"another layout", b"ggops1 "])
def test_a_damaged_file_begins_anew(path, content, tmp_path) -> None:
    (tmp_path / "run" / "counters").mkdir(parents=True)
    for number in range(operations.FILES):
        (tmp_path / "run" / "counters" / str(number)).write_bytes(content)
    assert operations.read(path) == []
    original("Grow", 1.0, failed=False, directory=path)
    assert [each.name for each in operations.read(path)] == ["Grow"]


def test_what_cannot_be_counted_does_not_fail(tmp_path) -> None:
    (tmp_path / "file").touch()
    original("Grow", 1.0, failed=False, directory=str(tmp_path / "file" / "x"))
    (tmp_path / "link").symlink_to(tmp_path)
    original("Grow", 1.0, failed=False, directory=str(tmp_path / "link"))
    original("Unknown", 1.0, failed=False, directory=str(tmp_path / "x"))
    assert not (tmp_path / "x").exists()


def test_only_the_outermost_operation_counts(path) -> None:
    class Device:
        def Attach(self) -> bool:
            return True

        def Open(self) -> bool:
            return self.Attach()

        def Remove(self) -> None:
            raise OSError

        @classmethod
        def Create(cls, size: int) -> tuple[type, int]:
            return cls, size

    operations.count_methods(Device)
    operations.count_methods(Device)
    assert Device().Open() is True
    assert Device.Create(3) == (Device, 3)
    with pytest.raises(OSError):
        Device().Remove()
    counted = {each.name: (each.count, each.failures) for each in operations.read(path)}
    assert counted == {"Create": (1, 0), "Remove": (1, 1), "Open": (1, 0)}


def test_operations_of_two_requests_at_once_both_count(path) -> None:
    both = threading.Barrier(2, timeout=60)

    class Device:
        def Open(self) -> None:
            both.wait()

    operations.count_methods(Device)
    threads = [threading.Thread(target=Device().Open) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(each.name, each.count) for each in operations.read(path)] == [("Open", 2)]
