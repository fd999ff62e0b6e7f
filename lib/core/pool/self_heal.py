"""The self-heal daemon of a node, which heals the bricks there from others.

It needs a connection to each brick of its volumes.  With GlusterFS 11 it may lose one for good:
glusterd names the port of a brick, no connection succeeds, for the brick is started again and has
another port by then, and the daemon tries the one that was named for ever (`rpc_clnt_notify`).
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

from ganeti_gluster.core.pool.profile import normal
from ganeti_gluster.tools import names, tcp
from ganeti_gluster.tools.gluster_cli import BrickStatus, VolumeInfo
from ganeti_gluster.tools.processes import command_line, command_lines

#: glusterd keeps a file with the daemon's process here, for one of its volumes at least.
PIDS = Path("/var/run/gluster/shd")
PROC = Path("/proc")
#: The options that keep it from healing a volume, by the kind of the volume's sets.
_SWITCHES = {False: "cluster.self-heal-daemon", True: "cluster.disperse-self-heal-daemon"}

NAME = [b"--process-name", b"glustershd"]


def end() -> int:
    """Kill this node's, which may hang; how many there were.

    It has nothing that is lost with it; bricks give up its locks.  glusterd starts it
    again for `gluster volume start VOLUME force`.
    """
    ended = 0
    for pid in list(_processes()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            ended += 1
    return ended


def _processes() -> Iterator[int]:
    for pid, words in command_lines():
        if _is_daemon(words):
            yield pid


def _is_daemon(words: Sequence[bytes]) -> bool:
    return os.path.basename(words[0]) == b"glusterfs" and any(
        list(words[at : at + 2]) == NAME for at in range(len(words))
    )


def process(pids: Path = PIDS) -> int | None:
    """This node's, by glusterd's files; None if it does not run."""
    for path in sorted(pids.glob("*/*.pid")):
        with contextlib.suppress(OSError, ValueError):
            pid = int(path.read_text(encoding="ascii"))
            if _is_daemon(command_line(pid)):
                return pid
    return None


def ports(
    connections: Iterable[tcp.Established] | None = None,
    *,
    pids: Path = PIDS,
    proc: Path = PROC,
) -> tuple[int, ...] | None:
    """The ports of bricks to which this node's has connections, one for each; None without it.

    `connections` are this node's, if the caller has read them already.  Raises OSError
    where that cannot be seen.
    """
    pid = process(pids)
    if pid is None:
        return None
    sockets = set()
    try:
        for entry in os.listdir(proc / str(pid) / "fd"):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                sockets.add(os.readlink(proc / str(pid) / "fd" / entry))
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return None
    return tuple(
        sorted(
            each.remote_port
            for each in (tcp.established() if connections is None else connections)
            if each.remote_port != names.DEFAULT_PORT and "socket:[%s]" % each.inode in sockets
        )
    )


def served(volumes: Iterable[VolumeInfo], uuid: str) -> list[VolumeInfo]:
    """The volumes for which the daemon of the server with this UUID has work."""
    return [
        volume
        for volume in volumes
        if volume.started
        and volume.set_size > 1
        and normal(volume.options.get(_SWITCHES[volume.disperse > 0], "on")) != "off"
        and any(brick.server_uuid == uuid for brick in volume.bricks)
    ]


def expected(volumes: Iterable[VolumeInfo], uuid: str, absent: Collection[str]) -> int:
    """How many connections it has if it has all; those `absent` are servers, by their UUIDs."""
    return sum(
        brick.server_uuid not in absent
        for volume in served(volumes, uuid)
        for brick in volume.bricks
    )


def lacking(bricks: Iterable[BrickStatus], ports: Iterable[int]) -> list[BrickStatus]:
    """The bricks that are up without a connection to their ports.

    A port is random: those of two bricks are the same only where one process has both.
    """
    free = Counter(ports)
    lack = []
    for brick in bricks:
        if brick.online and brick.port is not None:
            if free[brick.port]:
                free[brick.port] -= 1
            else:
                lack.append(brick)
    return lack
