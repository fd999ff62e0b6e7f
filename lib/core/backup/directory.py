"""A store that is a directory: on this node's disks, or mounted there."""

from __future__ import annotations

import contextlib
import os
from types import TracebackType

from ganeti_gluster.core.backup.codec import Data
from ganeti_gluster.core.backup.store import DIRECTORY_MODE, ListedStore, StoredFile
from ganeti_gluster.tools import names, private


class DirectoryStore(ListedStore):
    """The files below a directory, which belongs to the administrator and has to be there."""

    def __init__(self, path: str) -> None:
        self.name = names.directory(path)

    def __enter__(self) -> DirectoryStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing is open."""

    def put(self, path: str, data: Data) -> None:
        place = self._place(path)
        self._make(os.path.dirname(place))
        private.write(place, data, durable=True)

    def get(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        with open(self._place(path), "rb", buffering=0) as stream:
            stream.seek(offset)
            left = os.fstat(stream.fileno()).st_size - offset
            if length is not None:
                left = min(left, length)
            parts = []
            while left > 0 and (part := stream.read(left)):
                parts.append(part)
                left -= len(part)
        return b"".join(parts)

    def delete(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._place(path))

    def _all(self, directory: str) -> list[StoredFile]:
        entries = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self._place(directory)) as found:
            for each in found:
                with contextlib.suppress(FileNotFoundError):
                    entries.append(StoredFile(each.name, each.stat(follow_symlinks=False).st_size))
        return entries

    def _make(self, directory: str) -> None:
        """Make a directory below ours; not ours, in whose place nothing may be mounted."""
        if directory == self.name or os.path.isdir(directory):
            return
        parent = os.path.dirname(directory)
        self._make(parent)
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory, DIRECTORY_MODE)
        private.sync_directory(parent)

    def _place(self, path: str) -> str:
        return os.path.join(self.name, names.image_path(path))
