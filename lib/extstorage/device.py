"""The path of a disk's block device, which does not change while the device comes and goes.

Ganeti asks for the path when it looks for a disk, and opens the disk afterwards: QEMU on the new
node of a migration gets the path from before.  So the path is a link: to the device while the
image is open here, otherwise to a block device that nobody can open.
"""

from __future__ import annotations

import contextlib
import os
import stat

from ganeti_gluster import constants
from ganeti_gluster.tools import private

#: No driver has this number: opening it fails with "no such device".
_NOTHING = os.makedev(0, 0)


def show(key: str, device: str | None) -> str:
    """The path for an image, by its server's key; `device` is what is there now."""
    link = _path(key)
    private.link(device or _nothing(), link)
    return link


def forget(key: str) -> None:
    """Remove the path; idempotent."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_path(key))


def _path(key: str) -> str:
    return os.path.join(constants.DEVICE_DIR, key)


def _nothing() -> str:
    path = _path("none")
    private.directory(constants.DEVICE_DIR)
    with contextlib.suppress(FileExistsError):
        os.mknod(path, stat.S_IFBLK | private.FILE_MODE, _NOTHING)
    return path
