"""Where a schedule's backups go, and its snapshots: what is there of it, one more, one less.

Of what users made nothing is seen here, and so nothing removed: see `own_names`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from ganeti import errors

from ganeti_gluster.cmdlib import backups, snapshots
from ganeti_gluster.core.backup import own_names, places
from ganeti_gluster.core.backup.errors import NoSuchBackup
from ganeti_gluster.core.backup.lock import locked
from ganeti_gluster.core.backup.repository import Repository
from ganeti_gluster.core.backup.schedule import SNAPSHOTS, Schedule
from ganeti_gluster.core.snapshot import catalogue
from ganeti_gluster.core.snapshot.request import REMOVE, TAKE, SnapshotRequest
from ganeti_gluster.core.volume import connect
from ganeti_gluster.errors import GanetiGlusterError

#: What may go wrong with a repository, a volume or a node.
FAILURES = (GanetiGlusterError, errors.GenericError, OSError)


class Kept(NamedTuple):
    """A backup or snapshot that the schedule made; one that is not `whole` is of no use."""

    name: str
    taken: float
    whole: bool = True


class SchedulePlace(Protocol):
    """What both kinds of places can do; what fails is one of `FAILURES`."""

    def last(self, instance: snapshots.Instance) -> float | None:
        """When the newest that is there was begun."""

    def kept(self, instance: snapshots.Instance) -> list[Kept]:
        """All that is there, the oldest first."""

    def make(self, instance: snapshots.Instance, name: str) -> dict[str, Any]:
        """Make one more."""

    def remove(self, instance: snapshots.Instance, names: Sequence[str]) -> None:
        """Remove these."""


class Places:
    """The places of schedules, each opened once; a context manager that closes them."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._open: dict[str, Repository | Exception] = {}

    def __enter__(self) -> Places:
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stack.__exit__(*exc)

    def of(self, schedule: Schedule) -> SchedulePlace:
        """The place of a schedule; raises where it cannot be opened."""
        if schedule.to == SNAPSHOTS:
            return _Snapshots(schedule)
        return _Backups(schedule, self.repository(schedule.place))

    def repository(self, place: str) -> Repository:
        """A repository; one that could not be opened is not tried again."""
        if place not in self._open:
            try:
                store = self._stack.enter_context(places.store(place))
                found = Repository(store)
                found.check()
                self._open[place] = found
            except FAILURES as err:
                self._open[place] = err
        known = self._open[place]
        if isinstance(known, Exception):
            raise known
        return known


class _Backups:
    def __init__(self, schedule: Schedule, repository: Repository) -> None:
        self._schedule = schedule
        self._repository = repository

    def last(self, instance: snapshots.Instance) -> float | None:
        return _newest(self._repository.names(instance.name), self._schedule)

    def kept(self, instance: snapshots.Instance) -> list[Kept]:
        backups, damaged = self._repository.listing([instance.name])
        if damaged:
            raise GanetiGlusterError(
                "%s; nothing was removed" % damaged[0],
                hint="remove this backup with gnt-gluster backup remove",
            )
        own = self._schedule.name
        return [
            Kept(each.name, each.taken)
            for each in backups
            if own_names.moment(each.name, own) is not None
        ]

    def make(self, instance: snapshots.Instance, name: str) -> dict[str, Any]:
        wanted = backups.to_back_up(instance, name, self._schedule.place, full=False, freeze=True)
        return _carry_out(instance, replace(wanted, limit=self._schedule.bandwidth))

    def remove(self, instance: snapshots.Instance, names: Sequence[str]) -> None:
        with locked(self._repository.store, "the removal of backups"):
            for name in names:
                with contextlib.suppress(NoSuchBackup):
                    self._repository.remove(instance.name, name)


class _Snapshots:
    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def last(self, instance: snapshots.Instance) -> float | None:
        names = [each.name for each in self.kept(instance) if each.whole]
        return _newest(names, self._schedule)

    def kept(self, instance: snapshots.Instance) -> list[Kept]:
        with connect(instance.volume) as volume:
            found = catalogue.find_all(volume, instance.uuid, instance.paths)
        return [
            Kept(each.name, each.taken, each.complete)
            for each in found
            if own_names.moment(each.name, self._schedule.name) is not None
        ]

    def make(self, instance: snapshots.Instance, name: str) -> dict[str, Any]:
        return _carry_out(instance, self._request(TAKE, instance, name))

    def remove(self, instance: snapshots.Instance, names: Sequence[str]) -> None:
        for name in names:
            _carry_out(instance, self._request(REMOVE, instance, name))

    def _request(self, operation: str, instance: snapshots.Instance, name: str) -> SnapshotRequest:
        return SnapshotRequest(
            operation=operation,
            instance=instance.name,
            instance_uuid=instance.uuid,
            name=name,
            disks=snapshots.choose(instance, None),
            disks_volume=instance.volume,
            snapshots_volume=instance.volume,
            running=snapshots.is_running(instance),
            limit=self._schedule.bandwidth,
        )


def _newest(names: Sequence[str], schedule: Schedule) -> float | None:
    moments = [own_names.moment(name, schedule.name) for name in names]
    return max((each for each in moments if each is not None), default=None)


def _carry_out(instance: snapshots.Instance, wanted: SnapshotRequest) -> dict[str, Any]:
    return snapshots.carry_out(instance, wanted, lambda event: None)
