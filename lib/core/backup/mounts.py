"""The backups and snapshots whose disks are block devices on this node, each by a unit."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ganeti_gluster import constants
from ganeti_gluster.core.backup import manifest, places
from ganeti_gluster.core.export import loop, users
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import command, names, private, systemd

UNIT = "ganeti-gluster-mount-%s.service"
PROGRAM = ("/usr/bin/python3", "-m", "ganeti_gluster.core.backup.mounter")
#: Seconds for a repository or a volume to answer, and for devices to be given back.
START_SECONDS = 90
STOP_SECONDS = 60
_PREFIX = "disk-"
_LOCK = ".lock-"


class MountFailed(GanetiGlusterError):
    """The disks cannot be mounted, or still are in use."""


@dataclass(frozen=True)
class Mount:
    """A backup or snapshot of an instance on this node."""

    instance: str
    name: str

    @property
    def _key(self) -> str:
        return "%s:%s" % (names.host(self.instance), manifest.check_name(self.name))

    @property
    def unit(self) -> str:
        """The unit that serves it."""
        return UNIT % self._key

    @property
    def directory(self) -> str:
        """Where its files are, which people do not see."""
        return os.path.join(constants.MOUNT_DIR, self._key)

    def devices(self) -> dict[int, str]:
        """The devices of its disks, by their indices."""
        found = {}
        for number, path in self._files():
            with open(path, encoding="ascii") as stream:
                device = loop.find(stream.read(), path)
            if device is not None:
                found[number] = device
        return found

    def _files(self) -> list[tuple[int, str]]:
        try:
            entries = sorted(os.listdir(self.directory))
        except FileNotFoundError:
            return []
        return [
            (int(each.removeprefix(_PREFIX)), os.path.join(self.directory, each))
            for each in entries
            if each.removeprefix(_PREFIX).isdecimal()
        ]

    def start(
        self, words: Sequence[str], properties: Sequence[str], *, run: command.Run = command.run
    ) -> dict[int, str]:
        """Make the devices; `words` and `properties` are those of `of_backup` or `of_snapshot`."""
        with self._alone():
            return self._start(words, properties, run)

    def _alone(self) -> contextlib.AbstractContextManager[int]:
        """Else one who finds the unit of another there would end it."""
        refusal = MountFailed(
            "%s of %s is being mounted or unmounted" % (self.name, self.instance),
            hint="wait until that has ended",
        )
        path = os.path.join(constants.MOUNT_DIR, _LOCK + self._key)
        return private.locked(path, seconds=0, refusal=refusal)

    def _start(
        self, words: Sequence[str], properties: Sequence[str], run: command.Run
    ) -> dict[int, str]:
        if self._files():
            raise MountFailed(
                "%s of %s is mounted already" % (self.name, self.instance),
                hint="see gnt-gluster backup umount",
            )
        private.directory(self.directory)
        argv = [*PROGRAM, "--directory=%s" % self.directory, *words]
        try:
            run(start_argv(self.unit, argv, properties), timeout=START_SECONDS)
        except command.CommandFailed as err:
            why = systemd.last_words(self.unit, run=run) or err.output
            self._clear(run)
            raise MountFailed(
                "%s of %s cannot be mounted: %s" % (self.name, self.instance, why)
            ) from err
        return self.devices()

    def stop(self, *, run: command.Run = command.run) -> None:
        """Give the devices back; raises `MountFailed` while one is in use."""
        with self._alone():
            for device in self.devices().values():
                by = users.of(device)
                if by:
                    raise MountFailed("%s is in use by %s" % (device, ", ".join(by)))
            self._clear(run)

    def _clear(self, run: command.Run) -> None:
        systemd.end(self.unit, timeout=STOP_SECONDS, run=run)
        # Those of a unit that was killed.
        for device in self.devices().values():
            run(loop.detach_argv(device), timeout=STOP_SECONDS, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


def start_argv(unit: str, argv: Sequence[str], properties: Sequence[str]) -> list[str]:
    """The command that starts a unit and returns when its devices are there."""
    return systemd.run_argv(
        unit,
        "Disks of a backup or a snapshot as block devices",
        argv,
        properties=["Type=notify", "NotifyAccess=main", *systemd.BACKUP_MOUNT, *properties],
    )


def of_backup(repository: str, instance: str, backup: str) -> tuple[list[str], list[str]]:
    """The words of the program and the properties of its unit for a backup."""
    words = ["--repository=%s" % repository, "--instance=%s" % instance, "--backup=%s" % backup]
    return words, places.unit_properties(repository)


def of_snapshot(spec: VolumeSpec, images: Mapping[int, str]) -> tuple[list[str], list[str]]:
    """The same for a snapshot, by the images of its disks."""
    words = ["--servers=%s" % spec.text_of_servers(), "--volume=%s" % spec.name]
    return [*words, *("--image=%d=%s" % each for each in sorted(images.items()))], []


def every() -> list[Mount]:
    """All that are mounted on this node."""
    try:
        entries = sorted(os.listdir(constants.MOUNT_DIR))
    except FileNotFoundError:
        return []
    return [Mount(*entry.split(":", 1)) for entry in entries if _is_mount(entry)]


def _is_mount(entry: str) -> bool:
    return ":" in entry and not entry.startswith(_LOCK)
