"""The hooks that keep Ganeti's operations away from a snapshot that is being taken.

Ganeti runs them on the instance's node once it has the instance's lock.  They
refuse an operation while there is a worker, and take out of QEMU what a worker
left that systemd could not clean up after.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from ganeti_gluster import command
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.snapshot import service

#: Seconds to take out of QEMU what is left there.
_UNDO_SECONDS = 60


class Closed(GanetiGlusterError):
    """The operation has to wait."""


def check(instance: str) -> None:
    """Raise `Closed`, or another `GanetiGlusterError`, while the instance is to be left alone.

    Where no worker left its mark nothing is asked: the hooks run for every instance.
    """
    if not os.path.exists(service.mark(instance)):
        return
    if service.is_busy(instance):
        raise Closed(
            "a snapshot of instance %s is being taken, restored or removed" % instance,
            hint="wait for its end, or stop it with systemctl stop %s on this node"
            % service.unit(instance),
        )
    command.run(service.undo_argv(instance), timeout=_UNDO_SECONDS)


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Check for the instance that Ganeti names; the exit status, which stops the job if not 0."""
    instance = environment.get("GANETI_INSTANCE_NAME", "")
    if not instance:
        return 0
    try:
        check(instance)
    except GanetiGlusterError as err:
        print(err, file=sys.stderr)
        return 1
    return 0
