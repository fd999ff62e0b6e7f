"""The schedules of backups and snapshots, as the administrator gives them.

/etc/ganeti/gluster-backup.conf, the same on all nodes::

    [settings]
    at-once = 2
    stagger = 30
    bandwidth = 100

    [repository nas]
    place = sftp://backup@nas.example.org/srv/backups

    [schedule nightly]
    instances = tag:backed-up group:default web1
    except = scratch1
    to = nas
    times = 02:30
    keep-daily = 7
    keep-monthly = 12

    [schedule hourly]
    instances = all
    to = snapshots
    times = Mon..Fri 8..18:00; Sat 12:00
    keep-last = 5
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from ganeti_gluster import constants
from ganeti_gluster.constants import MIB
from ganeti_gluster.core.backup import own_names, places
from ganeti_gluster.core.backup.retention import KeepRules
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import ini, names, systemd
from ganeti_gluster.tools.ini import Within, match, number

#: In the place of a repository: snapshots on the volume of the disks.
SNAPSHOTS = "snapshots"

_SETTINGS, _REPOSITORY, _SCHEDULE = "settings", "repository ", "schedule "
_TAG = re.compile(r"[A-Za-z0-9_+*/:@.-]{1,128}")  # Ganeti's own rule
_GROUP = re.compile(r"[A-Za-z0-9._-]{1,128}")
_AT_ONCE, _STAGGER, _BANDWIDTH, _KEEP = (1, 64), (0, 3600), (1, 1000000), (0, 100000)


@dataclass(frozen=True)
class Member:
    """What the choice of instances depends on."""

    name: str
    tags: frozenset[str] = frozenset()
    group: str = ""


@dataclass(frozen=True)
class Choice:
    """Which instances a schedule is for."""

    every: bool = False
    names: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    excluded: frozenset[str] = frozenset()

    def has(self, member: Member) -> bool:
        """Whether an instance is among them."""
        return member.name not in self.excluded and bool(
            self.every
            or member.name in self.names
            or member.tags & self.tags
            or member.group in self.groups
        )


@dataclass(frozen=True)
class Schedule:
    """What is backed up to `to`, a repository's name or `SNAPSHOTS`, at what times.

    `times` are systemd's calendar expressions, `bandwidth` bytes a second, `place` is where the
    repository is, "" for snapshots.
    """

    name: str
    instances: Choice = Choice()
    to: str = ""
    place: str = ""
    times: tuple[str, ...] = ()
    keep: KeepRules = field(default_factory=KeepRules)
    bandwidth: int | None = None


@dataclass(frozen=True)
class BackupConfig:
    """All schedules; `at_once` backups run at a time, each `stagger` seconds after another."""

    schedules: tuple[Schedule, ...] = ()
    at_once: int = 1
    stagger: int = 10
    repositories: Mapping[str, str] = field(default_factory=dict)


def load(
    path: str | None = None, *, check_times: Callable[[str], None] = systemd.check_calendar
) -> BackupConfig:
    """The configuration of this node, empty if there is no file; raises `InvalidConfiguration`.

    `check_times` raises for what is no calendar expression.
    """
    path = path or constants.BACKUP_CONF
    text = ini.read(path)
    return BackupConfig() if text is None else parse(text, path, check_times=check_times)


def parse(
    text: str,
    path: str = constants.BACKUP_CONF,
    *,
    check_times: Callable[[str], None] = systemd.check_calendar,
) -> BackupConfig:
    """The configuration in `text`; `path` is for messages.  Raises `InvalidConfiguration`."""
    parser = ini.parse(text, path)
    file = _File(path, text, parser, check_times)
    settings: dict[str, int] = {}
    repositories: dict[str, str] = {}
    schedules = []
    for name in parser.sections():
        if name == _SETTINGS:
            file.each(name, lambda key, value: settings.update({key: _setting(key, value)}))
        elif name.startswith(_REPOSITORY):
            repositories[file.name(name, _REPOSITORY)] = file.place(name)
        elif not name.startswith(_SCHEDULE):
            with file.within(name):
                raise ValueError("expected [settings], [repository NAME] or [schedule NAME]")
    for name in parser.sections():
        if name.startswith(_SCHEDULE):
            schedules.append(file.schedule(name, repositories, settings.get("bandwidth")))
    return BackupConfig(
        tuple(schedules),
        at_once=settings.get("at-once", BackupConfig.at_once),
        stagger=settings.get("stagger", BackupConfig.stagger),
        repositories=repositories,
    )


class _File:
    """The file that is being read; what is wrong in it is told by its line."""

    def __init__(
        self, path: str, text: str, parser: Mapping[str, Any], check_times: Callable[[str], None]
    ) -> None:
        self._path = path
        self._text = text
        self._parser = parser
        self._check_times = check_times
        self._named: set[str] = set()

    def within(self, section: str, key: str = "") -> Within:
        return Within(self._path, section, ini.line_of(self._text, section, key))

    def each(self, section: str, take: Callable[[str, str], None]) -> None:
        """Have each line of a section taken."""
        for key, value in self._parser[section].items():
            with self.within(section, key):
                take(key, value)

    def name(self, section: str, kind: str) -> str:
        """The name in a section's, which is not that of snapshots."""
        with self.within(section):
            name = section.removeprefix(kind).strip()
            if name == SNAPSHOTS:
                raise ValueError("the name %s is not possible" % name)
            if kind + name in self._named:
                raise ValueError("there is another section [%s%s]" % (kind, name))
            self._named.add(kind + name)
            return match(own_names.SCHEDULE, name, "name (small letters, digits, _ and -)")

    def place(self, section: str) -> str:
        """Where a repository is."""
        found: list[str] = []

        def take(key: str, value: str) -> None:
            if key != "place":
                raise ValueError("unknown line %r" % key)
            try:
                places.store(value)
            except GanetiGlusterError as err:
                raise ValueError(str(err)) from err
            found.append(value)

        self.each(section, take)
        with self.within(section):
            if not found:
                raise ValueError("the line 'place = ...' is missing")
            return found[0]

    def schedule(
        self, section: str, repositories: Mapping[str, str], bandwidth: int | None
    ) -> Schedule:
        """A section of a schedule; `bandwidth` is that of the settings."""
        found = Schedule(self.name(section, _SCHEDULE), bandwidth=bandwidth)

        def take(key: str, value: str) -> None:
            nonlocal found
            found = replace(found, **self._line(found, key, value, repositories))

        self.each(section, take)
        with self.within(section):
            for key, value in (
                ("instances", found.instances != Choice(excluded=found.instances.excluded)),
                ("to", found.to),
                ("times", found.times),
            ):
                if not value:
                    raise ValueError("the line '%s = ...' is missing" % key)
        return found

    def _line(
        self, found: Schedule, key: str, value: str, repositories: Mapping[str, str]
    ) -> dict[str, Any]:
        if key == "instances":
            return {"instances": _choice(value, found.instances.excluded)}
        if key == "except":
            return {"instances": replace(found.instances, excluded=frozenset(_hosts(value)))}
        if key == "to":
            if value != SNAPSHOTS and value not in repositories:
                raise ValueError("there is no section [repository %s]" % value)
            return {"to": value, "place": repositories.get(value, "")}
        if key == "times":
            return {"times": self._times(value)}
        if key == "bandwidth":
            return {"bandwidth": _setting(key, value)}
        rule = key.removeprefix("keep-")
        if rule != key and rule in {each.name for each in fields(KeepRules)}:
            return {"keep": replace(found.keep, **{rule: number(key, value, _KEEP)})}
        raise ValueError("unknown line %r" % key)

    def _times(self, value: str) -> tuple[str, ...]:
        times = tuple(filter(None, (each.strip() for each in value.split(";"))))
        if not times:
            raise ValueError("'times' is empty")
        for each in times:
            try:
                self._check_times(each)
            except GanetiGlusterError as err:
                raise ValueError(
                    "%r is not a calendar expression of systemd (systemd.time(7))" % each
                ) from err
        return times


