"""Which threads are waited for, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ganeti_gluster.tools.gfapi import idle


def stat(name: str, state: str) -> str:
    return "1234 (%s) %s 1 2 3 4" % (name, state)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (stat("glfs_epoll000", "R"), True),
        (stat("glfs_timer", "D"), True),
        (stat("glfs_epoll000", "S"), False),
        (stat("python3", "R"), False),
        (stat("glfs_) S x", "R"), True),
    ],
)
def test_a_thread_of_libgfapi_that_does_not_sleep_works(line: str, expected: bool) -> None:
    assert idle.works(line) is expected


@pytest.fixture
def threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """One thread's `stat`, to be written to."""
    (tmp_path / "7").mkdir()
    monkeypatch.setattr(idle, "_TASKS", str(tmp_path))
    yield tmp_path / "7" / "stat"


def test_it_waits_until_the_thread_sleeps(threads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads.write_text(stat("glfs_epoll000", "R"))
    monkeypatch.setattr(
        idle.time, "sleep", lambda _: threads.write_text(stat("glfs_epoll000", "S"))
    )
    idle.wait_idle()
    assert " S " in threads.read_text()


def test_it_does_not_wait_for_ever(threads: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads.write_text(stat("glfs_epoll000", "R"))
    monkeypatch.setattr(idle, "LONGEST", 0.01)
    idle.wait_idle()


def test_a_thread_that_has_ended_is_no_error(threads: Path) -> None:
    idle.wait_idle()
