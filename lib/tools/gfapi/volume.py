"""A volume as a file system: names, attributes, directories, open files."""

from __future__ import annotations

import ctypes
import errno
import os
import time
from types import TracebackType
from typing import NamedTuple

from ganeti_gluster.tools.gfapi.connection import (
    CONNECT_TIMEOUT,
    Connection,
    ConnectionSpec,
    pooled,
)
from ganeti_gluster.tools.gfapi.file import File
from ganeti_gluster.tools.gfapi.library import raise_errno
from ganeti_gluster.tools.gfapi.stat import FileStat, Space, file_stat, space

#: Seconds that a new connection has to keep its graph's text.
VOLFILE_SECONDS = 5.0
_XATTR_ROOM = 4096


class DirectoryEntry(NamedTuple):
    """A name in a directory and its stat.

    Bytes of the name that are not UTF-8 are escaped as `os.fsdecode` does;
    `readable` says that there are none.
    """

    name: str
    stat: FileStat

    @property
    def readable(self) -> bool:
        return self.name.isascii() or not any("\udc80" <= c <= "\udcff" for c in self.name)


class Volume:
    """A use of a volume's connection; a context manager that closes its files.

    Paths are text, relative to the volume's root.  Every failure of the volume
    is an `OSError` with errno and path.  Leaving the context closes the files
    that are still open and keeps the connection for the next use in this
    process; only `fini` ends that.
    """

    def __init__(self, connection: Connection) -> None:
        self.name = connection.target.volume
        self._connection = connection
        self._files: set[File] = set()

    def __enter__(self) -> Volume:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            for file in list(self._files):
                file.abandon()

    @property
    def target(self) -> ConnectionSpec:
        """What this is a connection to."""
        return self._connection.target

    def shares_connection(self, other: Volume) -> bool:
        """Whether calls of both are those of one client."""
        return self._connection is other._connection

    def close(self) -> None:
        """Sync and close all files; raises the first error after closing the rest."""
        first: OSError | None = None
        for file in list(self._files):
            try:
                file.close()
            except OSError as err:
                first = first or err
        if first is not None:
            raise first

    def fini(self) -> None:
        """Close all files and end the connection for every user; takes about 10 s."""
        try:
            self.close()
        finally:
            self._connection.fini()

    # files

    def create(self, path: str, *, mode: int = 0o600) -> File:
        """Make a file and open it for reading and writing; EEXIST if there is one."""
        return self._file("glfs_creat", path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

    def open(self, path: str, *, write: bool = False, direct: bool = False) -> File:
        """Open an existing file; libgfapi always follows symbolic links.

        `direct` is O_DIRECT: on a volume with `performance.strict-o-direct` the
        client keeps no copy of what is read or written.
        """
        flags = os.O_RDWR if write else os.O_RDONLY
        return self._file("glfs_open", path, flags | os.O_DIRECT if direct else flags)

    def _file(self, function: str, path: str, *args: int) -> File:
        fd = self._call(function, path, *args)
        file = File(self._connection, fd, path, on_close=self._files.discard)
        self._files.add(file)
        return file

    # names

    def stat(self, path: str) -> FileStat:
        """The stat of what `path` leads to."""
        return self._stat("glfs_stat", path)

    def lstat(self, path: str) -> FileStat:
        """The stat of `path` itself, even if it is a symbolic link."""
        return self._stat("glfs_lstat", path)

    def _stat(self, function: str, path: str) -> FileStat:
        raw = self._connection.library.Stat()
        self._call(function, path, ctypes.byref(raw))
        return file_stat(raw)

    def access(self, path: str, mode: int = os.F_OK) -> bool:
        """Whether `path` exists and grants `mode`; other errors are raised."""
        try:
            self._call("glfs_access", path, mode)
        except OSError as err:
            if err.errno in (errno.ENOENT, errno.EACCES):
                return False
            raise
        return True

    def truncate(self, path: str, size: int) -> None:
        """Set a file's size in bytes; a longer one reads as zeroes."""
        self._call("glfs_truncate", path, size)

    def unlink(self, path: str) -> None:
        """Remove a file's name."""
        self._call("glfs_unlink", path)

    def rename(self, old: str, new: str) -> None:
        """Rename, replacing what `new` names."""
        self._call("glfs_rename", old, encode(new))

    def link(self, old: str, new: str) -> None:
        """Give a file a second name; EEXIST if `new` names something."""
        self._call("glfs_link", old, encode(new))

    def mkdir(self, path: str, *, mode: int = 0o755) -> None:
        """Make a directory."""
        self._call("glfs_mkdir", path, mode)

    def rmdir(self, path: str) -> None:
        """Remove an empty directory."""
        self._call("glfs_rmdir", path)

    def chown(self, path: str, uid: int, gid: int) -> None:
        """Set user and group."""
        self._call("glfs_chown", path, uid, gid)

    def scandir(self, path: str) -> list[DirectoryEntry]:
        """Everything in a directory with its stat, without `.` and `..`."""
        library = self._connection.library
        fd = self._call("glfs_opendir", path)
        try:
            raw, dirent = library.Stat(), library.Dirent()
            end = ctypes.c_void_p()
            # One call a name: whatever does not change is outside of the loop.
            args = (fd, ctypes.byref(raw), ctypes.byref(dirent), ctypes.byref(end))
            read = library.functions["glfs_readdirplus_r"]
            entries: list[DirectoryEntry] = []
            ctypes.set_errno(0)
            while True:
                if read(*args):
                    raise_errno(ctypes.get_errno(), path)
                if end.value is None:
                    return entries
                name: bytes = dirent.d_name
                if name != b"." and name != b"..":
                    text = name.decode("utf-8", "surrogateescape")
                    # A replica set that is not sure of a file gives its name alone.
                    stat = file_stat(raw) if raw.st_mode else self._lstat_if_any(path, text)
                    if stat is not None:
                        entries.append(DirectoryEntry(text, stat))
        finally:
            library.functions["glfs_closedir"](fd)

    def _lstat_if_any(self, directory: str, name: str) -> FileStat | None:
        try:
            return self.lstat("%s/%s" % (directory, name))
        except FileNotFoundError:
            return None

    def gfid(self, path: str) -> bytes:
        """The 16 bytes by which the volume knows a file, whatever it is called."""
        library, handle = self._connection.library, self._connection.handle
        entry = library.call("glfs_h_lookupat", path, handle, None, encode(path), None, 0)
        buffer = ctypes.create_string_buffer(16)
        try:
            library.call("glfs_h_extract_handle", path, entry, buffer, 16)
        finally:
            library.functions["glfs_h_close"](entry)
        return buffer.raw

    # extended attributes

    def getxattr(self, path: str, name: str) -> bytes:
        """An attribute's whole value; ENODATA if there is none."""
        return self._sized("glfs_getxattr", path, name.encode())

    def setxattr(self, path: str, name: str, value: bytes, flags: int = 0) -> None:
        """Set an attribute; `flags` is XATTR_CREATE or XATTR_REPLACE."""
        self._call("glfs_setxattr", path, name.encode(), value, len(value), flags)

    def _sized(self, function: str, path: str, *args: bytes) -> bytes:
        size = _XATTR_ROOM
        while True:
            buffer = ctypes.create_string_buffer(size)
            try:
                got = self._call(function, path, *args, buffer, size)
                return buffer.raw[:got]
            except OSError as err:
                if err.errno != errno.ERANGE:
                    raise
            size = self._call(function, path, *args, None, 0)  # it has grown meanwhile

    # the volume

    def space(self) -> Space:
        """The volume's total and free bytes."""
        raw = self._connection.library.Statvfs()
        self._call("glfs_statvfs", "/", ctypes.byref(raw))
        return space(raw)

    def volfile(self) -> str:
        """The client's volume graph as text; it holds the volume's password.

        libgfapi lets a new connection be used a moment before it has kept that text.
        Raises ENODATA if it does not come.
        """
        # Asked for more bytes than there are, libgfapi copies what lies behind
        # them in memory, so the size has to be exact: it is asked for first.
        read = self._connection.library.functions["glfs_get_volfile"]
        handle, size = self._connection.handle, 0
        end = time.monotonic() + VOLFILE_SECONDS
        while True:
            buffer = ctypes.create_string_buffer(size)
            answer: int = read(handle, buffer, size)
            if answer > 0:
                return buffer.raw[:answer].decode("utf-8", "surrogateescape")
            size -= answer  # a negative answer is what the buffer lacks
            if answer == 0:
                if time.monotonic() > end:
                    raise OSError(
                        errno.ENODATA, "libgfapi does not return the graph of the volume"
                    )
                time.sleep(0.01)

    def _call(self, function: str, path: str, *args: object) -> int:
        connection = self._connection
        return connection.library.call(function, path, connection.handle, encode(path), *args)


def encode(path: str) -> bytes:
    """A path for libgfapi; refuses a NUL, at which C would cut it off."""
    if "\0" in path:
        raise ValueError("embedded null character in path")
    return path.encode("utf-8", "surrogateescape")


def connect(target: ConnectionSpec, *, timeout: float = CONNECT_TIMEOUT) -> Volume:
    """A volume of this process's pool; connects where the pool has none.

    Raises a `ConnectError` after at most `timeout` seconds, or `LibraryMissing`.
    The way to the bricks is encrypted where the volume's own graph says so, and that to
    glusterd where /var/lib/glusterd/secure-access is.
    """
    return Volume(pooled(target, timeout=timeout))
