"""The hooks that keep Ganeti's operations away from a snapshot in progress.

Ganeti runs them on the instance's node once it has the instance's lock.  They refuse an operation
while there is a worker, and remove from QEMU what a worker left and systemd could not clean up.

An operation that stops the guest is only refused while the worker makes progress.  Otherwise, or
if the worker has been told to end, or a QEMU that does not answer cannot be cleaned up, the
administrator can still stop the instance.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from ganeti_gluster.core.snapshot import service
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import command, systemd

#: Seconds to take out of QEMU what is left there, and where QEMU is to end anyway.
_UNDO_SECONDS, _BRIEF_SECONDS = 60, 10
#: The operations that end the guest, by their hooks' paths.
_ENDING = ("instance-stop", "instance-remove", "instance-reboot")
_STOP_SECONDS = 10


class Closed(GanetiGlusterError):
    """The operation has to wait."""


def check(program: Sequence[str], instance: str) -> None:
    """Raise `Closed`, or another `GanetiGlusterError`, while the instance is to be left alone.

    Where no worker left its mark nothing is asked: the hooks run for every instance.
    """
    if not os.path.exists(service.mark(instance)):
        return
    if service.is_busy(instance):
        raise _closed(instance)
    command.run(service.undo_argv(program, instance), timeout=_UNDO_SECONDS)


def clear_the_way(program: Sequence[str], instance: str) -> None:
    """As `check`, for an operation that ends the guest: `Closed` if a worker makes progress.

    Any other worker is ended.
    """
    if not os.path.exists(service.mark(instance)):
        return
    try:
        if service.is_going_on(instance):
            if service.idle_seconds(instance) < service.STUCK_SECONDS:
                raise _closed(instance)
            _say("the snapshot makes no progress and is cancelled")
            systemd.ctl("stop", "--no-block", service.unit(instance), timeout=_STOP_SECONDS)
        elif not service.is_busy(instance):
            command.run(service.undo_argv(program, instance), timeout=_BRIEF_SECONDS)
    except command.CommandFailed as err:
        _say("the remains of a snapshot stay in QEMU until it ends: %s" % err)


def _closed(instance: str) -> Closed:
    return Closed(
        "a snapshot of instance %s is being taken, restored or removed" % instance,
        hint="wait until it has finished, or stop it with systemctl stop %s on this node"
        % service.unit(instance),
    )


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def main(program: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """Check for the instance that Ganeti names; the exit status, which stops the job if not 0.

    `program` is the worker's.
    """
    instance = environment.get("GANETI_INSTANCE_NAME", "")
    if not instance:
        return 0
    ends = environment.get("GANETI_HOOKS_PATH") in _ENDING
    try:
        (clear_the_way if ends else check)(program, instance)
    except GanetiGlusterError as err:
        _say(str(err))
        return 1
    return 0
