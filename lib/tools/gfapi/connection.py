"""One libgfapi connection, and the process's pool of them.

A connection lives as long as its process: `glfs_fini` takes some 10 s in every release up to
GlusterFS 11.1, so it only runs if a long-lived process requests it.  Data is safe without it once
a file was synced.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ganeti_gluster import errors
from ganeti_gluster.tools import names
from ganeti_gluster.tools.gfapi.library import Library, load
from ganeti_gluster.tools.gfapi.memory import lock_as_used
from ganeti_gluster.tools.gfapi.probe import PROBE_TIMEOUT, Address, Probe

#: Seconds for which servers that do not answer are waited for.
CONNECT_TIMEOUT = 10.0
#: Seconds more that a server which answers has to bring the bricks up.  The
#: replication alone waits 10 s (10.02 s measured) for a brick whose machine is
#: silent, and then goes on without it.
BRICKS_TIMEOUT = 20.0


class ConnectionSpec(NamedTuple):
    """What to connect to, and how; equal targets share one connection.

    `servers` are (host, port) pairs, `options` (translator, key, value) overrides of the
    volume's client graph.  `log_level` is libgfapi's: 0 none … 4 error, 7 info, 9 trace.
    `graph` is a client graph to use in place of the one that the servers give.
    """

    volume: str
    servers: tuple[Address, ...]
    log_file: str = "/dev/null"
    log_level: int = 0
    options: tuple[tuple[str, str, str], ...] = ()
    graph: str = ""


class Connection:
    """A connected volume of this process."""

    def __init__(self, library: Library, handle: int, target: ConnectionSpec) -> None:
        self.library = library
        self.target = target
        self._handle: int | None = handle
        self._pid = os.getpid()

    @property
    def handle(self) -> int:
        """The `glfs_t` pointer; raises `ConnectionOfParent` after a fork."""
        if self._pid != os.getpid():
            raise errors.ConnectionOfParent(
                "the connection to volume %s belongs to process %d"
                % (self.target.volume, self._pid),
                hint="connect again after a fork",
            )
        if self._handle is None:
            raise ValueError("the connection to volume %s is closed" % self.target.volume)
        return self._handle

    @property
    def usable(self) -> bool:
        """Whether calls can be made: this process's, and not finished."""
        return self._handle is not None and self._pid == os.getpid()

    def fini(self) -> None:
        """End the connection; takes about 10 s, so only a long-lived process should."""
        handle = self.handle
        with _lock:
            self._handle = None
            if _pool.get(self.target) is self:
                del _pool[self.target]
        self.library.call("glfs_fini", None, handle)


_lock = threading.Lock()
_pool: dict[ConnectionSpec, Connection] = {}
_connecting: dict[ConnectionSpec, threading.Lock] = {}


def _forget_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    _pool.clear()
    _connecting.clear()


os.register_at_fork(after_in_child=_forget_in_child)


def pooled(target: ConnectionSpec, *, timeout: float = CONNECT_TIMEOUT) -> Connection:
    """This process's connection to `target`, made by the first call."""
    with _lock:
        connecting = _connecting.setdefault(target, threading.Lock())
    with connecting:  # one thread connects, others wait for the same connection
        connection = _pool.get(target)
        if connection is None:
            connection = _pool[target] = establish(target, timeout=timeout)
        return connection


def establish(target: ConnectionSpec, *, timeout: float = CONNECT_TIMEOUT) -> Connection:
    """Connect; raises a `ConnectError` that says why not.

    The servers are asked first, because libgfapi gives a dead one 3 s or far
    more; live ones come first in its list.  Where none is live, that is said
    within `timeout` seconds; one that answers has `BRICKS_TIMEOUT` more.
    """
    probe = Probe(target.servers, timeout=min(PROBE_TIMEOUT, timeout))
    lock_as_used()
    library = load()
    answers = probe.until_best()
    live = [server for server, reason in answers.items() if reason is None]
    dead = [server for server, reason in answers.items() if reason is not None]
    if live:
        with _graph_file(target.graph) as graph:
            handle = _new(library, target, live + dead, graph)
            code = _init(library, handle, timeout + (0 if graph else BRICKS_TIMEOUT))
        if code == 0:
            return Connection(library, handle, target)
        if code != errno.ETIMEDOUT:
            raise _refusal(target, code, answers)
        answers[live[0]] = "answers, but does not serve the volume in time"
    raise errors.VolumeUnreachable(
        "no server of volume %s answers" % target.volume,
        volume=target.volume,
        servers=[
            (names.server(*server), reason or "answers") for server, reason in answers.items()
        ],
        hint="check that glusterd runs there and that its port is open",
    )


@contextlib.contextmanager
def _graph_file(graph: str) -> Iterator[str]:
    """The path of a file with this text, which no one else sees; "" for none."""
    if not graph:
        yield ""
        return
    with open(os.memfd_create("graph"), "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(graph)
        file.flush()
        yield "/proc/self/fd/%d" % file.fileno()


def _new(library: Library, target: ConnectionSpec, servers: Sequence[Address], graph: str) -> int:
    handle = library.call("glfs_new", None, target.volume.encode())
    library.call("glfs_set_logging", None, handle, os.fsencode(target.log_file), target.log_level)
    for option in target.options:
        library.call("glfs_set_xlator_option", None, handle, *map(str.encode, option))
    if graph:
        library.call("glfs_set_volfile", None, handle, graph.encode())
        return handle
    if library.is_11 and ":" in servers[0][0]:
        # Else it looks for IPv4 addresses alone.  The name is that of no
        # translator: the bricks' addresses are the volume's business.
        library.call("glfs_set_xlator_option", None, handle, b"gfapi", b"address-family", b"inet6")
    for host, port in servers:
        # It also takes what follows the last colon for a port.
        name = "%s:%d" % (host, port) if library.is_11 and ":" in host else host
        library.call("glfs_set_volfile_server", None, handle, b"tcp", name.encode(), port)
    return handle


def _init(library: Library, handle: int, timeout: float) -> int:
    # In a thread, since nothing can interrupt glfs_init.  One that is given up
    # stays behind with its handle: tearing it down could block as long.
    result: queue.SimpleQueue[int] = queue.SimpleQueue()

    def run() -> None:
        try:
            library.call("glfs_init", None, handle)
            result.put(0)
        except OSError as err:
            result.put(err.errno or errno.EIO)

    threading.Thread(target=run, name="glfs_init", daemon=True).start()
    try:
        return result.get(timeout=timeout)
    except queue.Empty:
        return errno.ETIMEDOUT


def _refusal(
    target: ConnectionSpec, code: int, answers: dict[Address, str | None]
) -> errors.ConnectError:
    tried = [(names.server(*server), reason or "answers") for server, reason in answers.items()]
    volume = target.volume
    if code in (errno.ENOENT, errno.ENOMEM):  # ENOMEM from GlusterFS 11 on
        return errors.VolumeNotFound(
            "there is no volume %s" % volume,
            volume=volume,
            servers=tried,
            hint="check its name with gluster volume list",
        )
    if code == errno.EIO:
        return errors.VolumeNotServing(
            "too few bricks of volume %s answer: it is stopped, or lost quorum" % volume,
            volume=volume,
            servers=tried,
            hint="see gluster volume status %s" % volume,
        )
    return errors.VolumeUnreachable(
        "cannot connect to volume %s (%s)" % (volume, os.strerror(code)),
        volume=volume,
        servers=tried,
    )
