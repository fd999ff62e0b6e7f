"""How Ganeti's Xen code names a gluster disk, mended."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.errors import PatchRefused
from ganeti_gluster.patches import hv_xen


def xen_module() -> SimpleNamespace:
    """The function as Ganeti 3.0 and 3.1 have it."""

    def _GetConfigFileDiskData(
        block_devices: list[Any], blockdev_prefix: str, _letters: str = "abc"
    ) -> list[str]:
        return [
            "'%s:%s,%s,w'"
            % ("phy" if disk.dev_type == "drbd" else "file", path, blockdev_prefix + letter)
            for letter, (disk, path, _) in zip(_letters, block_devices, strict=False)
        ]

    return SimpleNamespace(
        _GetConfigFileDiskData=_GetConfigFileDiskData,
        constants=SimpleNamespace(DT_GLUSTER="gluster"),
    )


def test_a_block_device_is_phy_and_a_file_stays_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hv_xen.Path, "is_block_device", lambda self: str(self).startswith("/dev/"))
    module = xen_module()
    hv_xen.extend(module)
    disks = [
        (SimpleNamespace(dev_type="gluster"), "/dev/loop3", None),
        (SimpleNamespace(dev_type="drbd"), "/dev/drbd0", None),
        (SimpleNamespace(dev_type="gluster"), "/mnt/x", None),
    ]
    assert module._GetConfigFileDiskData(disks, "xvd") == [
        "'phy:/dev/loop3,xvda,w'",
        "'phy:/dev/drbd0,xvdb,w'",
        "'file:/mnt/x,xvdc,w'",
    ]


def test_a_function_that_is_not_as_expected_is_refused() -> None:
    module = xen_module()
    module._GetConfigFileDiskData = lambda disks: []
    with pytest.raises(PatchRefused, match="_GetConfigFileDiskData"):
        hv_xen.extend(module)
