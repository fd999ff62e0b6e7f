"""The kernel's tables of TCP connections.

To read them takes some milliseconds, however few there are: the kernel looks into each of its
buckets.  So those who want them twice read them once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_ESTABLISHED = "01"


@dataclass(frozen=True)
class Established:
    """One that is up: both ends as they stand in the table, and its socket's inode."""

    local: str
    remote: str
    inode: str

    @property
    def remote_port(self) -> int:
        """The port at the other end."""
        return int(self.remote.rpartition(":")[2], 16)


def established(tables: Iterable[Path] = TABLES) -> Iterator[Established]:
    """Those that are up; no table, as without IPv6, has none."""
    for path in tables:
        with contextlib.suppress(OSError):
            for line in path.read_text(encoding="ascii", errors="replace").splitlines()[1:]:
                words = line.split()
                if words[3] == _ESTABLISHED:
                    yield Established(words[1], words[2], words[9])
