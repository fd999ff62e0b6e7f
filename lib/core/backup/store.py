"""Where the files of a repository are: what each kind of store can do.

Paths are relative, of `names.image_path`'s form, and made by this package: nothing that is read
from a repository becomes a path before it is checked.
"""

from __future__ import annotations

from types import TracebackType
from typing import NamedTuple, Protocol

from ganeti_gluster.core.backup.codec import Data
from ganeti_gluster.tools import private

DIRECTORY_MODE = 0o700


class StoredFile(NamedTuple):
    """A file in a directory of the store: its name there, and its bytes."""

    name: str
    size: int


class BackupStore(Protocol):
    """Files by their paths; a context manager that ends the connection, if there is one.

    Each call may come from several threads at once.  What fails is an `OSError`, or a
    `GanetiGlusterError` that says more.
    """

    @property
    def name(self) -> str:
        """How messages call it, and how commands do."""

    def put(self, path: str, data: Data) -> None:
        """Have a file with this content, and no other, even if power fails right after.

        Until then there is none, or the previous one.  Directories are made where missing.
        """

    def get(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """A part of a file, all to its end if `length` is None; fewer bytes only at the end.

        Raises FileNotFoundError.
        """

    def entries(self, directory: str) -> list[StoredFile]:
        """The files and directories in a directory, in any order; none if it is missing.

        What is being written is not among them.
        """

    def delete(self, path: str) -> None:
        """Remove a file, if there is one."""

    def clear(self, directory: str) -> list[str]:
        """Remove what writers in this directory left that were killed; returns the names."""

    def __enter__(self) -> BackupStore: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class ListedStore:
    """What is the same for all stores that write a file under another name first."""

    def delete(self, path: str) -> None:
        """See `BackupStore`."""
        raise NotImplementedError

    def _all(self, directory: str) -> list[StoredFile]:
        """All that is in a directory, also what is being written; none if it is missing."""
        raise NotImplementedError

    def entries(self, directory: str) -> list[StoredFile]:
        """See `BackupStore`."""
        return [each for each in self._all(directory) if not _is_left(each.name)]

    def clear(self, directory: str) -> list[str]:
        """See `BackupStore`."""
        left = [each.name for each in self._all(directory) if _is_left(each.name)]
        for name in left:
            self.delete("%s/%s" % (directory, name))
        return left


def _is_left(name: str) -> bool:
    return name.startswith(private.NEW_PREFIX)