def _setting(key: str, value: str) -> int:
    if key == "at-once":
        return number(key, value, _AT_ONCE)
    if key == "stagger":
        return number(key, value, _STAGGER)
    if key == "bandwidth":
        return number(key, value, _BANDWIDTH) * MIB
    raise ValueError("unknown line %r" % key)


def _choice(value: str, excluded: frozenset[str]) -> Choice:
    chosen: dict[str, set[str]] = {"names": set(), "tags": set(), "groups": set()}
    every = False
    for word in value.replace(",", " ").split():
        if word == "all":
            every = True
        elif word.startswith("tag:"):
            chosen["tags"].add(match(_TAG, word.removeprefix("tag:"), "tag"))
        elif word.startswith("group:"):
            chosen["groups"].add(match(_GROUP, word.removeprefix("group:"), "node group"))
        else:
            chosen["names"].update(_hosts(word))
    if not every and not any(chosen.values()):
        raise ValueError("'instances' is empty; use all, tag:TAG, group:GROUP or names")
    sets = {key: frozenset(words) for key, words in chosen.items()}
    return Choice(every=every, excluded=excluded, **sets)


def _hosts(value: str) -> list[str]:
    try:
        return [names.host(word) for word in value.replace(",", " ").split()]
    except GanetiGlusterError as err:
        raise ValueError(str(err)) from err
