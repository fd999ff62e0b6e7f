"""The package's directories, files and locks: only created here, and only for root.

Anybody who can open a file can also lock it, and keep others waiting for that lock.
If something exists already, from a previous release or with a changed mode, it is corrected
whenever it is used.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import stat
import struct
import time
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, TextIO

from ganeti_gluster import constants
from ganeti_gluster.errors import GanetiGlusterError

if TYPE_CHECKING:  # not imported by every process of Ganeti
    import tempfile

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
PASSED_MODE = 0o711

#: The beginning of the names of files that are being written; Prometheus's exporter, which takes
#: *.prom, does not read them.
NEW_PREFIX = ".ganeti-gluster-"

#: Seconds between two tries to get a lock for which one does not wait as long as it takes.
_POLL = 0.1
#: `struct flock` of 64-bit Linux: kind, whence, start, length, process.
_FLOCK = struct.Struct("hhqqi4x")


class NotPrivate(GanetiGlusterError):
    """Something that is not ours is in the place of a file or directory of ours."""

    def __init__(self, path: str, what: str, *, hint: str = "") -> None:
        super().__init__("%s: %s" % (path, what), hint=hint)
        self.path = path


def roots() -> dict[str, int]:
    """Our own directories, each with its mode; all that is below them is root's alone.

    But for the sockets of images' servers: one belongs to the user as whom QEMU runs, who
    connects there again.  So anybody may pass the directory of these, and not list it.
    """
    return {
        constants.RUN_DIR: DIRECTORY_MODE,
        constants.STATE_DIR: DIRECTORY_MODE,
        constants.IMAGE_SOCKET_DIR: PASSED_MODE,
    }


def directory(path: str) -> str:
    """Make a directory of ours, with what is missing above it; returns its path.

    It, and each one above it that is ours, has its owner and its mode afterwards.
    Raises `NotPrivate`, or OSError.
    """
    parent = os.path.dirname(path)
    if _is_ours(parent) or not os.path.isdir(parent):
        directory(parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, DIRECTORY_MODE)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except NotADirectoryError as err:
        raise NotPrivate(
            path, "it is not a directory", hint="mount a file system there instead of a link"
        ) from err
    try:
        _repair(descriptor, roots().get(path, DIRECTORY_MODE))
    finally:
        os.close(descriptor)
    return path


def open_file(path: str, flags: int) -> int:
    """The descriptor of a file of ours, opened with `flags`; with O_CREAT it is made.

    Links are not followed.  Raises `NotPrivate`, or OSError.
    """
    if flags & os.O_CREAT:
        _make_place(path)
    # Opening a pipe would block.
    always = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | always, FILE_MODE)
    except OSError as err:
        if os.path.islink(path):
            raise NotPrivate(path, "it is a symbolic link, which is not followed") from err
        raise
    try:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode) or info.st_nlink > 1:
            raise NotPrivate(path, "it is not a regular file with a single link")
        _repair(descriptor, FILE_MODE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_lock(path: str) -> int:
    """The descriptor of a file that is there to be locked, made if there is none.

    One that others could open may be locked by one of them: it gives way to a new one.
    """
    with contextlib.suppress(FileNotFoundError):
        info = os.lstat(path)
        if info.st_uid != os.geteuid() or stat.S_IMODE(info.st_mode) & 0o077:
            os.unlink(path)
    return open_file(path, os.O_RDWR | os.O_CREAT)


@contextlib.contextmanager
def locked(
    path: str,
    *,
    seconds: float = math.inf,
    byte: int | None = None,
    refusal: Exception | None = None,
) -> Iterator[int]:
    """Keep all others, threads of this process too, from a lock in the block.

    Waits for `seconds`, and raises `refusal` then, or BlockingIOError.  Of a file that is
    many locks each is a `byte`, for which one waits as long as it takes.  Gives the file's
    descriptor.
    """
    descriptor = open_lock(path)
    try:
        if byte is not None:
            # Not by lockf, whose locks threads share, and lose when any of them closes the file.
            wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLKW, wanted)
        elif seconds == math.inf:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        else:
            deadline = time.monotonic() + seconds
            while not take(descriptor):
                if time.monotonic() >= deadline:
                    raise refusal or BlockingIOError(
                        errno.EAGAIN, "it is locked by another process", path
                    )
                time.sleep(_POLL)
        yield descriptor
    finally:
        os.close(descriptor)


def take(descriptor: int) -> bool:
    """Lock an open file until it is closed; False if somebody else has it locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def append(path: str) -> TextIO:
    """A log of ours, to be written on; its directory may be somebody else's."""
    return os.fdopen(
        open_file(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "a", encoding="utf-8"
    )


def touch(path: str) -> None:
    """Leave an empty file as a mark."""
    os.close(open_file(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))


def write(
    path: str,
    content: str | bytes | bytearray | memoryview,
    *,
    mode: int = FILE_MODE,
    durable: bool = False,
) -> None:
    """Replace a file by one with `content`: a reader sees the old one or the new one.

    `mode` is for a file in somebody else's directory.  With `durable` it is on the disk
    afterwards.
    """
    import tempfile  # not by every process of Ganeti

    _make_place(path)
    parent = os.path.dirname(path)
    descriptor, name = tempfile.mkstemp(dir=parent, prefix=NEW_PREFIX)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(content.encode() if isinstance(content, str) else content)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    if durable:
        sync_directory(parent)


def write_json(path: str, data: object, *, durable: bool = False) -> None:
    """Replace a file by one with `data`; see `write`."""
    write(path, json.dumps(data), durable=durable)


def nameless(parent: str) -> IO[bytes]:
    """An unnamed file in one of the package's directories, which disappears when it is closed."""
    import tempfile

    return tempfile.TemporaryFile(dir=directory(parent), buffering=0)


def scratch(parent: str, prefix: str) -> tempfile.TemporaryDirectory[str]:
    """A directory in one of ours, for the time of a block."""
    import tempfile

    return tempfile.TemporaryDirectory(prefix=prefix, dir=directory(parent))


def link(target: str, path: str) -> None:
    """Make a link, in the place of one that is there: a reader sees the old or the new one."""
    _make_place(path)
    new = "%s.%d" % (path, os.getpid())
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    os.symlink(target, new)
    os.replace(new, path)


def move(path: str, target: str) -> None:
    """Put a file in the place of another one: a reader sees the old or the new one."""
    os.replace(path, target)


def sync_directory(path: str) -> None:
    """Have the names in a directory on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_place(path: str) -> None:
    """The directory of a file, unless it is somebody else's."""
    parent = os.path.dirname(path)
    if _is_ours(parent) or not os.path.isdir(parent):
        directory(parent)


def _is_ours(path: str) -> bool:
    return any(path == root or path.startswith(root + "/") for root in roots())


def _repair(descriptor: int, mode: int) -> None:
    info = os.fstat(descriptor)
    if info.st_uid != os.geteuid():
        os.fchown(descriptor, os.geteuid(), os.getegid())
    if stat.S_IMODE(info.st_mode) != mode:
        os.fchmod(descriptor, mode)
