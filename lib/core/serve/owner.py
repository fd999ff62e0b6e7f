"""Whose QEMU may connect to an image's server, beside root's.

QEMU opens its disks as root, and runs as another user where Ganeti's hypervisor parameter
`security_model` says so; what it opens later it opens as that user: the server again after
that was restarted, and a disk that is added to a running guest.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

from ganeti_gluster.core.serve import control, files
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import processes

_SECONDS = 30


class OwnerNotSet(GanetiGlusterError):
    """The owner of an image server's socket could not be set."""


def give(sockets: Iterable[str], uid: int) -> None:
    """Let only the processes of a user (and root) connect to servers at these sockets.

    For a socket without a server nothing is done; connecting to it fails.  Raises
    `OwnerNotSet` or `NoAnswer`.
    """
    keys = {os.path.basename(path).removesuffix(".nbd") for path in sockets}
    if uid:
        _take_from_the_dead(uid, keys)
    for key in sorted(keys):
        with contextlib.suppress(control.NoServer):
            _tell(key, uid)


def _take_from_the_dead(uid: int, keys: set[str]) -> None:
    """Take sockets of this user back whose QEMU has died: a pool's users are used again."""
    for key in set(files.served()) - keys:
        held = files.read(key, "held")
        if held.get("owner") != str(uid):
            continue
        clients = (entry.partition("/")[0] for entry in held.get("clients", "").split())
        if not any(processes.user_of(int(pid)) == uid for pid in clients):
            with contextlib.suppress(control.NoServer):
                _tell(key, 0)


def _tell(key: str, uid: int) -> None:
    answer = control.ask(key, "owner %d" % uid, timeout=_SECONDS)
    if "ok" not in answer:
        raise OwnerNotSet(
            "cannot give user %d access to image server %s: %s"
            % (uid, key, answer.get("error", "it ended"))
        )
