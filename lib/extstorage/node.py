"""What has to be asked of this node's Ganeti, whose code is imported for it."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager

from ganeti_gluster.core.serve.server import qemu_uri
from ganeti_gluster.core.snapshot.request import DiskRequest
from ganeti_gluster.extstorage.request import ExtStorageRequest
from ganeti_gluster.tools.gfapi import Volume

GANETI = "/usr/share/ganeti/default"
#: The provider's name, by its directory.
PROVIDER = "gluster"


def use_ganeti() -> None:
    """Make Ganeti importable, as in its own commands."""
    path = os.path.realpath(GANETI)
    if path not in sys.path:
        sys.path.insert(0, path)


def starts_in_userspace() -> bool:
    """Whether this node's Ganeti can hand QEMU the URI of an image's server.

    Ganeti 3.1 makes structures of URIs, and refuses those that it does not know; its
    function is asked, which the plugin extends where it is not switched off.  Ganeti 3.0
    passes the URI on.
    """
    use_ganeti()
    from ganeti import errors

    try:
        from ganeti.hypervisor.hv_kvm import kvm_utils
    except ImportError:
        return True
    parse = getattr(kvm_utils, "ParseStorageUriToBlockdevParam", None)
    if parse is None:
        return True
    try:
        parse(qemu_uri("/run/socket", 0))
    except errors.HypervisorError:
        return False
    return True


def open_image(request: ExtStorageRequest) -> None:
    """Have the image served on this node; `GanetiGlusterError` where another has it."""
    use_ganeti()
    from ganeti_gluster.storage import one_writer

    one_writer.open_image(dict(request.parameters), request.path, exclusive=request.exclusive)


def tell_size(disk_uuid: str, size: int) -> None:
    """Let the QEMU on this node that has the disk see its new size, in bytes.

    Raises `GanetiGlusterError` where QEMU refuses.
    """
    use_ganeti()
    from ganeti_gluster.storage import running_disk

    running_disk.show_size(disk_uuid, size)


def copy_running(request: ExtStorageRequest, target: str) -> bool:
    """Let the QEMU on this node that has the image copy it as it is at one instant.

    False if none has it.  Raises `GanetiGlusterError`, and leaves nothing then.
    """
    use_ganeti()
    from ganeti_gluster.storage import running_disk, snapshot

    guest = running_disk.find_ext(PROVIDER, request.name)
    if guest is None:
        return False
    instance, uuid = guest
    snapshot.copy_running(instance, request.spec, DiskRequest(0, uuid, request.path), target)
    return True


def copy_in_time(volume: Volume, request: ExtStorageRequest, target: str) -> None:
    """Copy an image, which must not change, within the time that Ganeti waits."""
    use_ganeti()
    from ganeti_gluster.storage import snapshot

    snapshot.copy_in_time(volume, request.spec, request.path, target)


def remove_snapshot(volume: Volume, target: str) -> None:
    """Remove a snapshot that is there; `GanetiGlusterError` where one reads it."""
    use_ganeti()
    from ganeti_gluster.storage import snapshot

    snapshot.remove(volume, target)


def holding(request: ExtStorageRequest, volume: Volume) -> AbstractContextManager[None]:
    """Keep all others from an image in the block; `GanetiGlusterError` where one has it."""
    use_ganeti()
    from ganeti_gluster.storage import one_writer

    return one_writer.holding(dict(request.parameters), volume, request.path)
