"""libgfapi and its translators in a daemon's memory, for the children that it forks.

Otherwise each child would load them, in some 7 ms, and use them for one request.  But a daemon
survives upgrades of GlusterFS, and what it has loaded only fits the translators of its own
release.  So a child checks whether the files are still those that were loaded.
"""

from __future__ import annotations

import _ctypes
import contextlib
import ctypes
import os
from pathlib import Path

_MAPS = "/proc/self/maps"
_DELETED = " (deleted)"
_CORE = "libglusterfs.so.0"

#: The client's half of a volume of images, as GlusterFS 10 and 11 make it; one that
#: a release lacks is loaded by libgfapi when it is needed, as any other.
_MODULES = (
    "rpc-transport/socket.so",
    "xlator/mount/api.so",
    "xlator/protocol/client.so",
    "xlator/cluster/replicate.so",
    "xlator/cluster/distribute.so",
    "xlator/features/shard.so",
    "xlator/features/utime.so",
    "xlator/performance/write-behind.so",
    "xlator/performance/open-behind.so",
    "xlator/performance/md-cache.so",
    "xlator/performance/io-threads.so",
    "xlator/debug/io-stats.so",
    "xlator/meta.so",
)

Identity = tuple[int, int]


class Preloaded:
    """What was loaded, besides the libraries in `handles`, and what files that was."""

    def __init__(self, handles: list[ctypes.CDLL], before: frozenset[str]) -> None:
        self._handles = [*handles, *_modules()]
        self._files = {path: _identity(path) for path in mapped() - before}
        self._files.update(dict.fromkeys(path for path in mapped() if path.endswith(_DELETED)))

    def current(self) -> bool:
        """Whether the files that were loaded are those that a new process would load."""
        return all(
            identity and _identity(path) == identity for path, identity in self._files.items()
        )

    def unload(self) -> bool:
        """Take everything out of memory, nothing of which may have been called.

        False if it stays, since something else uses it.
        """
        while self._handles:
            _ctypes.dlclose(self._handles.pop()._handle)
        try:
            ctypes.CDLL(_CORE, os.RTLD_NOLOAD)
        except OSError:
            return True
        return False


def mapped() -> frozenset[str]:
    """The files in this process's memory; one that is gone has ` (deleted)` at its end."""
    with open(_MAPS, encoding="utf-8", errors="surrogateescape") as stream:
        fields = (line.rstrip("\n").split(maxsplit=5) for line in stream)
        return frozenset(path for *_, path in (f for f in fields if len(f) == 6) if path[0] == "/")


def _modules() -> list[ctypes.CDLL]:
    """The modules that there are, of the release whose library is loaded."""
    handles = []
    for folder in {Path(path).parent / "glusterfs" for path in mapped() if _CORE in path}:
        # Beside the release's folder there is one of programs, which has no modules.
        for release in folder.glob("*/xlator"):
            for module in _MODULES:
                with contextlib.suppress(OSError):
                    handles.append(ctypes.CDLL(str(release.parent / module)))
    return handles


def _identity(path: str) -> Identity | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
