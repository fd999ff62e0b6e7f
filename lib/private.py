"""Directories and files of ours: made in this one place, and root's alone.

Whoever can open a file can lock it as well, and whoever waits for that lock waits for
them.  What exists already, from a former release or with a mode that somebody has given
it, is mended whenever it is used.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TextIO

from ganeti_gluster import constants
from ganeti_gluster.errors import GanetiGlusterError

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
PASSED_MODE = 0o711


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
        _mend(descriptor, roots().get(path, DIRECTORY_MODE))
    finally:
        os.close(descriptor)
    return path


def open_file(path: str, flags: int) -> int:
    """The descriptor of a file of ours, opened with `flags`; with O_CREAT it is made.

    Links are not followed.  Raises `NotPrivate`, or OSError.
    """
    if flags & os.O_CREAT:
        _make_place(path)
    # A pipe would hold up whoever opens it.
    always = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | always, FILE_MODE)
    except OSError as err:
        if os.path.islink(path):
            raise NotPrivate(path, "it is a link, which is not followed") from err
        raise
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise NotPrivate(path, "it is not a file of its own")
        _mend(descriptor, FILE_MODE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_lock(path: str) -> int:
    """The descriptor of a file that is there to be locked, made if there is none.

    One that others could open may be locked by one of them: it gives way to a new one.
    """
    with contextlib.suppress(FileNotFoundError):
        found = os.lstat(path)
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            os.unlink(path)
    return open_file(path, os.O_RDWR | os.O_CREAT)


def append(path: str) -> TextIO:
    """A log of ours, to be written on; its directory may be somebody else's."""
    return os.fdopen(
        open_file(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "a", encoding="utf-8"
    )


def touch(path: str) -> None:
    """Leave an empty file as a mark."""
    os.close(open_file(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))


def write(path: str, text: str, *, mode: int = FILE_MODE, durable: bool = False) -> None:
    """Replace a file by one with `text`: a reader sees the old one or the new one.

    `mode` is for a file in somebody else's directory.  With `durable` it is on the disk
    afterwards.
    """
    import tempfile  # not by every process of Ganeti

    _make_place(path)
    parent = os.path.dirname(path)
    # A name that Prometheus's exporter does not read: it takes *.prom.
    descriptor, name = tempfile.mkstemp(dir=parent, prefix=".ganeti-gluster-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(text)
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    if durable:
        _sync_directory(parent)


def link(target: str, path: str) -> None:
    """Make a link, in the place of one that is there: a reader sees the old or the new one."""
    _make_place(path)
    new = "%s.%d" % (path, os.getpid())
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    os.symlink(target, new)
    os.replace(new, path)


def _make_place(path: str) -> None:
    """The directory of a file, unless it is somebody else's."""
    parent = os.path.dirname(path)
    if _is_ours(parent) or not os.path.isdir(parent):
        directory(parent)


def _is_ours(path: str) -> bool:
    return any(path == root or path.startswith(root + "/") for root in roots())


def _mend(descriptor: int, mode: int) -> None:
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid():
        os.fchown(descriptor, os.geteuid(), os.getegid())
    if stat.S_IMODE(found.st_mode) != mode:
        os.fchmod(descriptor, mode)


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
