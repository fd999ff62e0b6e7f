"""Services under SysV init, by service(8), where there is no systemd."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ganeti_gluster import command
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.services.model import Status
from ganeti_gluster.services.units import UnitState

INIT_DIRECTORY = "/etc/init.d"
READ_SECONDS = 4
ACT_SECONDS = 60

Run = Callable[..., command.CommandResult]


@dataclass(frozen=True)
class SysV:
    """SysV init scripts as a service manager."""

    run: Run = command.run
    directory: str = INIT_DIRECTORY

    def read(self, units: Sequence[str]) -> Mapping[str, UnitState]:
        return {unit: self._read(unit) for unit in units}

    def _read(self, unit: str) -> UnitState:
        if not os.access(os.path.join(self.directory, unit), os.X_OK):
            return UnitState(name=unit, installed=False)
        try:
            done = self.run(argv(unit, "status"), timeout=READ_SECONDS, check=False)
        except GanetiGlusterError as err:
            return UnitState(name=unit, installed=True, status=Status.UNKNOWN, message=str(err))
        status, message = from_exit_code(done.exit_code)
        return UnitState(name=unit, installed=True, status=status, message=message)

    def start(self, unit: str) -> None:
        self.run(argv(unit, "start"), timeout=ACT_SECONDS)

    def stop(self, unit: str) -> None:
        self.run(argv(unit, "stop"), timeout=ACT_SECONDS)


def argv(unit: str, verb: str) -> list[str]:
    """The command for one init script."""
    return ["service", unit, verb]


def from_exit_code(code: int) -> tuple[Status, str]:
    """What the Linux Standard Base lets an init script's `status` say."""
    if code == 0:
        return Status.RUNNING, ""
    if code == 1:
        return Status.STOPPED, "failed: it is dead and its pid file is there"
    if code == 2:
        return Status.STOPPED, "failed: it is dead and its lock file is there"
    if code == 3:
        return Status.STOPPED, ""
    return Status.UNKNOWN, "its init script's status is %d" % code
