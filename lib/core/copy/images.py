"""Images on a volume as sources and targets of a copy."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType, TracebackType

from ganeti_gluster.core import image
from ganeti_gluster.core.copy import reflink
from ganeti_gluster.core.copy.extents import NO_SEEK, file_extents, image_extents
from ganeti_gluster.core.copy.interface import PARTIAL, Extent, Source, Stream
from ganeti_gluster.core.copy.zeroes import is_zero
from ganeti_gluster.errors import CopyFailed, IncompleteImage
from ganeti_gluster.tools import names
from ganeti_gluster.tools.gfapi import File, Volume

#: How much further the size of an image is set when a stream comes to its end.
ROOM = 1 << 30
#: Bytes of a hole that are looked at in one step.
_STEP = 1 << 20
#: O_DIRECT requires offsets and lengths that are multiples of this, on disks with the largest
#: sectors.
_ALIGNMENT = 4096


class ImageSource:
    """An image; a context manager that has it open for reading."""

    def __init__(self, volume: Volume, path: str) -> None:
        self.volume = volume
        self.path = path
        self.size = 0
        self._file: File | None = None

    def __enter__(self) -> ImageSource:
        self.size = image.stat(self.volume, self.path).size
        self._file = self.volume.open(self.path)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.abandon()  # nothing was written

    @property
    def name(self) -> str:
        return describe(self.volume, self.path)

    @property
    def file(self) -> File:
        """The open file."""
        if self._file is None:
            raise ValueError("%s is not open" % self.name)
        return self._file

    def pread_into(self, buffer: memoryview, offset: int) -> int:
        return self.file.preadinto(buffer, offset)

    def extents(self) -> Iterator[Extent] | None:
        return image_extents(self.volume, self.path, self.file, self.size)


class NewImage:
    """An image that does not exist yet.

    It is written as `PATH.partial` and gets its own name, which must be free, when it is
    complete.  So an image with that name is always complete.  The writer holds a lock on it, which
    ends with the process.  If a process is killed, the next copy to the same path finds its file
    without a lock, and removes it.  It has the `attributes` before it has its name.  `made` is the
    inode of the complete image.
    """

    zeroed = True
    ordered = False

    def __init__(
        self,
        volume: Volume,
        path: str,
        *,
        preallocation: str = names.PREALLOCATION_OFF,
        attributes: Mapping[str, bytes] = MappingProxyType({}),
    ) -> None:
        self._volume = volume
        self._path = path
        self._attributes = attributes
        self._partial = path + PARTIAL
        self._preallocation = preallocation
        self._file: File | None = None
        self._inode: int | None = None
        self.made: int | None = None
        self._fixed = True
        self._reserved = 0
        self._reserving = threading.Lock()

    @property
    def name(self) -> str:
        return describe(self._volume, self._path)

    def open(self, size: int | None) -> None:
        names.image_path(self._partial)
        self._refuse_existing()
        remove_stale(self._volume, self._path)
        self._fixed = size is not None
        self._reserved = size if size is not None else ROOM
        image.create(
            self._volume,
            self._partial,
            self._reserved,
            preallocation=self._preallocation if self._fixed else names.PREALLOCATION_OFF,
        )
        self._inode = self._volume.lstat(self._partial).inode
        self._file = _open_to_write(self._volume, self._partial, size)
        if not _lock(self._file):
            self._inode = None  # the other one removes it
            raise _busy(self.name)
        for attribute, value in self._attributes.items():
            self._volume.setxattr(self._partial, attribute, value)

    def _refuse_existing(self) -> None:
        if self._volume.access(self._path):
            raise exists(self.name)

    @property
    def _open_file(self) -> File:
        if self._file is None:
            raise ValueError("%s is not open" % self.name)
        return self._file

    def clone(self, source: Source | Stream) -> bool:
        return isinstance(source, ImageSource) and reflink.clone(
            source.volume, source.file, self._volume, self._open_file, source.size
        )

    def pwrite(self, data: memoryview, offset: int) -> None:
        if not self._fixed:
            self._reserve(offset + len(data))
        self._open_file.pwrite(data, offset)

    def _reserve(self, end: int) -> None:
        # A sharded volume counts the size up itself at each write behind it,
        # and several at once would be several accounts.
        with self._reserving:
            if end > self._reserved:
                self._reserved = max(end, self._reserved + ROOM)
                self._open_file.truncate(self._reserved)

    def zero(self, offset: int, length: int) -> None:
        """Nothing: it is `zeroed`."""

    def sync(self, size: int) -> None:
        if size == 0:
            raise CopyFailed("there is nothing to copy to %s" % self.name)
        if not self._fixed:
            self._open_file.truncate(size)
        self._open_file.fsync()
        actual = self._open_file.stat().size
        if actual != size:
            raise OSError(errno.EIO, "the size is %d, not %d" % (actual, size), self.name)

    def written(self) -> Source:
        return _Open(self._open_file, self.name, self._open_file.stat().size)

    def publish(self) -> None:
        # The lock is held until the partial name is gone.  Where it was lost, another copy
        # may have the partial name by now: so that name never becomes the image's without
        # the lock, and what became so is looked at.
        self._check_lock()
        try:
            self._volume.link(self._partial, self._path)
        except FileExistsError as err:
            raise exists(self.name) from err
        try:
            if self._volume.lstat(self._path).inode != self._inode:
                raise _lost(self.name)
            self._check_lock()
            self._volume.unlink(self._partial)
            self._open_file.fsync()  # the name as well
        except BaseException as err:
            self._take_name_back(err)
            raise
        self.made, self._inode = self._inode, None
        # At once: the bricks may be told later that a file was closed (performance.flush-behind).
        with contextlib.suppress(OSError):
            self._open_file.lock(fcntl.F_UNLCK)
        self._open_file.close()

    def _take_name_back(self, cause: BaseException) -> None:
        """Unless another copy, which came to its end meanwhile, has the name by now."""
        try:
            if self._volume.lstat(self._path).inode in (self._inode, self._partial_inode()):
                self._volume.unlink(self._path)
        except FileNotFoundError:
            pass
        except OSError as err:
            raise IncompleteImage(
                "%s; and %s could not be removed (%s)" % (cause, self.name, err.strerror),
                path=self._path,
                hint="remove it when volume %s is healthy" % self._volume.name,
            ) from cause

    def _partial_inode(self) -> int | None:
        try:
            return self._volume.lstat(self._partial).inode
        except FileNotFoundError:
            return None

    def _check_lock(self) -> None:
        try:
            self._open_file.lock(fcntl.F_WRLCK)
        except OSError as err:
            raise _lost(self.name) from err

    def abort(self) -> bool:
        if self._file is not None:
            self._file.abandon()
        if self._inode is None:
            return True
        try:
            if self._volume.lstat(self._partial).inode == self._inode:
                image.remove(self._volume, self._partial)
        except FileNotFoundError:
            pass
        except OSError as err:
            raise IncompleteImage(
                "%s is incomplete and could not be removed (%s)"
                % (describe(self._volume, self._partial), err.strerror),
                path=self._partial,
                hint="copy to it again when volume %s is healthy" % self._volume.name,
            ) from err
        return True


class ExistingImage:
    """An image that is there, and is written over.

    What the source has no data for is made to read as zeroes, by writing them
    where something else is: holes and preallocated blocks stay so.  A stream may
    be shorter than the image, whose rest is zeroed then.  The image's lock is the
    caller's business.
    """

    zeroed = ordered = False

    def __init__(self, volume: Volume, path: str) -> None:
        self._volume = volume
        self._path = path
        self._file: File | None = None
        self._size = 0

    @property
    def name(self) -> str:
        return describe(self._volume, self._path)

    def open(self, size: int | None) -> None:
        self._size = image.stat(self._volume, self._path).size
        if size is not None and self._size != size:
            raise CopyFailed(
                "%s has %d bytes, but %d are to be copied to it" % (self.name, self._size, size)
            )
        self._file = _open_to_write(self._volume, self._path, size)

    @property
    def _open_file(self) -> File:
        if self._file is None:
            raise ValueError("%s is not open" % self.name)
        return self._file

    def clone(self, source: Source | Stream) -> bool:
        return False

    def pwrite(self, data: memoryview, offset: int) -> None:
        if offset + len(data) > self._size:
            raise CopyFailed("there is more data to copy than fits on %s" % self.name)
        self._open_file.pwrite(data, offset)

    def zero(self, offset: int, length: int) -> None:
        file, end = self._open_file, min(offset + length, self._size)
        place: int | None = offset
        while place is not None and place < end:
            stop = end
            try:
                place = file.seek_data(place)
                if place is not None:
                    stop = min(end, file.seek_hole(place) or end)
            except OSError as err:
                if err.errno not in NO_SEEK:
                    raise
            if place is not None and place < stop:
                write_zeroes(file.preadinto, file.pwrite, place, stop - place)
                place = stop

    def sync(self, size: int) -> None:
        if size == 0:
            raise CopyFailed("there is nothing to copy to %s" % self.name)
        self.zero(size, self._size - size)
        self._open_file.fsync()
        if self._open_file.stat().size != self._size:
            raise CopyFailed("the size of %s has changed" % self.name)

    def written(self) -> Source:
        return _Open(self._open_file, self.name, self._size)

    def publish(self) -> None:
        self._open_file.close()

    def abort(self) -> bool:
        if self._file is None:
            return True
        self._file.abandon()
        return False


class _Open:
    """An image that is open already, as a source."""

    def __init__(self, file: File, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self._file = file

    def pread_into(self, buffer: memoryview, offset: int) -> int:
        return self._file.preadinto(buffer, offset)

    def extents(self) -> Iterable[Extent] | None:
        return file_extents(self._file, self.size)


def _open_to_write(volume: Volume, path: str, size: int | None) -> File:
    """Open an image that will get `size` bytes, past the bricks' page caches where it can be.

    That takes a third off the time of a copy to three bricks and leaves the caches to
    others.  Where the size is aligned, so are all pieces; a stream may end anywhere.
    """
    return volume.open(path, write=True, direct=size is not None and size % _ALIGNMENT == 0)


def describe(volume: Volume, path: str) -> str:
    """How messages call an image."""
    return "image %s of volume %s" % (path, volume.name)


def remove_stale(volume: Volume, path: str) -> bool:
    """Remove what a killed copy to `path` left; returns whether there was anything.

    Raises `CopyFailed` if the copy is still running.
    """
    partial = path + PARTIAL
    try:
        file = volume.open(partial, write=True)
    except FileNotFoundError:
        return False
    try:
        if not _lock(file):
            raise _busy(describe(volume, path))
        # Else somebody removed it between, and perhaps made another.
        if volume.lstat(partial).inode == file.stat().inode:
            image.remove(volume, partial)
            return True
    except FileNotFoundError:
        pass
    finally:
        file.abandon()
    return False


def _lock(file: File) -> bool:
    """Hold the write lock of a file as long as it is open; False if another has it."""
    file.set_lock_owner(b"%d" % os.getpid() + os.urandom(8))
    try:
        file.lock(fcntl.F_WRLCK)
    except OSError as err:
        if err.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def exists(name: str) -> CopyFailed:
    """The error for a name that is not free."""
    return CopyFailed("%s already exists" % name, hint="remove it or choose another name")


def _lost(name: str) -> CopyFailed:
    return CopyFailed(
        "the lock on the new %s was lost before the copy was complete" % name,
        hint="try again when all bricks of its volume answer",
    )


def _busy(name: str) -> CopyFailed:
    return CopyFailed("another copy to %s is running" % name, hint="wait until it has finished")


def write_zeroes(
    read: Callable[[memoryview, int], int],
    write: Callable[[memoryview, int], None],
    offset: int,
    length: int,
) -> None:
    """Make a range read as zeroes, by writing where it does not."""
    buffer = memoryview(bytearray(min(_STEP, length)))
    zeroes = memoryview(bytes(len(buffer)))
    end = offset + length
    while offset < end:
        part = buffer[: min(len(buffer), end - offset)]
        got = read(part, offset)
        if got < len(part) or not is_zero(part):
            write(zeroes[: len(part)], offset)
        offset += len(part)
