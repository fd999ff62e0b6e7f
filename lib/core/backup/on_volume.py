"""A store that is a directory of a Gluster volume, beside those of the images."""

from __future__ import annotations

import contextlib
import uuid
from types import TracebackType
from typing import TYPE_CHECKING

from ganeti_gluster import constants
from ganeti_gluster.core import image
from ganeti_gluster.core.backup.codec import Data
from ganeti_gluster.core.backup.store import DIRECTORY_MODE, ListedStore, StoredFile
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.tools import names, private

if TYPE_CHECKING:
    from ganeti_gluster.tools.gfapi import Volume

_FILE_MODE = 0o600


class VolumeStore(ListedStore):
    """The files in `constants.BACKUP_DIRECTORY` of a volume, through libgfapi."""

    def __init__(self, name: str, spec: VolumeSpec) -> None:
        self.name = name
        self._spec = spec
        self._stack = contextlib.ExitStack()
        self._connected: Volume | None = None

    def __enter__(self) -> VolumeStore:
        self._connected = self._stack.enter_context(connect(self._spec))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connected = None
        self._stack.__exit__(kind, value, traceback)

    @property
    def _volume(self) -> Volume:
        if self._connected is None:
            raise ValueError("%s is not connected" % self.name)
        return self._connected

    def put(self, path: str, data: Data) -> None:
        place = _place(path)
        directory = place.rpartition("/")[0]
        self._make(directory)
        new = "%s/%s%s" % (directory, private.NEW_PREFIX, uuid.uuid4().hex)
        try:
            with self._volume.create(new, mode=_FILE_MODE) as file:
                file.pwrite(data, 0)
                file.fsync()
            self._replace(new, place, directory)
        except BaseException:
            with contextlib.suppress(OSError):
                image.remove(self._volume, new)
            raise
        image.settle(self._volume, place)

    def _replace(self, new: str, place: str, directory: str) -> None:
        """Rename, without losing track of the shards of what was there."""
        old = "%s/%s%s" % (directory, private.NEW_PREFIX, uuid.uuid4().hex)
        try:
            self._volume.link(place, old)
        except FileNotFoundError:
            self._volume.rename(new, place)
            return
        self._volume.rename(new, place)
        image.remove(self._volume, old, last_name=True)

    def get(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        with self._volume.open(_place(path)) as file:
            if length is None:
                length = max(0, file.stat().size - offset)
            return file.pread(length, offset)

    def delete(self, path: str) -> None:
        image.remove(self._volume, _place(path))

    def _all(self, directory: str) -> list[StoredFile]:
        try:
            found = self._volume.scandir(_place(directory))
        except FileNotFoundError:
            return []
        return [StoredFile(each.name, each.stat.size) for each in found if each.readable]

    def _make(self, directory: str) -> None:
        if self._volume.access(directory):
            return
        parent = directory.rpartition("/")[0]
        if parent:
            self._make(parent)
        with contextlib.suppress(FileExistsError):
            self._volume.mkdir(directory, mode=DIRECTORY_MODE)


def _place(path: str) -> str:
    return names.image_path("%s/%s" % (constants.BACKUP_DIRECTORY, path))
