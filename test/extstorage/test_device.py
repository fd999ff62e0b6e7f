"""The path of a disk's block device, as Ganeti has it before and after the disk is opened."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from ganeti_gluster import constants
from ganeti_gluster.extstorage import device

KEY = "gv0-0123456789abcdef"


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def mknod(path: str, mode: int, number: int) -> None:
        """Not everyone may make a block device."""
        assert (mode, number) == (stat.S_IFBLK | 0o600, os.makedev(0, 0))
        Path(path).touch(exist_ok=False)

    monkeypatch.setattr(constants, "DEVICE_DIR", str(tmp_path / "devices"))
    monkeypatch.setattr(os, "mknod", mknod)
    return tmp_path / "devices"


def test_the_path_stays_and_leads_to_what_there_is(directory: Path) -> None:
    places: list[Any] = []
    for found in (None, None, "/dev/loop7", "/dev/loop9", None):
        path = device.show(KEY, found)
        places.append((path, os.readlink(path)))
    link, nothing = str(directory / KEY), str(directory / "none")
    assert places == [
        (link, nothing),
        (link, nothing),
        (link, "/dev/loop7"),
        (link, "/dev/loop9"),
        (link, nothing),
    ]
    assert sorted(os.listdir(directory)) == [KEY, "none"]


def test_a_path_is_forgotten(directory: Path) -> None:
    path = device.show(KEY, "/dev/loop7")
    for _ in range(2):
        device.forget(KEY)
        assert not os.path.lexists(path)
