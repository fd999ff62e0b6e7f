"""What a worker of snapshots leaves on its node meanwhile: root's alone, whatever was there."""

from __future__ import annotations

import io
import os
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ganeti_gluster import constants
from ganeti_gluster.core.snapshot import live, service, work, worker
from ganeti_gluster.core.snapshot.request import REMOVE, SnapshotRequest, dump
from ganeti_gluster.core.volume import VolumeSpec


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Our directory of a former release, and a umask that keeps nobody off."""
    found = tmp_path / "run"
    (found / "snapshots").mkdir(parents=True)
    for path in (found, found / "snapshots"):
        path.chmod(0o755)
    monkeypatch.setattr(constants, "RUN_DIR", str(found))
    monkeypatch.setattr(constants, "SNAPSHOT_DIR", str(found / "snapshots"))
    before = os.umask(0)
    yield found
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_mark_is_root_s_alone(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def read_nothing() -> str:
        mark = Path(service.mark("vm1"))
        seen.update({path.name: mode(path) for path in (run, mark.parent, mark)})
        return ""

    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys.stdin, "readline", read_nothing)
    guests: Any = None
    assert worker.run("vm1", guests) == 1
    assert seen == {"run": 0o700, "snapshots": 0o700, "vm1": 0o600}


def test_what_the_guest_overwrites_is_kept_for_root_alone(run: Path) -> None:
    fleecing = run / "fleecing"
    fleecing.mkdir()
    live.check_space(str(fleecing))
    assert (mode(run), mode(fleecing)) == (0o700, 0o700)


@pytest.mark.parametrize("abandoned", [False, True])
def test_a_worker_that_waits_for_good_ends(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], abandoned: bool
) -> None:
    """Outside of a copy, where it looks at nothing itself; its unit undoes the rest."""
    ended = threading.Event()
    codes: list[int] = []

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    def wait_for_good(*_: Any) -> dict[str, Any]:
        assert ended.wait(60)
        return {}

    (reading, writing) = os.pipe()
    monkeypatch.setattr(sys, "stdin", os.fdopen(reading))
    volume = VolumeSpec.from_params({"host": "node1", "volume": "gv0"})
    request = SnapshotRequest(REMOVE, "vm1", "", "one", (), volume, volume, running=False)
    os.write(writing, dump(request).encode() + b"\n")
    if abandoned:
        os.close(writing)
    monkeypatch.setattr(service, "END_SECONDS" if abandoned else "DEAD_SECONDS", 0.1)
    monkeypatch.setattr(work, "do", wait_for_good)
    monkeypatch.setattr(worker.os, "_exit", end)
    guests: Any = None
    worker.run("vm1", guests)
    assert codes == [1]
    assert ("nothing went on for" in capsys.readouterr().out) == (not abandoned)
    if not abandoned:
        os.close(writing)
