"""The points of images from which backups in a repository go on.

A backup begins a point of each disk before its instant, and names it in its manifest.  The next
one asks, once its own instant is there, what has changed since.  What changed between the two is
told too much rather than too little.  A point is called by the repository, so that backups in
several of them do not get in each other's way.
"""

from __future__ import annotations

import contextlib
import uuid

from ganeti_gluster.core.backup.manifest import DiskBackup, Manifest
from ganeti_gluster.core.changed import points
from ganeti_gluster.core.changed.points import Changes, PointRefused
from ganeti_gluster.core.copy import Extent
from ganeti_gluster.core.snapshot.request import DiskRequest, SnapshotRequest
from ganeti_gluster.errors import GanetiGlusterError

# Characters of the repository's id in a point's name, and of its own.
_LENGTH = 12


class Points:
    """The points of the disks of a request for a backup in the repository of this id."""

    def __init__(
        self, request: SnapshotRequest, repository: str, previous: Manifest | None
    ) -> None:
        self._request = request
        self._prefix = repository[:_LENGTH] + "-"
        self._name = self._prefix + uuid.uuid4().hex[:_LENGTH]
        self._old = {disk.uuid: disk.point for disk in previous.disks} if previous else {}
        self._begun: list[DiskRequest] = []
        self._refused: dict[str, str] = {}

    def begin(self) -> None:
        """Begin a point of each disk; where that cannot be, the next backup reads all."""
        for disk in self._request.disks:
            try:
                self._drop(disk, {self._old.get(disk.uuid, "")})
                points.begin(self._request.disks_volume, disk.path, self._name)
                self._begun.append(disk)
            except PointRefused:
                continue

    def of(self, disk: DiskRequest) -> str:
        """The point that was begun of a disk, "" if none was."""
        return self._name if disk in self._begun else ""

    def changed_since(self, disk: DiskRequest, before: DiskBackup) -> Changes:
        """What may have changed on a disk since a backup of it; asked after the instant."""
        if not before.point:
            return Changes(None, "its changes were not recorded")
        changes = points.changed_since(self._request.disks_volume, disk.path, before.point)
        if changes.extents is None:
            return changes
        inside = [
            Extent(offset, min(length, before.size - offset))
            for offset, length in changes.extents
            if offset < before.size
        ]
        return Changes(inside)

    def finish(self) -> None:
        """The backup is there: forget the points before.

        Those of a stopped instance, whose lock is not held any more, are left to the next one.
        """
        if self._request.running:
            for disk in self._begun:
                with contextlib.suppress(OSError, GanetiGlusterError):
                    self._drop(disk, {self._name})

    def take_back(self) -> None:
        """There is no backup: forget what was begun."""
        if self._request.running:
            for disk in self._begun:
                with contextlib.suppress(OSError, GanetiGlusterError):
                    points.drop(self._request.disks_volume, disk.path, self._name)

    def _drop(self, disk: DiskRequest, kept: set[str]) -> None:
        for name in points.points(self._request.disks_volume, disk.path):
            if name.startswith(self._prefix) and name not in kept:
                points.drop(self._request.disks_volume, disk.path, name)
