"""Carry out the schedules of backups: what is due is made, and what no rule keeps is removed."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ganeti import cli, constants

from ganeti_gluster.cmdlib import cluster_config, snapshots
from ganeti_gluster.cmdlib.backup_places import FAILURES, Kept, Places
from ganeti_gluster.core.backup import due, own_names, prune
from ganeti_gluster.core.backup.due import ScheduleEntry, Times
from ganeti_gluster.core.backup.errors import RepositoryLocked
from ganeti_gluster.core.backup.lock import locked
from ganeti_gluster.core.backup.retention import decide
from ganeti_gluster.core.backup.schedule import BackupConfig, Member, Schedule
from ganeti_gluster.core.snapshot.service import SnapshotInProgress
from ganeti_gluster.errors import in_words
from ganeti_gluster.tools import systemd

#: Seconds between two times that the space of a repository is freed.
PRUNE_SECONDS = 20 * 3600.0

# Jobs of Ganeti's that move an instance, by their summaries, and when they are not over.
_MOVES = tuple("INSTANCE_%s(" % word for word in ("MIGRATE", "FAILOVER", "MOVE"))


@dataclass(frozen=True)
class Planned:
    """An instance in a schedule: what is known of it, and why it has to wait, "" if it need not.

    `problem` says why nothing is known of what is there.
    """

    schedule: Schedule
    instance: snapshots.Instance
    entry: ScheduleEntry
    wait: str = ""
    problem: str = ""


class Removal(NamedTuple):
    """What becomes of a backup or snapshot, and why."""

    kept: Kept
    why: str

    @property
    def stays(self) -> bool:
        """Whether it is kept."""
        return bool(self.why) and self.kept.whole


@dataclass(frozen=True)
class BackupOutcome:
    """What came of one: its name and the worker's result, or an `error`; and what was removed.

    It has to `wait` if another operation is under way.  `trouble` is what else went wrong.
    """

    planned: Planned
    name: str
    result: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    wait: str = ""
    removed: tuple[str, ...] = ()
    trouble: str = ""


class _Known(NamedTuple):
    member: Member
    created: float


class Schedules:
    """All schedules of the configuration, at this moment; on the master."""

    def __init__(self, config: BackupConfig, places: Places) -> None:
        self.config = config
        self.now = time.time()
        self.state = due.load()
        self.problems: list[str] = []
        self._places = places
        self._times = {
            each.name: Times(each.times, systemd.next_elapse) for each in config.schedules
        }

    def plan(self, *, wanted: Collection[str] = (), at_once: bool = False) -> list[Planned]:
        """Each instance of each schedule; those of the `wanted` ones only, if any is.

        With `at_once` it counts for due whatever the time is.
        """
        there = known(cluster_config.read())
        found = {each.name: each for each in snapshots.find([])}
        moving = _moving(found) if found else set()
        since = {
            each.name: min(self.state.since.get(each.name, self.now), self.now)
            for each in self.config.schedules
        }
        planned = []
        for schedule in self.config.schedules:
            for each in members(schedule, there):
                instance = found.get(each.member.name)
                if instance is None:  # removed, or no longer on Gluster, since
                    continue
                start = min(max(since[schedule.name], each.created), self.now)
                soon = at_once and (not wanted or schedule.name in wanted)
                planned.append(self._planned(schedule, instance, start, moving, soon))
            self.problems += unknown(schedule, there)
        # What is not known of one that was not known before is asked for again.
        entries = tuple(
            each.entry
            for each in planned
            if not each.problem or self.state.entry(each.schedule.name, each.instance.name)
        )
        self.state = replace(self.state, since=since, entries=entries)
        return [each for each in planned if not wanted or each.schedule.name in wanted]

    def _planned(
        self,
        schedule: Schedule,
        instance: snapshots.Instance,
        since: float,
        moving: Collection[str],
        at_once: bool,
    ) -> Planned:
        times = self._times[schedule.name]
        before = self.state.entry(schedule.name, instance.name)
        if before is not None and before.is_of_future(self.now):
            before = None
        entry = times.of(before or ScheduleEntry(schedule.name, instance.name), since=since)
        if at_once:
            entry = replace(entry, due=min(entry.due or self.now, self.now), failures=0)
        if before is not None and not entry.is_due(self.now):
            return Planned(schedule, instance, entry)
        # Another master may have made it, or the administrator may have removed it.
        try:
            last = self._places.of(schedule).last(instance, self.now + due.CLOCKS)
        except FAILURES as err:
            return Planned(schedule, instance, entry, problem=in_words(err))
        if last != entry.last and not at_once:
            entry = times.of(ScheduleEntry(schedule.name, instance.name, last=last), since=since)
        wait = "it is being moved" if instance.name in moving else ""
        return Planned(schedule, instance, entry, wait=wait)

    def is_due(self, planned: Planned) -> bool:
        """Whether it is to be made now."""
        return planned.entry.is_due(self.now)

    def removals(self, planned: Planned, *, more: bool = False) -> list[Removal]:
        """What would become of what is there, with one `more` from now."""
        kept = self._places.of(planned.schedule).kept(planned.instance)
        if more:
            kept.append(Kept(own_names.make(planned.schedule.name, self.now), self.now))
        # One of the future would be newer than all for long: it counts for no rule.
        end = self.now if more else time.time()
        whole = [each for each in kept if each.whole and each.taken <= end]
        reasons = decide([each.taken for each in whole], planned.schedule.keep)
        why = {each.name: reason for each, reason in zip(whole, reasons, strict=True)}
        why.update((each.name, "it is of the future") for each in kept if each.taken > end)
        return [Removal(each, why.get(each.name, "")) for each in kept]

    def carry_out(self, planned: list[Planned]) -> Iterator[BackupOutcome]:
        """Make all of these that are due; keeps of each what came of it."""
        ready = [each for each in planned if self.is_due(each) and not each.wait]
        ready.sort(key=lambda each: (each.entry.due, each.instance.name))
        gate = _Gate(self.config.stagger)
        with ThreadPoolExecutor(self.config.at_once) as threads:
            for future in as_completed([threads.submit(self._make, gate, e) for e in ready]):
                outcome = future.result()
                self._note(outcome)
                yield outcome
        self._keep()

    def _make(self, gate: _Gate, planned: Planned) -> BackupOutcome:
        gate.wait()
        name = own_names.make(planned.schedule.name, time.time())
        if planned.problem:
            return BackupOutcome(planned, name, error=planned.problem)
        place = self._places.of(planned.schedule)
        try:
            result = place.make(planned.instance, name)
        except SnapshotInProgress as err:
            return BackupOutcome(planned, name, wait=err.message)
        except FAILURES as err:
            return BackupOutcome(planned, name, error=in_words(err))
        try:
            doomed = tuple(e.kept.name for e in self.removals(planned) if not e.stays)
            if doomed:
                place.remove(planned.instance, doomed)
        except FAILURES as err:
            return BackupOutcome(planned, name, result, trouble=in_words(err))
        return BackupOutcome(planned, name, result, removed=doomed)

    def _note(self, outcome: BackupOutcome) -> None:
        if outcome.wait:
            return
        schedule = outcome.planned.schedule.name
        entry = outcome.planned.entry
        if outcome.error:
            entry = entry.failed(time.time(), outcome.error)
        else:
            begun = own_names.moment(outcome.name, schedule)
            assert begun is not None
            entry = entry.made(begun, self._times[schedule])
        self.state = self.state.with_entry(entry)
        self._keep()

    def _keep(self) -> None:
        """Keep what is known, and when there is something to do next."""
        times = [self._times[each.name].after(self.now) for each in self.config.schedules]
        tries = [each.next_try for each in self.state.entries]
        following = min((each for each in (*times, *tries) if each is not None), default=None)
        self.state = replace(self.state, next=following, written=time.time())
        due.save(self.state)

    def free(self) -> Iterator[str]:
        """Free what no backup needs in repositories, where that is not done yet; what failed."""
        for place in dict.fromkeys(each.place for each in self.config.schedules if each.place):
            if 0 <= self.now - self.state.pruned.get(place, 0.0) < PRUNE_SECONDS:
                continue
            try:
                repository = self._places.repository(place)
                what = "the removal of old data"
                with locked(repository.store, what, alone=True) as lock:
                    prune.prune(repository, lock)
            except RepositoryLocked:  # the next time
                continue
            except FAILURES as err:
                yield in_words(err)
                continue
            self.state = replace(self.state, pruned={**self.state.pruned, place: self.now})
            due.save(self.state)


class _Gate:
    """Lets one pass, and the next so many seconds later."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self) -> None:
        with self._lock:
            time.sleep(max(0.0, self._next - time.monotonic()))
            self._next = time.monotonic() + self._seconds


