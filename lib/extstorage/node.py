"""What has to be asked of this node's Ganeti, whose code is imported for it."""

from __future__ import annotations

import os
import sys

from ganeti_gluster.errors import GanetiGlusterError

GANETI = "/usr/share/ganeti/default"


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


def grow_running(disk_uuid: str, size: int) -> bool:
    """Let the QEMU on this node that has the disk in userspace grow it; False if none has.

    `size` is bytes.  Raises `GanetiGlusterError` where QEMU refuses.
    """
    use_ganeti()
    from ganeti import errors

    from ganeti_gluster.storage import running_disk

    try:
        return running_disk.grow(disk_uuid, size)
    except errors.HypervisorError as err:
        raise GanetiGlusterError("QEMU, which has it open, did not grow it: %s" % err) from err
