"""Where a schedule's backups go, and its snapshots: what is there of it, one more, one less.

Of what users made nothing is seen here, and so nothing removed: see `own_names`.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from ganeti import errors

from ganeti_gluster.cmdlib import backups, cluster_config, snapshots
from ganeti_gluster.core.backup import own_names, places
from ganeti_gluster.core.backup.errors import Damaged, NoSuchBackup
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
    """A backup or snapshot that the schedule made; one that is not `whole` is of no use.

    It was `taken` by the master's clock, as its name says, whatever the clock of a node said.
    """

    name: str
    taken: float
    whole: bool = True


class SchedulePlace(Protocol):
    """What both kinds of places can do; what fails is one of `FAILURES`."""

    def last(self, instance: snapshots.Instance, end: float) -> float | None:
        """When the newest that is there was begun, but for those begun after `end`."""

    def kept(self, instance: snapshots.Instance) -> list[Kept]:
        """All that is there, the oldest first."""

    def make(self, instance: snapshots.Instance, name: str) -> dict[str, Any]:
        """Make one more."""

    def remove(self, instance: snapshots.Instance, names: Sequence[str]) -> None:
        """Remove these, all that can be; raises for the first that cannot."""


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
        return _Backups(schedule, self.repository(schedule.place), self._cluster)

    @functools.cached_property
    def _cluster(self) -> str:
        return str(cluster_config.read()["cluster"].get("cluster_name", ""))

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
    """Those of instances of this cluster: others may have the same names in the repository."""

    def __init__(self, schedule: Schedule, repository: Repository, cluster: str) -> None:
        self._schedule = schedule
        self._repository = repository
        self._cluster = cluster

    def last(self, instance: snapshots.Instance, end: float) -> float | None:
        moments = _moments(self._repository.names(instance.name), self._schedule)
        for name, moment in sorted(moments.items(), key=lambda each: each[1], reverse=True):
            if moment > end:
                continue
            try:
                if self._repository.read(instance.name, name).cluster == self._cluster:
                    return moment
            except (Damaged, NoSuchBackup):
                continue
        return None

    def kept(self, instance: snapshots.Instance) -> list[Kept]:
        backups, damaged = self._repository.listing([instance.name])
        if damaged:
            raise GanetiGlusterError(
                "%s; nothing was removed" % damaged[0],
                hint="remove this backup with gnt-gluster backup remove",
            )
        own = [each.name for each in backups if each.cluster == self._cluster]
        return _kept(dict.fromkeys(own, True), self._schedule)

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

    def last(self, instance: snapshots.Instance, end: float) -> float | None:
        found = [each for each in self.kept(instance) if each.whole and each.taken <= end]
        return found[-1].taken if found else None

    def kept(self, instance: snapshots.Instance) -> list[Kept]:
        with connect(instance.volume) as volume:
            found = catalogue.find_all(volume, instance.uuid, instance.paths)
        return _kept({each.name: each.complete for each in found}, self._schedule)

    def make(self, instance: snapshots.Instance, name: str) -> dict[str, Any]:
        return _carry_out(instance, self._request(TAKE, instance, name))

    def remove(self, instance: snapshots.Instance, names: Sequence[str]) -> None:
        failure = None
        for name in names:
            try:
                _carry_out(instance, self._request(REMOVE, instance, name))
            except FAILURES as err:  # one that is in use, for example, keeps no other one
                failure = failure or err
        if failure is not None:
            raise failure

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


def _kept(whole: Mapping[str, bool], schedule: Schedule) -> list[Kept]:
    moments = _moments(whole, schedule)
    return sorted((Kept(n, at, whole[n]) for n, at in moments.items()), key=lambda k: k.taken)


def _moments(names: Iterable[str], schedule: Schedule) -> dict[str, float]:
    """When each of those was begun that are the schedule's."""
    moments = {name: own_names.moment(name, schedule.name) for name in names}
    return {name: at for name, at in moments.items() if at is not None}


def _carry_out(instance: snapshots.Instance, wanted: SnapshotRequest) -> dict[str, Any]:
    return snapshots.carry_out(instance, wanted, lambda event: None)
