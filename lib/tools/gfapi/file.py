"""An open file on a volume."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Callable
from types import TracebackType

from ganeti_gluster.tools.gfapi.connection import Connection
from ganeti_gluster.tools.gfapi.idle import wait_idle
from ganeti_gluster.tools.gfapi.prototypes import Flock
from ganeti_gluster.tools.gfapi.stat import FileStat, file_stat

#: Bytes given to libgfapi in one read or write.
CHUNK = 4 << 20
FALLOC_FL_KEEP_SIZE = 1

Buffer = bytes | bytearray | memoryview


class File:
    """A file opened by `Volume.open` or `Volume.create`; a context manager.

    What was written counts once `fsync` (or `close`, which syncs what is not
    yet synced) has returned: libgfapi takes writes that it later loses, and
    says so in fsync alone.  Leaving the context by an exception only closes,
    and keeps that exception.
    """

    def __init__(
        self, connection: Connection, fd: int, path: str, *, on_close: Callable[[File], None]
    ) -> None:
        self.path = path
        self._connection = connection
        self._fd: int | None = fd
        # What is not synced yet, and whether there ever was something.
        self._dirty = self._written = False
        self._on_close = on_close

    def __enter__(self) -> File:
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
            self.abandon()

    def close(self) -> None:
        """Sync what was written and close; a second call does nothing."""
        if self._fd is None:
            return
        if not self._connection.usable:
            self._fd = None
            return
        try:
            if self._dirty:
                self.fsync()
        except BaseException:
            self.abandon()
            raise
        fd, self._fd = self._fd, None
        self._on_close(self)
        if not self._written:
            self._connection.library.call("glfs_close", self.path, fd)
            return
        wait_idle()
        self._connection.library.call("glfs_close", self.path, fd)
        wait_idle()

    def abandon(self) -> None:
        """Close without a word about what was written; for use after an error."""
        self._dirty = False
        with contextlib.suppress(OSError):
            self.close()

    def preadinto(self, buffer: bytearray | memoryview, offset: int) -> int:
        """Fill `buffer` from `offset`; the bytes read, fewer only at the end of file."""
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view):
            size = min(CHUNK, len(view) - done)
            part = (ctypes.c_char * size).from_buffer(view[done : done + size])
            got = self._call("glfs_pread", part, size, offset + done, 0, None)
            if got == 0:
                break
            done += got
        return done

    def pread(self, size: int, offset: int) -> bytes:
        """`size` bytes at `offset`, fewer only at the end of file."""
        buffer = bytearray(size)
        return bytes(memoryview(buffer)[: self.preadinto(buffer, offset)])

    def pwrite(self, data: Buffer, offset: int) -> None:
        """Write all of `data` at `offset`; not safe before `fsync`."""
        view = memoryview(data).cast("B")
        done = 0
        self._dirty = self._written = True
        while done < len(view):
            part = view[done : done + CHUNK]
            source = bytes(part) if part.readonly else _shared(part)
            got = self._call("glfs_pwrite", source, len(part), offset + done, 0, None, None)
            if got == 0:
                raise OSError(errno.EIO, "nothing was written", self.path)
            done += got

    def truncate(self, size: int) -> None:
        """Set the file's size in bytes; a longer one reads as zeroes."""
        self._dirty = self._written = True
        self._call("glfs_ftruncate", size, None, None)

    def allocate(self, offset: int, length: int, *, keep_size: bool = False) -> None:
        """Reserve blocks for a range, which keeps its content."""
        self._dirty = self._written = True
        if offset and not keep_size and self.stat().size == 0:
            # A sharded volume never answers where the file is empty and the
            # range begins behind its first piece.
            self.truncate(offset)
        mode = FALLOC_FL_KEEP_SIZE if keep_size else 0
        self._call("glfs_fallocate", mode, offset, length)

    def discard(self, offset: int, length: int) -> None:
        """Give a range's blocks back; it reads as zeroes."""
        self._dirty = self._written = True
        self._call("glfs_discard", offset, length)

    def clone_whole(self, target: File, size: int) -> int:
        """Have the brick copy `size` bytes from the beginning to `target`'s; the bytes copied.

        Right on a volume of one brick alone, and from the beginning alone:
        `copy.reflink` has the reasons, and is the only user.
        """
        target._dirty = target._written = True
        places = (ctypes.c_int64(0), ctypes.c_int64(0))
        return self._call(
            "glfs_copy_file_range",
            ctypes.byref(places[0]),
            target._fd,
            ctypes.byref(places[1]),
            size,
            0,
            *(None, None, None),
        )

    def seek_data(self, offset: int) -> int | None:
        """Where the next data begins at or after `offset`, None if there is none.

        A sharded volume answers with the error ENOTSUP.
        """
        return self._seek(offset, os.SEEK_DATA)

    def seek_hole(self, offset: int) -> int | None:
        """Where the next hole begins at or after `offset`, None past the end."""
        return self._seek(offset, os.SEEK_HOLE)

    def _seek(self, offset: int, whence: int) -> int | None:
        try:
            return self._call("glfs_lseek", offset, whence)
        except OSError as err:
            if err.errno == errno.ENXIO:
                return None
            raise

    def fsync(self, *, settle: bool = True) -> None:
        """Have every brick store what was written; the only proof of a write.

        With `settle` libgfapi's own threads are waited for before: a file in use
        all the time is better synced without.
        """
        if settle:
            wait_idle()
        self._call("glfs_fsync", None, None)
        self._dirty = False

    def stat(self) -> FileStat:
        """Size, blocks, owner and mode as they are now."""
        raw = self._connection.library.Stat()
        self._call("glfs_fstat", ctypes.byref(raw))
        return file_stat(raw)

    def chown(self, uid: int, gid: int) -> None:
        """Give the file to a user and group."""
        self._call("glfs_fchown", uid, gid)

    def set_lock_owner(self, owner: bytes) -> None:
        """Name the holder of this file's locks; needed before `lock`."""
        self._call("glfs_fd_set_lkowner", owner, len(owner))

    def lock(
        self, kind: int, *, wait: bool = False, start: int = 0, length: int = 0, pid: int = 0
    ) -> None:
        """Take or give back a lock: `kind` is F_RDLCK, F_WRLCK or F_UNLCK of `fcntl`.

        `length` 0 is to the end of the file.  Without `wait` a lock that
        another connection holds is EAGAIN at once.  The lock ends with this
        process at the latest.  `pid` is the number that others see for the
        holder; it need not be a process's.
        """
        import fcntl

        flock = Flock(kind, os.SEEK_SET, start, length, pid)
        command = fcntl.F_SETLKW if wait else fcntl.F_SETLK
        self._call("glfs_posix_lock", command, ctypes.byref(flock))

    def conflicting_lock(self, kind: int) -> tuple[int, int] | None:
        """The kind and the `pid` of a lock that keeps `lock(kind)` out, None if none does."""
        import fcntl

        flock = Flock(kind, os.SEEK_SET, 0, 0, 0)
        self._call("glfs_posix_lock", fcntl.F_GETLK, ctypes.byref(flock))
        return None if flock.l_type == fcntl.F_UNLCK else (flock.l_type, flock.l_pid)

    def _call(self, name: str, *args: object) -> int:
        if self._fd is None:
            raise ValueError("%s is closed" % self.path)
        connection = self._connection
        connection.handle  # noqa: B018 - refuses a fork's child and a finished connection
        return connection.library.call(name, self.path, self._fd, *args)


def _shared(view: memoryview) -> ctypes.Array[ctypes.c_char]:
    return (ctypes.c_char * len(view)).from_buffer(view)
