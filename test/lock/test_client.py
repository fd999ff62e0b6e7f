"""Starting, asking and ending the keeper of a lock."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ganeti_gluster import constants, names
from ganeti_gluster.command import CommandFailed, CommandResult
from ganeti_gluster.lock.client import Lock, LockFailed
from ganeti_gluster.lock.files import LockFiles
from ganeti_gluster.lock.image_lock import EXCLUSIVE, SHARED, Held, Holder

PARAMS = {"host": "node1", "volume": "gv0"}
KEY = names.unit_key("gv0", "ganeti/x.0")


class Systemd:
    """Takes commands; `keeper` is what the start of a keeper does."""

    def __init__(self) -> None:
        self.started: list[tuple[str, ...]] = []
        self.stopped = 0
        self.keeper = lambda: LockFiles(KEY).hold(LockFiles(KEY).wanted())

    def __call__(
        self, argv: Sequence[str], *, timeout: float, check: bool = True
    ) -> CommandResult:
        if argv[0] == "systemd-run":
            self.started.append(tuple(argv))
            self.keeper()
        elif argv[2] == "stop":
            self.stopped += 1
        return CommandResult(tuple(argv), 0, "", "")


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Systemd:
    monkeypatch.setattr(constants, "LOCK_DIR", str(tmp_path / "locks"))
    return Systemd()


def lock(systemd: Systemd) -> Lock:
    return Lock(PARAMS, "ganeti/x.0", run=systemd)


def test_a_lock_is_held_by_a_unit_of_its_own(systemd: Systemd) -> None:
    assert lock(systemd).mode() is None
    lock(systemd).take(EXCLUSIVE, 7, disk="uuid")
    (argv,) = systemd.started
    assert "--unit=ganeti-gluster-lock-%s.service" % KEY in argv
    assert argv[-3:] == ("-m", "ganeti_gluster.lock.keeper", KEY)
    wanted = LockFiles(KEY).wanted()
    assert (wanted.params, wanted.path, wanted.number) == (PARAMS, "ganeti/x.0", 7)
    assert (wanted.mode, wanted.disk, wanted.clear) == (EXCLUSIVE, "uuid", False)
    assert lock(systemd).mode() == EXCLUSIVE


def test_what_is_given_back_leaves_nothing(systemd: Systemd) -> None:
    lock(systemd).give_back()
    assert systemd.stopped == 0
    lock(systemd).take(SHARED, 7)
    lock(systemd).give_back()
    assert os.listdir(constants.LOCK_DIR) == [".lock"]
    assert lock(systemd).mode() is None


def test_a_lock_of_another_is_refused_with_its_holder(systemd: Systemd) -> None:
    def refuse() -> None:
        LockFiles(KEY).fail(Held("ganeti/x.0", Holder(9, SHARED)))
        raise CommandFailed(["systemd-run"], "exit status 1", exit_code=1)

    systemd.keeper = refuse
    with pytest.raises(Held) as caught:
        lock(systemd).take(EXCLUSIVE, 7)
    assert caught.value.holder == Holder(9, SHARED)
    assert lock(systemd).mode() is None


def test_a_keeper_that_does_not_start_is_an_error(systemd: Systemd) -> None:
    def fail() -> None:
        raise CommandFailed(["systemd-run"], "cannot be started: No such file or directory")

    systemd.keeper = fail
    with pytest.raises(LockFailed) as caught:
        lock(systemd).take(EXCLUSIVE, 7)
    assert str(caught.value) == (
        "cannot lock image ganeti/x.0: systemd-run: cannot be started: No such file or directory"
    )


@pytest.mark.parametrize(
    ("answer", "holder"), [({}, None), ({"held": [9, EXCLUSIVE], "error": "x"}, 9)]
)
def test_a_keeper_that_runs_is_asked(
    systemd: Systemd, answer: dict[str, Any], holder: int | None
) -> None:
    lock(systemd).take(SHARED, 7)
    asked = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            asked.append(json.loads(connection.makefile().readline()))
            connection.sendall(json.dumps(answer).encode() + b"\n")

    with socket.socket(socket.AF_UNIX) as listener:
        LockFiles(KEY).listen(listener)
        thread = threading.Thread(target=serve)
        thread.start()
        if holder is None:
            lock(systemd).take(EXCLUSIVE, 7)
        else:
            with pytest.raises(Held) as caught:
                lock(systemd).take(EXCLUSIVE, 7)
            assert caught.value.holder is not None
            assert caught.value.holder.number == holder
        thread.join()
    assert asked == [{"mode": EXCLUSIVE}]
    assert len(systemd.started) == 1
