"""The unit in which the master carries the schedules out, and when it has to be started.

It is not one of the package's files, since it may write to the directories of repositories.
"""

from __future__ import annotations

from collections.abc import Iterable

from ganeti_gluster import constants
from ganeti_gluster.core.backup import due
from ganeti_gluster.core.verify.stamps import of_file
from ganeti_gluster.tools import command, systemd

UNIT = "ganeti-gluster-backups.service"
PROGRAM = ("/usr/sbin/gnt-gluster", "backup", "run")
_START_SECONDS = 30


class Alarm:
    """Rings when there is something to do: costs a look at two files."""

    def __init__(self) -> None:
        self._config: object = None
        self._state: object = None
        self._next: float | None = None
        self._written = 0.0
        self._muted = False

    def rings(self, now: float) -> bool:
        """Whether a backup is due, the configuration is new, or the clock was ahead."""
        config, state = of_file(constants.BACKUP_CONF), of_file(constants.BACKUP_STATE)
        if config is None:
            return False
        if state != self._state:
            known = due.load()
            self._state, self._next, self._written = state, known.next, known.written
        if config != self._config:
            self._config, self._muted = config, False
            return True
        if self._muted:
            return False
        return self._written > now + due.CLOCKS or (self._next is not None and self._next <= now)

    def mute(self) -> None:
        """The configuration is invalid: wait for another one."""
        self._muted = True


def argv(properties: Iterable[str]) -> list[str]:
    """The command that starts it; `properties` are what repositories need besides."""
    return systemd.run_argv(
        UNIT,
        "Scheduled backups of Ganeti's instances",
        PROGRAM,
        options=["--no-block"],
        properties=[*systemd.BACKUP_SCHEDULES, *properties],
    )


def start(*, run: command.Run = command.run) -> None:
    """Start it, unless it runs; raises `InvalidConfiguration`."""
    # Late: the agent of each node has this module loaded, and starts nothing.
    from ganeti_gluster.core.backup import places, schedule

    repositories = schedule.load().repositories.values()
    properties = [each for place in repositories for each in places.unit_properties(place)]
    # Refused by systemd where it runs still: it is asked again in a minute.
    run(argv(dict.fromkeys(properties)), timeout=_START_SECONDS, check=False)
