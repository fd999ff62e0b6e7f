"""What shows for next to nothing that something of a node may be another than before.

glusterd answers no question for less than 50 ms of the processor, which its own command takes
to begin.  It keeps what it knows of the pool in files; whether its peers are connected shows
in the kernel's table of connections.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ganeti_gluster.tools import names, processes, tcp

GLUSTERD_DIR = Path("/var/lib/glusterd")
GLUSTERD_PID = Path("/var/run/glusterd.pid")


def of_file(path: str | os.PathLike[str]) -> tuple[int, int, int] | None:
    """Of a file: another one, or other contents, have another stamp; None if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def of_glusterd(
    directory: Path = GLUSTERD_DIR,
    pid: Path = GLUSTERD_PID,
    connections: Iterable[tcp.Established] | None = None,
) -> object:
    """What glusterd keeps of the pool, its process, and its connections to other members.

    `connections` are this node's, if the caller has read them already.
    """
    if connections is None:
        connections = tcp.established()
    return (
        tuple(_files(directory)),
        _process(pid),
        tuple(sorted(_peers(connections))),
    )


def _files(directory: Path) -> Iterator[tuple[str, object]]:
    yield "", of_file(directory / "glusterd.info")
    for folder, name in (("peers", ""), ("vols", "info")):
        with contextlib.suppress(OSError):
            for entry in sorted((directory / folder).iterdir()):
                yield str(entry), of_file(entry / name)


def _process(path: Path) -> tuple[str, str] | None:
    """Which process it is, and whether it stands still; None if it does not run."""
    try:
        words = processes.stat_of(int(path.read_text(encoding="ascii")))
    except (OSError, ValueError):
        return None
    # When it began, and its state: running or waiting is the same.
    return words[19], words[0] if words[0] in "TtZX" else "S"


def _peers(connections: Iterable[tcp.Established]) -> Iterator[str]:
    """The connections of this node to the port of a glusterd: both ends, and the socket.

    A member connects to each other one; those that come in are of clients as well.
    """
    for each in connections:
        if each.remote_port == names.DEFAULT_PORT:
            yield "%s %s %s" % (each.local, each.remote, each.inode)
