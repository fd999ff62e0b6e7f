"""A store that is a directory of another host, by SFTP."""

from __future__ import annotations

import contextlib
import uuid
from types import TracebackType

from ganeti_gluster.core.backup.codec import Data
from ganeti_gluster.core.backup.store import DIRECTORY_MODE, ListedStore, StoredFile
from ganeti_gluster.tools import names, private
from ganeti_gluster.tools.sftp import Sftp


class SftpStore(ListedStore):
    """The files below a directory of the host, which has to be there."""

    def __init__(self, name: str, connection: Sftp, directory: str) -> None:
        self.name = name
        self._sftp = connection
        self._directory = directory

    def __enter__(self) -> SftpStore:
        self._sftp.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._sftp.__exit__(kind, value, traceback)

    def put(self, path: str, data: Data) -> None:
        place = self._place(path)
        directory = place.rpartition("/")[0]
        self._make(directory)
        new = "%s/%s%s" % (directory, private.NEW_PREFIX, uuid.uuid4().hex)
        try:
            self._sftp.write(new, data)
            self._sftp.rename(new, place)
            self._sftp.sync(place)
        except OSError:
            with contextlib.suppress(OSError):
                self._sftp.remove(new)
            raise

    def get(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        return self._sftp.read(self._place(path), offset, length)

    def delete(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._sftp.remove(self._place(path))

    def _all(self, directory: str) -> list[StoredFile]:
        try:
            return [StoredFile(*each) for each in self._sftp.scandir(self._place(directory))]
        except FileNotFoundError:
            return []

    def _make(self, directory: str) -> None:
        """Make a directory below ours; not ours, in whose place nothing may be mounted."""
        if directory == self._directory or self._is_there(directory):
            return
        self._make(directory.rpartition("/")[0])
        try:
            self._sftp.mkdir(directory, DIRECTORY_MODE)
        except OSError:
            # Another may have made it meanwhile, which the protocol does not tell.
            if not self._is_there(directory):
                raise

    def _is_there(self, directory: str) -> bool:
        try:
            return self._sftp.stat(directory).is_directory
        except FileNotFoundError:
            return False

    def _place(self, path: str) -> str:
        return "%s/%s" % (self._directory, names.image_path(path))
