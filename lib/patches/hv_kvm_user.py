"""Let a QEMU that does not run as root connect to the servers of its images.

Ganeti chooses the user on the node, when it starts QEMU (`security_model`, by name or from the
pool), long after the images were opened.  So each server gets the user in the last step before
QEMU starts, and before a disk is added to it.
"""

from __future__ import annotations

import functools
import inspect
import pwd
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from ganeti_gluster import constants
from ganeti_gluster.core.serve import owner
from ganeti_gluster.errors import GanetiGlusterError, PatchRefused
from ganeti_gluster.tools import processes

#: A server's socket in an option of QEMU's, of which Ganeti 3.1 and 3.0 have two forms.
_SOCKET = re.compile(
    r"(?:server\.path|socket)=(%s/[\w-]+\.nbd)(?=,|\Z)" % re.escape(constants.IMAGE_SOCKET_DIR)
)
_DISK_OPTIONS = ("-blockdev", "-drive")
_DISK = "disk"
#: The parameters of what starts QEMU.
_RUN = ["self", "name", "kvm_cmd", "tap_fds"]


def extend_hypervisor(hypervisor: Any) -> None:
    """Let QEMU's user connect to the servers; `hypervisor` is Ganeti's class for KVM."""
    run = getattr(hypervisor, "_RunKVMCmd", None)
    add = getattr(hypervisor, "HotAddDevice", None)
    if run is None or list(inspect.signature(run).parameters) != _RUN or not callable(add):
        raise PatchRefused("hv_kvm.KVMHypervisor does not start QEMU as expected")

    @functools.wraps(run)
    def _RunKVMCmd(self: Any, name: str, kvm_cmd: list[str], tap_fds: Any = None) -> Any:
        sockets = sockets_in(kvm_cmd)
        if sockets and is_chrooted(kvm_cmd):
            _fail(
                "Instance %s cannot start with use_chroot: its QEMU could not reconnect to the"
                " servers of its Gluster disks" % name
            )
        if sockets:
            _give(sockets, uid_in(kvm_cmd))
        return run(self, name, kvm_cmd, tap_fds)

    @functools.wraps(add)
    def HotAddDevice(
        self: Any, instance: Any, dev_type: str, device: Any, extra: Any, *rest: Any
    ) -> Any:
        sockets = _SOCKET.findall(str(extra[1])) if dev_type == _DISK else []
        if sockets:
            pid = self._InstancePidAlive(instance.name)[1]
            _give(sockets, processes.user_of(pid) or 0)
        return add(self, instance, dev_type, device, extra, *rest)

    hypervisor._RunKVMCmd = _RunKVMCmd
    hypervisor.HotAddDevice = HotAddDevice


def sockets_in(argv: Sequence[str]) -> list[str]:
    """The servers' sockets that QEMU is to connect to."""
    values = _values(argv, *_DISK_OPTIONS)
    return [path for value in values for path in _SOCKET.findall(value)]


def is_chrooted(argv: Sequence[str]) -> bool:
    """Whether QEMU locks itself into a directory."""
    return bool(_values(argv, "-chroot") or _run_with(argv, "chroot"))


def uid_in(argv: Sequence[str]) -> int:
    """The user that QEMU is to run as; root's number where none is named."""
    users = _values(argv, "-runas") + _run_with(argv, "user")
    return pwd.getpwnam(users[-1]).pw_uid if users else 0


def _values(argv: Sequence[str], *options: str) -> list[str]:
    return [value for option, value in pairwise(argv) if option in options]


def _run_with(argv: Sequence[str], name: str) -> list[str]:
    words = (
        word.partition("=") for value in _values(argv, "-run-with") for word in value.split(",")
    )
    return [value for key, _, value in words if key == name]


def _give(sockets: Sequence[str], uid: int) -> None:
    try:
        owner.give(sockets, uid)
    except GanetiGlusterError as err:
        _fail("QEMU could not access the disks: %s" % err)


def _fail(text: str) -> None:
    from ganeti import errors

    raise errors.HypervisorError(text)
