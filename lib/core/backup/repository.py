"""A repository: its mark, and its backups."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from ganeti_gluster.core.backup import manifest
from ganeti_gluster.core.backup.errors import BackupExists, Damaged, NoRepository, NoSuchBackup
from ganeti_gluster.core.backup.manifest import Hex, Manifest
from ganeti_gluster.core.backup.store import BackupStore
from ganeti_gluster.errors import InvalidParameter
from ganeti_gluster.tools import decode, names
from ganeti_gluster.tools.decode import Between, NotUnderstood

#: The file that makes a repository of a place.
MARK = "ganeti-gluster-backups.json"
_LONGEST_MARK = 4096


@dataclass(frozen=True)
class Mark:
    """What is in that file."""

    format: Annotated[int, Between(1, 1 << 31)]
    id: Hex


class BackupListing(NamedTuple):
    """Backups, the oldest first, and in words what cannot be read of others."""

    backups: tuple[Manifest, ...]
    damaged: tuple[str, ...]


class Repository:
    """The repository in a store, which has one."""

    def __init__(self, store: BackupStore) -> None:
        self.store = store

    def check(self) -> Mark:
        """What its mark says; raises `NoRepository`.

        Where a file system is not mounted there is no mark, and nothing is written in its place.
        """
        try:
            data = self.store.get(MARK, 0, _LONGEST_MARK)
            mark = decode.build(Mark, decode.plain(data, longest=_LONGEST_MARK))
        except (FileNotFoundError, NotADirectoryError):
            raise NoRepository(
                "%s is not a repository of backups, or is not mounted" % self.store.name,
                hint="create one with gnt-gluster backup init",
            ) from None
        except NotUnderstood as err:
            raise NoRepository(
                "%s of %s is not understood: %s" % (MARK, self.store.name, err.detail)
            ) from err
        if mark.format != manifest.FORMAT:
            raise NoRepository(
                "repository %s has format %d, which this release does not know"
                % (self.store.name, mark.format)
            )
        return mark

    def create(self) -> None:
        """Make a repository of an empty place; raises `NoRepository` where something is."""
        found = self.store.entries(manifest.DIRECTORY) or self.store.entries("packs")
        try:
            self.check()
        except NoRepository:
            if not found:
                mark = {"format": manifest.FORMAT, "id": uuid.uuid4().hex}
                self.store.put(MARK, json.dumps(mark).encode())
                self.check()
                return
        raise NoRepository("%s already has a repository" % self.store.name)

    def instances(self) -> list[str]:
        """The instances of which there are backups."""
        return sorted(
            entry.name
            for entry in self.store.entries(manifest.DIRECTORY)
            if _is_name(names.host, entry.name)
        )

    def names(self, instance: str) -> list[str]:
        """The names of an instance's backups."""
        found = []
        for entry in self.store.entries(manifest.directory(instance)):
            name = entry.name.removesuffix(manifest.SUFFIX)
            if name != entry.name and _is_name(manifest.check_name, name):
                found.append(name)
        return sorted(found)

    def read(self, instance: str, name: str) -> Manifest:
        """A backup; raises `NoSuchBackup` or `Damaged`."""
        try:
            data = self.store.get(manifest.path(instance, name), 0, manifest.LONGEST)
        except FileNotFoundError:
            raise self._none(instance, name) from None
        return manifest.load(data, instance, name)

    def listing(self, instances: list[str] | None = None) -> BackupListing:
        """All backups, or those of some instances."""
        backups, damaged = [], []
        for instance in self.instances() if instances is None else instances:
            for name in self.names(instance):
                try:
                    backups.append(self.read(instance, name))
                except Damaged as err:
                    damaged.append(err.message)
                except NoSuchBackup:  # removed meanwhile
                    continue
        backups.sort(key=lambda backup: (backup.instance, backup.taken, backup.name))
        return BackupListing(tuple(backups), tuple(damaged))

    def find(self, instance: str, name: str | None) -> Manifest:
        """A backup of an instance, the last one if `name` is None."""
        if name is not None:
            return self.read(instance, manifest.check_name(name))
        backups = self.listing([instance]).backups
        if not backups:
            raise NoSuchBackup(
                "repository %s has no backup of instance %s" % (self.store.name, instance)
            )
        return backups[-1]

    def check_free(self, instance: str, name: str) -> None:
        """Raise `BackupExists` if there is a backup of that name."""
        if name in self.names(instance):
            raise BackupExists(
                "repository %s already has a backup %s of instance %s"
                % (self.store.name, name, instance),
                hint="choose another name",
            )

    def publish(self, backup: Manifest) -> None:
        """Have a backup, all of whose packs are stored."""
        self.check_free(backup.instance, backup.name)
        self.store.put(manifest.path(backup.instance, backup.name), manifest.dump(backup))

    def remove(self, instance: str, name: str) -> None:
        """Remove a backup; what it alone refers to stays until `prune`.

        Raises `NoSuchBackup`.
        """
        self.check_there(instance, name)
        self.store.delete(manifest.path(instance, name))

    def check_there(self, instance: str, name: str) -> None:
        """Raise `NoSuchBackup` unless there is a backup of that name, readable or not."""
        if name not in self.names(instance):
            raise self._none(instance, name)

    def _none(self, instance: str, name: str) -> NoSuchBackup:
        return NoSuchBackup(
            "repository %s has no backup %s of instance %s" % (self.store.name, name, instance),
            hint="gnt-gluster backup list shows those it has",
        )

    def each(self) -> Iterator[tuple[str, str]]:
        """All backups by instance and name, readable or not."""
        for instance in self.instances():
            for name in self.names(instance):
                yield instance, name


def _is_name(check: object, text: str) -> bool:
    try:
        return bool(check(text) == text)  # type: ignore[operator]
    except InvalidParameter:
        return False
