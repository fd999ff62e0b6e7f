"""The lock on a repository: many may write and read backups at once, one alone removes data.

A store need not have locks, so each who uses the repository has a file in it, which it writes
again now and then.  Whoever comes writes his own first, and looks at the others then: of two that
exclude each other at least one sees the other, and gives way.

The file of a process that was killed stays.  It counts as long as it may be that its process
works.  On its own host that is known; elsewhere it is the case until it was not written again for
`STALE` seconds, by the clocks of the two.  A process that could not write its own for
`LOST` seconds stops by itself, before the others cease to respect it.  Where clocks are wrong, or
stood still with the process, one whose file was removed does not write it again, and stops.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from ganeti_gluster.core.backup.errors import RepositoryLocked, RepositoryLockLost
from ganeti_gluster.core.backup.store import BackupStore
from ganeti_gluster.errors import GanetiGlusterError, in_words
from ganeti_gluster.tools import decode, processes
from ganeti_gluster.tools.decode import Longest, Moment, Name, NotUnderstood, Serial

DIRECTORY = "locks"
#: Seconds between two times that a file is written, until its holder stops, and until it does not
#: count any more.  Clocks of nodes may differ by what is between the last two.
REFRESH = 60.0
LOST = 600.0
STALE = 1500.0

_NAME = re.compile(r"[0-9a-f]{32}")
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_LONGEST = 4096


@dataclass(frozen=True)
class User:
    """Who uses a repository: `alone`, or beside others, what for, and `since` when."""

    host: Name
    boot: Name
    pid: Serial
    started: Name
    what: Annotated[str, Longest(500)]
    alone: bool
    refreshed: Moment
    since: Moment = 0.0

    @property
    def is_here(self) -> bool:
        """Whether this host can tell if the process is there."""
        return (self.host, self.boot) == (socket.gethostname(), _boot())


class Lock:
    """A lock that is held."""

    def __init__(self, store: BackupStore, user: User) -> None:
        self.id = uuid.uuid4().hex
        self._store = store
        self._user = user
        self._path = "%s/%s" % (DIRECTORY, self.id)
        self._ended = threading.Event()
        self._at = time.monotonic()
        self._error = ""
        self._written = self._removed = False
        # It is looked for while it is not being written.
        self._file = threading.Lock()

    def is_lost(self) -> bool:
        """Whether others may not respect it any more; it does not come back."""
        return self._removed or time.monotonic() - self._at > LOST

    def check(self) -> None:
        """Raise `RepositoryLockLost` unless the others respect it for sure."""
        if not self.is_lost():
            with self._file:
                self._look()
        if self._removed:
            raise RepositoryLockLost(
                "the lock on repository %s was removed by another process" % self._store.name,
                hint="see that the clocks of all hosts that use it agree, and try again",
            )
        if self.is_lost():
            raise RepositoryLockLost(
                "the lock on repository %s could not be refreshed for %d s%s"
                % (self._store.name, LOST, ": %s" % self._error if self._error else ""),
                hint="try again when the repository answers",
            )

    def write(self) -> None:
        """Tell the others that this process is there.

        No-op once it is lost: after a long standstill of this process, others may have changed
        the repository, and what it knows of it is not true any more.
        """
        with self._file:
            self._look()
            if self.is_lost():
                return
            begun = time.monotonic()
            now = {**decode.as_data(self._user), "refreshed": time.time()}
            self._store.put(self._path, json.dumps(now).encode())
            self._at, self._written = begun, True

    def _look(self) -> None:
        """See whether the file is there, once it was written."""
        if self._written:
            try:
                self._store.get(self._path, 0, 1)
            except FileNotFoundError:
                self._removed = True
            except (OSError, GanetiGlusterError):
                pass  # asked again the next time; what does not answer for long is lost

    def remove(self) -> None:
        """Tell the others that it is not there any more."""
        self._store.delete(self._path)

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Write it again now and then."""

        def refresh() -> None:
            while not self._ended.wait(REFRESH):
                try:
                    self.write()
                except (OSError, GanetiGlusterError) as err:  # `check` tells when it is too late
                    self._error = in_words(err)

        thread = threading.Thread(target=refresh, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()


@contextlib.contextmanager
def locked(
    store: BackupStore, what: str, *, alone: bool = False, wait: float = 0.0
) -> Iterator[Lock]:
    """Use the repository in the block, alone or beside others who are not alone.

    Waits for those who exclude that for `wait` seconds, and raises `RepositoryLocked` then.
    """
    deadline = time.monotonic() + wait
    while True:
        lock = Lock(store, _user(what, alone))
        lock.write()
        try:
            others = _others(store, lock.id)
        except BaseException:
            lock.remove()
            raise
        excluding = [user for user in others if alone or user.alone]
        if not excluding:
            break
        lock.remove()
        if time.monotonic() >= deadline:
            raise _refusal(store, excluding[0])
        # Two who give way to each other do not meet again and again.
        time.sleep(1.0 + os.getpid() % 100 / 100)
    with lock.kept():
        try:
            yield lock
        finally:
            # What fails then is found by the next as the file of a process that has ended.
            with contextlib.suppress(OSError, GanetiGlusterError):
                lock.remove()


def _refusal(store: BackupStore, user: User) -> RepositoryLocked:
    hint = "wait until it has finished"
    if not user.is_here:
        hint += "; if it was killed, its lock ends at %s" % _clock(user.refreshed + STALE)
    return RepositoryLocked(
        "repository %s is used by %s on %s (process %d) since %s"
        % (store.name, user.what, user.host, user.pid, _clock(user.since or user.refreshed)),
        hint=hint,
    )


def _clock(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))


def _others(store: BackupStore, own: str) -> list[User]:
    """Who else uses the repository; the files of those who ended are removed."""
    others = []
    for entry in store.entries(DIRECTORY):
        if entry.name == own or not _NAME.fullmatch(entry.name):
            continue
        path = "%s/%s" % (DIRECTORY, entry.name)
        try:
            user = decode.build(User, decode.plain(store.get(path, 0, _LONGEST), longest=_LONGEST))
        except FileNotFoundError:
            continue
        except NotUnderstood:
            # Written as a whole: it is of nobody who would respect ours.
            store.delete(path)
            continue
        if _is_over(user):
            store.delete(path)
        else:
            others.append(user)
    return others


def _is_over(user: User) -> bool:
    if user.is_here:
        return _started(user.pid) != user.started
    return time.time() - user.refreshed > STALE


def _user(what: str, alone: bool) -> User:
    pid, now = os.getpid(), time.time()
    return User(socket.gethostname(), _boot(), pid, _started(pid), what, alone, now, now)


def _boot() -> str:
    with open(_BOOT_ID, encoding="ascii") as stream:
        return stream.read().strip()


def _started(pid: int) -> str:
    """When a process began, in the kernel's ticks; "" if there is none."""
    try:
        return processes.stat_of(pid)[19]
    except (OSError, IndexError):
        return ""
