"""A volume that is a directory of this machine, with locks as bricks keep them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ganeti_gluster.tools.gfapi import DirectoryEntry, FileStat, Space


def _stat(found: os.stat_result) -> FileStat:
    return FileStat(
        found.st_mode,
        found.st_size,
        found.st_blocks * 512,
        found.st_uid,
        found.st_gid,
        found.st_mtime,
        found.st_ino,
        found.st_nlink,
    )


class Locks:
    """The locks of all files, by inode; each has its descriptor, its kind and a number."""

    def __init__(self) -> None:
        self.held: dict[int, list[tuple[LocalFile, int, int]]] = {}

    def others(self, file: LocalFile, kind: int) -> list[tuple[int, int]]:
        return [
            (other_kind, number)
            for other, other_kind, number in self.held.get(file.inode, [])
            if other is not file and fcntl.F_WRLCK in (kind, other_kind)
        ]

    def drop(self, file: LocalFile) -> bool:
        before = self.held.get(file.inode, [])
        self.held[file.inode] = [lock for lock in before if lock[0] is not file]
        return len(before) != len(self.held[file.inode])


class LocalFile:
    """An open file; `lost`: the bricks have forgotten its lock (`client.strict-locks`)."""

    def __init__(self, volume: LocalVolume, path: str, flags: int) -> None:
        self.path = path
        self.lost = False
        self._volume = volume
        self._fd = os.open(volume.place(path), flags)
        self.inode = os.fstat(self._fd).st_ino

    def __enter__(self) -> LocalFile:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        if self._fd >= 0:
            self._volume.locks.drop(self)
            self._volume.files.remove(self)
            os.close(self._fd)
        self._fd = -1

    abandon = close

    def set_lock_owner(self, owner: bytes) -> None:
        assert owner

    def lock(self, kind: int, *, wait: bool = False, pid: int = 0) -> None:
        assert not wait
        self._check()
        if kind == fcntl.F_UNLCK:
            self._volume.locks.drop(self)
            return
        if self._volume.locks.others(self, kind):
            raise OSError(errno.EAGAIN, "locked", self.path)
        self._volume.locks.drop(self)
        self._volume.locks.held.setdefault(self.inode, []).append((self, kind, pid))

    def conflicting_lock(self, kind: int) -> tuple[int, int] | None:
        return next(iter(self._volume.locks.others(self, kind)), None)

    def stat(self) -> FileStat:
        self._check()
        return _stat(os.fstat(self._fd))

    def _check(self) -> None:
        if self.lost:
            raise OSError(errno.EBADFD, os.strerror(errno.EBADFD), self.path)

    def preadinto(self, buffer: memoryview, offset: int) -> int:
        return os.preadv(self._fd, [buffer], offset)

    def pread(self, size: int, offset: int) -> bytes:
        return os.pread(self._fd, size, offset)

    def pwrite(self, data: bytes | memoryview, offset: int) -> None:
        os.pwrite(self._fd, data, offset)

    def truncate(self, size: int) -> None:
        os.ftruncate(self._fd, size)

    def fsync(self, **options: bool) -> None:
        pass

    def chown(self, uid: int, gid: int) -> None:
        os.fchown(self._fd, uid, gid)

    def seek_data(self, offset: int) -> int | None:
        return offset

    def seek_hole(self, offset: int) -> int | None:
        return os.fstat(self._fd).st_size


class LocalVolume:
    """`gfapi.Volume` on a directory.

    `before` is called with each change of a name that is about to be made, as
    ("rename", old, new), and may make another or raise.
    """

    name = "gv0"

    def __init__(self, root: Path) -> None:
        self.root = root
        self.locks = Locks()
        self.files: list[LocalFile] = []
        self.before: Callable[..., None] = lambda *what: None
        (root / "ganeti").mkdir()

    def __enter__(self) -> LocalVolume:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    # for tests

    def place(self, path: str) -> str:
        return str(self.root / path.lstrip("/"))

    def write(self, path: str, content: bytes) -> None:
        (self.root / path).write_bytes(content)

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def names(self) -> list[str]:
        """All files, in order."""
        return sorted(
            str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()
        )

    def lose(self, path: str) -> None:
        """What a cut does: the bricks forget the locks of a file, whose descriptors end."""
        for file in list(self.files):
            if file.path == path and self.locks.drop(file):
                file.lost = True

    @contextlib.contextmanager
    def elsewhere(self, path: str, number: int, kind: int = fcntl.F_WRLCK) -> Iterator[LocalFile]:
        """Another node's server has the image."""
        with self.open(path, write=True) as file:
            file.lock(kind, pid=number)
            yield file

    # gfapi.Volume

    def shares_connection(self, other: object) -> bool:
        return False

    def open(self, path: str, *, write: bool = False, direct: bool = False) -> LocalFile:
        file = LocalFile(self, path, os.O_RDWR if write else os.O_RDONLY)
        self.files.append(file)
        return file

    def create(self, path: str, *, mode: int = 0o600) -> LocalFile:
        file = LocalFile(self, path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        self.files.append(file)
        return file

    def stat(self, path: str) -> FileStat:
        return _stat(os.stat(self.place(path)))

    def lstat(self, path: str) -> FileStat:
        return _stat(os.lstat(self.place(path)))

    def access(self, path: str) -> bool:
        return os.path.exists(self.place(path))

    def truncate(self, path: str, size: int) -> None:
        self.before("truncate", path, size)
        os.truncate(self.place(path), size)

    def unlink(self, path: str) -> None:
        self.before("unlink", path)
        os.unlink(self.place(path))

    def rename(self, old: str, new: str) -> None:
        self.before("rename", old, new)
        os.rename(self.place(old), self.place(new))

    def link(self, old: str, new: str) -> None:
        self.before("link", old, new)
        os.link(self.place(old), self.place(new))

    def mkdir(self, path: str, *, mode: int = 0o755) -> None:
        os.mkdir(self.place(path))

    def scandir(self, path: str) -> list[DirectoryEntry]:
        return [
            DirectoryEntry(name, self.lstat("%s/%s" % (path, name)))
            for name in os.listdir(self.place(path))
        ]

    def getxattr(self, path: str, name: str) -> bytes:
        return os.getxattr(self.place(path), name)

    def setxattr(self, path: str, name: str, value: bytes, flags: int = 0) -> None:
        os.setxattr(self.place(path), name, value)

    def volfile(self) -> str:
        return ""

    def space(self) -> Space:
        return Space(1 << 40, 1 << 40)
