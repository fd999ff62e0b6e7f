"""The node daemon's functions that go wrong for gluster."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.errors import PatchRefused
from ganeti_gluster.patches import backend


class DevCacheManager:
    """Ganeti's cache of device paths."""

    calls: list[Any] = []

    @classmethod
    def UpdateCache(cls, dev_path: str | None, owner: str) -> None:
        cls.calls.append((dev_path, owner))

    @classmethod
    def RemoveCache(cls, dev_path: str | None) -> None:
        cls.calls.append(dev_path)


class BlockDeviceError(Exception):
    """Ganeti's."""


def measure(disks: list[str]) -> list[tuple[int, None]]:
    """As Ganeti's, which fails as a whole."""
    if "away" in disks:
        raise BlockDeviceError("no server answers")
    return [(len(disk), None) for disk in disks]


@pytest.fixture
def module() -> SimpleNamespace:
    calls: list[Any] = []
    manager = type("DevCacheManager", (DevCacheManager,), {"calls": []})
    module = SimpleNamespace(
        calls=calls,
        constants=SimpleNamespace(DT_GLUSTER="gluster"),
        errors=SimpleNamespace(BlockDeviceError=BlockDeviceError),
        BlockdevConvert=lambda *args: calls.append(args),
        _GetImportExportIoCommand=lambda *args: None,
        _RecursiveFindBD=lambda disk: None,
        _Fail=lambda *args: None,
        BlockdevCreate=lambda *args: None,
        BlockdevGetdimensions=measure,
        InstanceOsAdd=lambda *args: None,
        RunRenameInstance=lambda *args: None,
        BlockdevImage=lambda *args: None,
        BlockdevWipe=lambda disk, offset, size: calls.append((disk.dev_type, offset, size)),
        CreateFileStorageDir=calls.append,
        DevCacheManager=manager,
    )
    backend.extend(module)
    return module


def test_no_directory_is_made_for_a_path_on_the_volume(module: SimpleNamespace) -> None:
    module.CreateFileStorageDir("ganeti")
    module.CreateFileStorageDir("/srv/ganeti/file-storage/vm")
    assert module.calls == ["/srv/ganeti/file-storage/vm"]


def test_new_space_of_an_image_is_not_wiped(module: SimpleNamespace) -> None:
    for template in ("gluster", "plain"):
        disk = SimpleNamespace(dev_type=template, logical_id=("loop", "ganeti/x.0"))
        module.BlockdevWipe(disk, 1024, 512)
    assert module.calls == [("plain", 1024, 512)]


def test_a_disk_with_no_path_is_no_error_for_the_cache(module: SimpleNamespace) -> None:
    module.DevCacheManager.UpdateCache(None, "vm1")
    module.DevCacheManager.UpdateCache("/dev/x", "vm1")
    module.DevCacheManager.RemoveCache(None)
    module.DevCacheManager.RemoveCache("/dev/x")
    assert module.DevCacheManager.calls == [("/dev/x", "vm1"), "/dev/x"]


def test_a_disk_that_cannot_be_measured_does_not_hide_the_others(module: SimpleNamespace) -> None:
    assert module.BlockdevGetdimensions(["one", "away", "three"]) == [(3, None), None, (5, None)]
    assert module.BlockdevGetdimensions([]) == []


def test_a_backend_without_one_of_them_is_refused() -> None:
    module = SimpleNamespace(InstanceOsAdd=lambda: None)
    before = dict(vars(module))
    with pytest.raises(PatchRefused, match="lacks RunRenameInstance, BlockdevImage"):
        backend.extend(module)
    assert vars(module) == before
