"""Information of libgfapi about a file or a file system, as plain values."""

from __future__ import annotations

import stat
from typing import Any, NamedTuple


class FileStat(NamedTuple):
    """A file's `struct stat`: sizes in bytes, mtime in seconds."""

    mode: int
    size: int
    allocated: int
    uid: int
    gid: int
    mtime: float
    inode: int
    links: int

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)


class Space(NamedTuple):
    """A volume's room in bytes; `free` is what an image can still take."""

    total: int
    free: int


def file_stat(raw: Any) -> FileStat:
    """The values of the gfapi package's `Stat` structure."""
    return FileStat(
        raw.st_mode,
        raw.st_size,
        raw.st_blocks * 512,
        raw.st_uid,
        raw.st_gid,
        raw.st_mtime + raw.st_mtimensec / 1e9,
        raw.st_ino,
        raw.st_nlink,
    )


def space(raw: Any) -> Space:
    """The values of the gfapi package's `Statvfs` structure."""
    unit = raw.f_frsize or raw.f_bsize
    return Space(total=raw.f_blocks * unit, free=raw.f_bavail * unit)
