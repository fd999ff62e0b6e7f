"""The state that a testbed keeps, and its lock."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbedlib import TestbedError, state
from testbedlib.layout import Layout

WISH = state.State("trixie", 3, False, 8, "/cache/trixie-1", "/src")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("TESTBED_STATE", str(tmp_path))
    return Layout("testbed")


def test_what_was_saved_is_loaded(home: Layout) -> None:
    state.save(home, WISH)
    assert state.load(home) == WISH
    assert [path.name for path in home.directory.iterdir()] == ["testbed.json"]


def test_no_testbed_is_no_state(home: Layout) -> None:
    assert state.load(home) is None
    with pytest.raises(TestbedError, match="no testbed 'testbed'; make one with: qa/testbed up"):
        state.require(home)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 2}', '{"format": 1, "x": 1}'])
def test_a_state_of_another_shape_names_the_way_out(text: str) -> None:
    with pytest.raises(TestbedError, match=r"cannot be read: .*; remove it with: .* down"):
        state.parse(text)


def test_a_held_lock_is_told_to_the_second(tmp_path: Path) -> None:
    def busy() -> None:
        raise TestbedError("held")

    lock = tmp_path / "lock"
    with state.exclusive(lock, busy):
        with pytest.raises(TestbedError, match="held"), state.exclusive(lock, busy):
            pass
        lock.unlink()  # as the last holder may
    with state.exclusive(lock, busy):
        assert lock.exists()
