"""What has to be asked of this node's Ganeti, whose code is imported for it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from types import ModuleType

from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.extstorage.request import Request
from ganeti_gluster.gfapi import Volume
from ganeti_gluster.lock.client import Lock
from ganeti_gluster.snapshot.request import DiskRequest

GANETI = "/usr/share/ganeti/default"
#: The provider's name, by its directory.
PROVIDER = "gluster"


def use_ganeti() -> None:
    """Make Ganeti importable, as in its own commands."""
    path = os.path.realpath(GANETI)
    if path not in sys.path:
        sys.path.insert(0, path)


def starts_in_userspace() -> bool:
    """Whether this node's Ganeti can hand QEMU a gluster URI.

    Ganeti 3.1 turns it into a structure with a list in it, and writes the list's
    text on QEMU's command line, which QEMU refuses; its function is asked, which
    the plugin mends where it is not switched off.  Ganeti 3.0 passes the URI on.
    """
    use_ganeti()
    try:
        from ganeti.hypervisor.hv_kvm import kvm_utils
    except ImportError:
        return True
    flatten = getattr(kvm_utils, "FlattenDict", None)
    return flatten is None or flatten({"server": [{"host": "a"}]}) == {"server.0.host": "a"}


def lock(request: Request) -> None:
    """Lock the image for this node; raises `GanetiGlusterError` where another has it.

    A node that Ganeti calls offline loses its lock.
    """
    use_ganeti()
    from ganeti import errors

    from ganeti_gluster.storage import one_writer

    try:
        one_writer.open_image(
            dict(request.volume_parameters),
            request.path,
            request.uuid,
            exclusive=request.exclusive,
            force=False,
        )
    except errors.BlockDeviceError as err:
        raise GanetiGlusterError(str(err)) from err


def unlock(request: Request) -> None:
    """Give the lock back; idempotent, and needs no volume."""
    Lock(dict(request.volume_parameters), request.path).give_back()


def grow_running(disk_uuid: str, size: int) -> bool:
    """Let the QEMU on this node that has the disk in userspace grow it; False if none has.

    `size` is bytes.  Raises `GanetiGlusterError` where QEMU refuses.
    """
    with _qemu() as running_disk:
        return bool(running_disk.grow(disk_uuid, size))


def tell_size(disk_uuid: str, size: int) -> None:
    """Let the QEMU on this node that has the disk by a block device see its new size."""
    with _qemu() as running_disk:
        running_disk.tell_size(disk_uuid, size)


@contextlib.contextmanager
def _qemu() -> Iterator[ModuleType]:
    use_ganeti()
    from ganeti import errors

    from ganeti_gluster.storage import running_disk

    try:
        yield running_disk
    except errors.HypervisorError as err:
        raise GanetiGlusterError("QEMU, which has it open, did not grow it: %s" % err) from err


def copy_running(request: Request, target: str) -> bool:
    """Let the QEMU on this node that has the image copy it as it is at one instant.

    False if none has it.  Raises `GanetiGlusterError`, and leaves nothing then.
    """
    use_ganeti()
    from ganeti_gluster.storage import running_disk, snapshot

    found = running_disk.find_ext(PROVIDER, request.name)
    if found is None:
        return False
    instance, uuid = found
    snapshot.copy_running(instance, request.spec, DiskRequest(0, uuid, request.path), target)
    return True


def copy_in_time(volume: Volume, path: str, target: str) -> None:
    """Copy an image, which nobody writes, within the time that Ganeti waits."""
    use_ganeti()
    from ganeti_gluster.storage import snapshot

    snapshot.copy_in_time(volume, path, target)
