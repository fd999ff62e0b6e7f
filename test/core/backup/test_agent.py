"""The guest's agent: whatever it answers, the guest is thawed, and the backup goes on."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ganeti_gluster.core.backup import agent
from ganeti_gluster.core.backup.agent import Quiet


class Guest:
    """A guest whose agent answers as told; `asked` is what it was asked, in order."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.asked: list[str] = []
        #: What is said in the place of an answer, by command.
        self.says: dict[str, bytes] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.bind(path)
        self._socket.listen()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            # Whoever had enough of what was said has hung up.
            with (
                contextlib.suppress(ConnectionError),
                connection,
                connection.makefile("rb") as lines,
            ):
                for line in lines:
                    connection.sendall(self._answer(json.loads(line.lstrip(b"\xff"))))

    def _answer(self, asked: dict[str, Any]) -> bytes:
        command = asked["execute"]
        self.asked.append(command)
        if command in self.says:
            return self.says[command]
        before, value = b"", 1
        if command == "guest-sync-delimited":
            before, value = b'{"return": "late"}\n\xff', asked["arguments"]["id"]
        return before + json.dumps({"return": value}).encode() + b"\n"

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.thread.join(5)


SYNC, FREEZE, THAW = "guest-sync-delimited", "guest-fsfreeze-freeze", "guest-fsfreeze-thaw"


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guest]:
    monkeypatch.setattr(agent, "HERE_SECONDS", 0.5)
    monkeypatch.setattr(agent, "_LONGEST", 600)
    monkeypatch.setattr(agent, "FREEZE_SECONDS", 0.5)
    found = Guest(str(tmp_path / "qga"))
    yield found
    found.close()


def test_a_guest_is_at_rest_for_the_instant(guest: Guest) -> None:
    quiet = Quiet(guest.path)
    with quiet():
        assert guest.asked == [SYNC, FREEZE]
    assert (quiet.frozen, quiet.why) == (True, "")
    assert guest.asked == [SYNC, FREEZE, THAW]


@pytest.mark.parametrize(
    ("command", "said", "why"),
    [
        (SYNC, b"", "does not answer"),
        (SYNC, b'\xff{"return": 1}\n', "answers another question"),
        pytest.param(SYNC, b"\xff" + b"x" * 700, "does not come to an end", id="endless"),
        (SYNC, b"\xffx\n", "the guest's agent: it is not JSON"),
        (FREEZE, b"", "does not answer"),
        (FREEZE, b'{"error": {"desc": "no\\u001b[2J"}}\n', "the guest's agent refuses: "),
        (FREEZE, b"[1]\n", "the guest's agent refuses: "),
    ],
)
def test_one_that_cannot_is_backed_up_as_it_is(
    guest: Guest, command: str, said: bytes, why: str
) -> None:
    guest.says[command] = said
    quiet = Quiet(guest.path)
    with quiet():
        pass
    assert not quiet.frozen and why in quiet.why and quiet.why.isprintable()
    # It may have frozen some file systems before it failed.
    assert (THAW in guest.asked) is (command == FREEZE)


def test_a_guest_without_an_agent_is_not_waited_for(tmp_path: Path) -> None:
    for path, why in ((None, "has no agent"), (str(tmp_path / "none"), "cannot be reached")):
        quiet = Quiet(path)
        with quiet():
            pass
        assert not quiet.frozen and why in quiet.why
        agent.thaw(path)


def test_a_snapshot_that_fails_leaves_no_guest_frozen(guest: Guest) -> None:
    def fail() -> None:
        raise ValueError("refused")

    act: Callable[[], None] = fail
    with pytest.raises(ValueError, match="refused"), Quiet(guest.path)():
        act()
    assert guest.asked == [SYNC, FREEZE, THAW]


def test_one_that_does_not_thaw_is_no_reason_to_give_the_backup_up(guest: Guest) -> None:
    guest.says[THAW] = b""
    quiet = Quiet(guest.path)
    with quiet():
        pass
    assert quiet.frozen


def test_what_a_killed_worker_froze_is_thawed(guest: Guest) -> None:
    agent.thaw(guest.path)
    assert guest.asked == [SYNC, THAW]
