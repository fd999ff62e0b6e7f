"""Local files and block devices as sources and targets of a copy."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from types import TracebackType

from ganeti_gluster.core.copy.images import exists, write_zeroes
from ganeti_gluster.core.copy.interface import PARTIAL, Extent, Source, Stream
from ganeti_gluster.errors import CopyFailed, IncompleteImage
from ganeti_gluster.tools import private

FALLOC_FL_KEEP_SIZE = 1
FALLOC_FL_PUNCH_HOLE = 2
FALLOC_FL_ZERO_RANGE = 16


class FileSource:
    """A regular file or block device; a context manager that has it open."""

    def __init__(self, path: str) -> None:
        self.name = path
        self.size = 0
        self._fd = -1

    def __enter__(self) -> FileSource:
        fd = os.open(self.name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.size = _size(fd, self.name)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def pread_into(self, buffer: memoryview, offset: int) -> int:
        return _pread_into(self._fd, buffer, offset)

    def extents(self) -> Iterator[Extent] | None:
        return _extents(self._fd)


class NewFile:
    """A regular file that does not exist yet, mode 0600.

    Written as `PATH.partial` and named when it is whole, as `images.NewImage` is.
    """

    zeroed = True
    ordered = False

    def __init__(self, path: str) -> None:
        self.name = path
        self._partial = path + PARTIAL
        self._fd = -1
        self._made = False
        self._fixed = True

    def open(self, size: int | None) -> None:
        if os.path.lexists(self.name):
            raise exists(self.name)
        self._remove_stale()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._fd = os.open(self._partial, flags, 0o600)
        self._made = True
        if not private.take(self._fd):
            self._made = False
            raise _busy(self.name)
        self._fixed = size is not None
        if size is not None:
            os.ftruncate(self._fd, size)

    def _remove_stale(self) -> None:
        try:
            fd = os.open(self._partial, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            if not private.take(fd):
                raise _busy(self.name)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(fd), os.lstat(self._partial)):
                    os.unlink(self._partial)
        finally:
            os.close(fd)

    def clone(self, source: Source | Stream) -> bool:
        return False

    def pwrite(self, data: memoryview, offset: int) -> None:
        _pwrite(self._fd, data, offset)

    def zero(self, offset: int, length: int) -> None:
        """Nothing: it is `zeroed`."""

    def sync(self, size: int) -> None:
        if not self._fixed:  # zeroes at its end were not written
            os.ftruncate(self._fd, size)
        os.fsync(self._fd)

    def written(self) -> Source:
        return _OpenFile(self._fd, self.name)

    def publish(self) -> None:
        # Not by rename, which would replace what got the name meanwhile.
        os.link(self._partial, self.name, follow_symlinks=False)
        os.unlink(self._partial)
        self._made = False
        private.sync_directory(os.path.dirname(self.name) or ".")
        os.close(self._fd)
        self._fd = -1

    def abort(self) -> bool:
        if self._made:
            try:
                os.unlink(self._partial)
            except OSError as err:
                raise IncompleteImage(
                    "%s is incomplete and could not be removed (%s)"
                    % (self._partial, err.strerror),
                    path=self._partial,
                ) from err
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        return True


class ExistingFile:
    """A block device, or a file that is there: at least as large as the source.

    What is behind the source's end stays.  A block device is opened exclusively:
    one that is mounted, or in use by the kernel otherwise, is refused.
    """

    zeroed = ordered = False

    def __init__(self, path: str) -> None:
        self.name = path
        self._fd = -1
        self._size = self._room = 0

    def open(self, size: int | None) -> None:
        exclusive = os.O_EXCL if is_block_device(self.name) else 0
        try:
            self._fd = os.open(self.name, os.O_RDWR | os.O_CLOEXEC | exclusive)
        except OSError as err:
            if err.errno == errno.EBUSY:
                raise CopyFailed("%s is in use" % self.name) from err
            raise
        self._room = _size(self._fd, self.name)
        if size is not None and size > self._room:
            raise CopyFailed(
                "%s has %d bytes, but %d are to be copied to it" % (self.name, self._room, size)
            )

    def clone(self, source: Source | Stream) -> bool:
        return False

    def pwrite(self, data: memoryview, offset: int) -> None:
        if offset + len(data) > self._room:
            raise CopyFailed("there is more data to copy than fits on %s" % self.name)
        _pwrite(self._fd, data, offset)

    def zero(self, offset: int, length: int) -> None:
        for mode in (FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE):
            if _fallocate(self._fd, mode | FALLOC_FL_KEEP_SIZE, offset, length):
                return
        write_zeroes(
            lambda buffer, place: _pread_into(self._fd, buffer, place),
            self.pwrite,
            offset,
            length,
        )

    def sync(self, size: int) -> None:
        if size == 0:
            raise CopyFailed("there is nothing to copy to %s" % self.name)
        self._size = size
        os.fsync(self._fd)

    def written(self) -> Source:
        return _OpenFile(self._fd, self.name, self._size)

    def publish(self) -> None:
        fd, self._fd = self._fd, -1
        os.close(fd)

    def abort(self) -> bool:
        if self._fd < 0:
            return True
        os.close(self._fd)
        self._fd = -1
        return False


class _OpenFile:
    """An open file as a source, from its disk where the kernel lets go of its cache."""

    def __init__(self, fd: int, name: str, size: int | None = None) -> None:
        self.name = name
        self.size = _size(fd, name) if size is None else size
        self._fd = fd
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def pread_into(self, buffer: memoryview, offset: int) -> int:
        return _pread_into(self._fd, buffer, offset)

    def extents(self) -> Iterator[Extent] | None:
        return _extents(self._fd)


def is_block_device(path: str) -> bool:
    """Whether there is a block device of this name."""
    try:
        return stat.S_ISBLK(os.stat(path).st_mode)
    except FileNotFoundError:
        return False


def _size(fd: int, name: str) -> int:
    info = os.fstat(fd)
    if stat.S_ISREG(info.st_mode):
        return info.st_size
    if stat.S_ISBLK(info.st_mode):
        return os.lseek(fd, 0, os.SEEK_END)
    raise CopyFailed("%s is neither a file nor a block device" % name)


def _extents(fd: int) -> Iterator[Extent] | None:
    """The data of a file; None if that is unknown, as for a block device."""
    try:
        first: int | None = os.lseek(fd, 0, os.SEEK_DATA)
    except OSError as err:
        if err.errno != errno.ENXIO:
            return None
        if stat.S_ISBLK(os.fstat(fd).st_mode):
            return None
        first = None
    return _iterate_extents(fd, first)


def _iterate_extents(fd: int, start: int | None) -> Iterator[Extent]:
    while start is not None:
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield Extent(start, end - start)
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as err:
            if err.errno != errno.ENXIO:
                raise
            start = None


def _pread_into(fd: int, buffer: memoryview, offset: int) -> int:
    done = 0
    while done < len(buffer):
        got = os.preadv(fd, [buffer[done:]], offset + done)
        if got == 0:
            break
        done += got
    return done


def _pwrite(fd: int, data: memoryview, offset: int) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done:], offset + done)


_libc_fallocate = ctypes.CDLL(None, use_errno=True).fallocate
_libc_fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def _fallocate(fd: int, mode: int, offset: int, length: int) -> bool:
    """Linux's fallocate, which Python lacks; False if this cannot be done."""
    if _libc_fallocate(fd, mode, offset, length) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENODEV, errno.ENOSYS):
        return False
    raise OSError(code, os.strerror(code))


def _busy(name: str) -> CopyFailed:
    return CopyFailed("another copy to %s is running" % name, hint="wait until it has finished")
