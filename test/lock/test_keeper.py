"""When a keeper stops what writes, and lets it go on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from ganeti_gluster import constants
from ganeti_gluster.lock import keeper, writers
from ganeti_gluster.lock.files import LockFiles, Wanted

WANTED = Wanted({"host": "node1", "volume": "gv0"}, "ganeti/x.0", 7, "exclusive", disk="uuid")
HOSTS = ("node1", "node2", "node3")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The signals sent."""
    signals: list[str] = []
    monkeypatch.setattr(constants, "LOCK_DIR", str(tmp_path))
    monkeypatch.setattr(writers, "send", lambda name, path, disk: signals.append(name))
    return signals


class Answers:
    """A probe of which only those named first are answered; asks for one at a time."""

    def __init__(
        self, live: Sequence[str], servers: Sequence[tuple[str, int]], timeout: float
    ) -> None:
        ((self.host, self.port),) = servers
        self.live = self.host in live

    def answers(self) -> dict[tuple[str, int], str | None]:
        return {(self.host, self.port): None if self.live else "no"}


def watch(
    monkeypatch: pytest.MonkeyPatch,
    *,
    silent: float,
    live: int,
    stopped: bool = False,
    doubtful: bool = False,
) -> LockFiles:
    """One look of a keeper whose lock is unconfirmed for `silent` seconds."""
    files = LockFiles("gv0-key")
    held = keeper.Keeper(files, WANTED.changed(stopped=stopped))
    held._hosts = HOSTS
    held._doubtful = doubtful
    held._confirmed = time.monotonic() - silent
    monkeypatch.setattr(keeper, "Probe", partial(Answers, HOSTS[:live]))
    held._watch()
    return files


def test_a_confirmed_lock_lets_all_run(monkeypatch: pytest.MonkeyPatch, sent: list[str]) -> None:
    watch(monkeypatch, silent=keeper.STOP_SECONDS - 1, live=0)
    assert sent == []


def test_a_node_that_is_cut_off_stops_what_writes(
    monkeypatch: pytest.MonkeyPatch, sent: list[str]
) -> None:
    files = watch(monkeypatch, silent=keeper.STOP_SECONDS + 1, live=1)
    assert sent == ["STOP"]
    assert files.wanted().stopped


def test_one_dead_brick_stops_nothing(monkeypatch: pytest.MonkeyPatch, sent: list[str]) -> None:
    watch(monkeypatch, silent=keeper.STOP_SECONDS + 1, live=2)
    assert sent == []


def test_what_is_stopped_is_not_stopped_again(
    monkeypatch: pytest.MonkeyPatch, sent: list[str]
) -> None:
    watch(monkeypatch, silent=keeper.STOP_SECONDS + 1, live=0, stopped=True)
    assert sent == []


def test_it_goes_on_when_the_lock_is_confirmed(
    monkeypatch: pytest.MonkeyPatch, sent: list[str]
) -> None:
    files = watch(monkeypatch, silent=0, live=3, stopped=True)
    assert sent == ["CONT"]
    assert not files.wanted().stopped


def test_what_writes_is_stopped_while_the_lock_is_refused(
    monkeypatch: pytest.MonkeyPatch, sent: list[str]
) -> None:
    files = watch(monkeypatch, silent=0, live=3, doubtful=True)
    assert sent == ["STOP"]
    assert files.wanted().stopped
    watch(monkeypatch, silent=0, live=3, doubtful=True, stopped=True)
    assert sent == ["STOP"]


def test_a_holder_has_time_to_notice_that_its_lock_was_taken_away() -> None:
    noticed = keeper.CHECK_SECONDS + keeper.DOUBT_SECONDS + 2 * keeper._POLL_SECONDS
    assert noticed < keeper.GRACE_SECONDS


def test_what_writes_stops_before_the_bricks_forget_the_lock() -> None:
    forgotten = 20  # server.keepalive-time + interval * count, of the options for images
    assert forgotten > keeper.STOP_SECONDS + keeper.PROBE_TIMEOUT + 3 * keeper._POLL_SECONDS
