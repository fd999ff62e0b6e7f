"""Services under SysV init."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ganeti_gluster.command import CommandFailed, CommandResult
from ganeti_gluster.services.model import Status
from ganeti_gluster.services.sysv import SysV

COMMANDS: list[tuple[str, ...]] = []


def sysv(directory: Path, code: int | None) -> SysV:
    def run(argv: Sequence[str], *, timeout: float, check: bool = True) -> CommandResult:
        COMMANDS.append(tuple(argv))
        if code is None:
            raise CommandFailed(argv, "no end after %g s" % timeout)
        return CommandResult(tuple(argv), code, "", "")

    COMMANDS.clear()
    script = directory / "swift-proxy"
    script.touch(mode=0o755)
    (directory / "not-executable").touch(mode=0o644)
    return SysV(run=run, directory=str(directory))


@pytest.mark.parametrize(
    ("code", "status", "message"),
    [
        (0, Status.RUNNING, ""),
        (1, Status.STOPPED, "failed: it is dead and its pid file is there"),
        (2, Status.STOPPED, "failed: it is dead and its lock file is there"),
        (3, Status.STOPPED, ""),
        (4, Status.UNKNOWN, "its init script's status is 4"),
        (None, Status.UNKNOWN, "service swift-proxy status: no end after 4 s"),
    ],
)
def test_the_exit_status_tells(
    tmp_path: Path, code: int | None, status: Status, message: str
) -> None:
    found = sysv(tmp_path, code).read(["swift-proxy", "not-executable", "absent"])
    assert (found["swift-proxy"].status, found["swift-proxy"].message) == (status, message)
    assert [unit.installed for unit in found.values()] == [True, False, False]
    assert COMMANDS == [("service", "swift-proxy", "status")]


def test_start_and_stop(tmp_path: Path) -> None:
    manager = sysv(tmp_path, 0)
    manager.start("swift-proxy")
    manager.stop("swift-proxy")
    assert COMMANDS == [("service", "swift-proxy", "start"), ("service", "swift-proxy", "stop")]
