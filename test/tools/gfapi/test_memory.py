"""Locked memory: what is asked of the kernel, and when."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.tools.gfapi import memory


def status(locked: int) -> str:
    return "Name:\tganeti-noded\nVmLck:\t%8d kB\nVmRSS:\t   65076 kB\n" % locked


@pytest.mark.parametrize(
    ("text", "expected"), [(status(0), 0), (status(65064), 65064), ("Name:\tx\n", 0), ("", 0)]
)
def test_the_locked_part_is_read(text: str, expected: int) -> None:
    assert memory.locked_kib(text) == expected


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The flags that mlockall was called with."""
    made: list[int] = []

    def mlockall(flags: int) -> int:
        made.append(flags)
        return 0

    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(mlockall=mlockall))
    return made


def tell(monkeypatch: pytest.MonkeyPatch, *locked: int) -> None:
    """Let /proc/self/status tell these values, one after the other."""
    answers: Iterator[int] = iter(locked)
    monkeypatch.setattr(memory, "_locked", lambda: next(answers))


def test_a_process_that_locks_all_locks_new_pages_as_used(
    monkeypatch: pytest.MonkeyPatch, calls: list[int]
) -> None:
    tell(monkeypatch, 65064, 65068)
    assert memory.lock_as_used()
    assert calls == [memory.MCL_FUTURE | memory.MCL_ONFAULT]


@pytest.mark.parametrize("locked", [(0,), (64, 64)], ids=["nothing", "only a part"])
def test_another_process_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, calls: list[int], locked: Any
) -> None:
    tell(monkeypatch, *locked)
    assert not memory.lock_as_used()
    assert calls == []


def test_a_kernel_that_cannot_do_it_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    tell(monkeypatch, 65064, 65068)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(mlockall=lambda flags: -1))
    assert not memory.lock_as_used()


def test_a_missing_proc_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_STATUS", "/nonexistent/status")
    assert not memory.lock_as_used()


@pytest.mark.parametrize(("answer", "expected"), [(0, True), (-1, False)])
def test_all_of_a_process_is_locked_as_used(
    monkeypatch: pytest.MonkeyPatch, answer: int, expected: bool
) -> None:
    made: list[int] = []

    def mlockall(flags: int) -> int:
        made.append(flags)
        return answer

    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(mlockall=mlockall))
    assert memory.lock_all_as_used() is expected
    assert made == [memory.MCL_CURRENT | memory.MCL_FUTURE | memory.MCL_ONFAULT]


def test_a_process_that_locks_all_as_used_is_not_looked_at_again(
    monkeypatch: pytest.MonkeyPatch, calls: list[int]
) -> None:
    monkeypatch.setattr(memory, "_all_as_used", False)
    tell(monkeypatch)
    assert memory.lock_all_as_used()
    assert not memory.lock_as_used()
    assert calls == [memory.MCL_CURRENT | memory.MCL_FUTURE | memory.MCL_ONFAULT]