def members(schedule: Schedule, there: list[_Known]) -> list[_Known]:
    """The instances of a schedule."""
    return [each for each in there if schedule.instances.has(each.member)]


def unknown(schedule: Schedule, there: list[_Known]) -> list[str]:
    """What is wrong with the names of instances in a schedule."""
    names = {each.member.name for each in there}
    return [
        "schedule %s: there is no instance %s with gluster disks" % (schedule.name, name)
        for name in sorted(schedule.instances.names - names)
    ]


def known(data: Mapping[str, Any]) -> list[_Known]:
    """The instances with disks of the template in the configuration's data, by name."""
    groups = {uuid: group["name"] for uuid, group in data["nodegroups"].items()}
    found = []
    for each in data["instances"].values():
        disks = [data["disks"][disk] for disk in each.get("disks", ())]
        if not disks or any(disk.get("dev_type") != constants.DT_GLUSTER for disk in disks):
            continue
        node = data["nodes"].get(each.get("primary_node"), {})
        member = Member(
            each["name"], frozenset(each.get("tags") or ()), groups.get(node.get("group"), "")
        )
        found.append(_Known(member, float(each.get("ctime") or 0.0)))
    return sorted(found, key=lambda each: each.member.name)


def _moving(instances: Collection[str]) -> set[str]:
    """Those of these instances that a job moves, or is to move."""
    under_way = {*constants.JOBS_PENDING, constants.JOB_STATUS_RUNNING}
    names = [
        word.partition("(")[2].removesuffix(")")
        for status, summary in cli.GetClient().QueryJobs([], ["status", "summary"])
        if status in under_way
        for word in summary
        if word.startswith(_MOVES)
    ]
    # Jobs may have a name as it was given, shortened.
    return {
        each for each in instances for name in names if each == name or each.startswith(name + ".")
    }
