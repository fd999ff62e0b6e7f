"""Thin pools below bricks, by what LVM says (lvm2 2.03's form of an answer)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ganeti_gluster.core.verify import thin
from ganeti_gluster.tools.command import CommandFailed, CommandResult

DEVICE = os.makedev(254, 3)
ANSWERS = {
    "/dev/mapper/vg0-brick": {"vg_name": "vg0", "pool_lv": "pool"},
    "vg0/pool": {"lv_size": "1073741824", "data_percent": "75.00"},
}


@pytest.fixture
def mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The device as the kernel shows it."""
    monkeypatch.setattr(thin, "BLOCK_DEVICES", tmp_path)
    directory = tmp_path / "254:3" / "dm"
    directory.mkdir(parents=True)
    (directory / "uuid").write_text("LVM-abc\n")
    (directory / "name").write_text("vg0-brick\n")
    return directory


def lvm(answers: dict[str, Any]) -> Any:
    def run(argv: list[str], *, timeout: float, **_: Any) -> CommandResult:
        assert argv[:2] == ["lvs", "--reportformat"]
        if argv[-1] not in answers:
            raise CommandFailed(argv, "exit status 5", exit_code=5)
        text = json.dumps({"report": [{"lv": [answers[argv[-1]]]}]})
        return CommandResult(tuple(argv), 0, text, "")

    return run


def test_what_is_left_of_the_pool(mapped: Path) -> None:
    assert thin.left(DEVICE, run=lvm(ANSWERS)) == 1073741824 // 4


@pytest.mark.parametrize(
    "changed",
    [
        {"/dev/mapper/vg0-brick": {"vg_name": "vg0", "pool_lv": ""}},
        {"vg0/pool": {"lv_size": "1073741824", "data_percent": ""}},
        {"vg0/pool": {}},
    ],
)
def test_without_a_pool_or_an_answer(mapped: Path, changed: dict[str, Any]) -> None:
    assert thin.left(DEVICE, run=lvm({**ANSWERS, **changed})) is None


def test_lvm_is_not_asked_of_other_devices(mapped: Path) -> None:
    (mapped / "uuid").write_text("CRYPT-LUKS2-abc\n")
    assert thin.left(DEVICE, run=None) is None  # type: ignore[arg-type]
    assert thin.left(os.makedev(8, 1), run=None) is None  # type: ignore[arg-type]


def test_lvm_that_fails_leaves_it_unknown(mapped: Path) -> None:
    assert thin.left(DEVICE, run=lvm({})) is None
