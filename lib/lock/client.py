"""Locks of images on this node, from outside: take one, change it, give it back.

A lock is held by a transient unit of systemd of its own, so it outlives the node
daemon, is found again after it, and is taken again at once where its process dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ganeti_gluster import command, constants, names
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.lock import image_lock
from ganeti_gluster.lock.files import LockFiles, Wanted
from ganeti_gluster.lock.image_lock import Held, Holder

#: How long a keeper may take to have its lock, its wait for a former holder and a
#: volume that answers late included, in seconds.
START_SECONDS = 90
STOP_SECONDS = 30
#: All units that hold locks.
UNITS = "ganeti-gluster-lock-*.service"
#: Seconds for which a request to a keeper is waited for: a brick's host that dies
#: holds every request up for the volume's network.ping-timeout.
ANSWER_SECONDS = 60
#: Exit statuses of the keeper after which systemd does not start it again.
_FINAL = (0, 74, 75)

Run = Callable[..., command.CommandResult]


class LockFailed(GanetiGlusterError):
    """A lock could not be taken or given back, and not because another has it."""


@dataclass(frozen=True)
class Lock:
    """The lock of one image on this node; constructing it does nothing.

    `params` name the volume, `path` the image on it.
    """

    params: dict[str, Any]
    path: str
    run: Run = command.run

    @property
    def _files(self) -> LockFiles:
        return LockFiles(names.unit_key(self.params["volume"], self.path))

    @property
    def unit(self) -> str:
        return "ganeti-gluster-lock-%s.service" % self._files.key

    def mode(self) -> str | None:
        """How this node holds the lock, None where it does not."""
        try:
            wanted = self._files.wanted()
        except FileNotFoundError:
            return None
        return wanted.mode if wanted.held else None

    def take(self, mode: str, number: int, *, disk: str = "", clear: bool = False) -> None:
        """Hold the lock in `mode` (`image_lock.EXCLUSIVE` or `SHARED`).

        What is held already is changed.  With `clear` it is taken away from
        whoever has it, who has time to notice.  Raises `Held` or `LockFailed`, and
        nothing has changed then.
        """
        with self._locked():
            answer = None if clear else self._ask(mode)
            if answer is None:
                answer = self._start(
                    Wanted(self.params, self.path, number, mode, disk=disk, clear=clear)
                )
        if "held" in answer:
            holder = answer["held"]
            raise Held(self.path, Holder(*holder) if holder else None)
        if "error" in answer:
            raise LockFailed("cannot lock image %s: %s" % (self.path, answer["error"]))

    def give_back(self) -> None:
        """Hold the lock no more; idempotent, and needs no volume."""
        if not self._files.exist():
            return
        with self._locked():
            if self._files.exist():
                self._stop()

    def _ask(self, mode: str) -> dict[str, Any] | None:
        """The keeper's answer to a request for `mode`; None if there is no keeper."""
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(ANSWER_SECONDS)
            try:
                channel.connect(self._files.socket_path)
            except (FileNotFoundError, ConnectionRefusedError):
                return None
            try:
                channel.sendall(json.dumps({"mode": mode}).encode() + b"\n")
                answer: dict[str, Any] = json.loads(channel.makefile().readline())
            except (OSError, ValueError) as err:
                return {"error": "its keeper %s does not answer (%s)" % (self.unit, err)}
        return answer

    def _start(self, wanted: Wanted) -> dict[str, Any]:
        self._stop()
        self._files.want(wanted)
        try:
            self.run(start_argv(self.unit, self._files.key), timeout=START_SECONDS + 10)
        except GanetiGlusterError as err:
            failure = self._files.failure()
            self._stop()
            return failure or {"error": str(err)}
        return {}

    def _stop(self) -> None:
        systemctl = ["systemctl", "--quiet"]
        for argv in ([*systemctl, "stop", self.unit], [*systemctl, "reset-failed", self.unit]):
            self.run(argv, timeout=STOP_SECONDS, check=False)
        self._files.release()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes of this node from starting or ending keepers of this image."""
        os.makedirs(constants.LOCK_DIR, mode=0o700, exist_ok=True)
        # One file for all images: each has a byte of it.
        with open(os.path.join(constants.LOCK_DIR, ".lock"), "w", encoding="ascii") as stream:
            fcntl.lockf(stream, fcntl.LOCK_EX, 1, zlib.crc32(self._files.key.encode()))
            yield


def give_back_all(run: Run = command.run) -> None:
    """Hold no lock on this node any more; what has images open goes on without."""
    run(["systemctl", "--quiet", "stop", UNITS], timeout=2 * STOP_SECONDS, check=False)
    shutil.rmtree(constants.LOCK_DIR, ignore_errors=True)


def node_number(node: str) -> int:
    """The number by which a node's locks are known."""
    return image_lock.node_number(node)


def start_argv(unit: str, key: str) -> list[str]:
    """The command that starts a keeper and returns when it has its lock."""
    return [
        "systemd-run",
        "--quiet",
        "--collect",
        "--unit=%s" % unit,
        "--description=Lock of a Gluster image",
        "--property=Type=notify",
        "--property=TimeoutStartSec=%d" % START_SECONDS,
        "--property=TimeoutStopSec=%d" % (STOP_SECONDS - 10),
        "--property=Restart=always",
        "--property=RestartSec=200ms",
        "--property=StartLimitIntervalSec=0",
        "--property=RestartPreventExitStatus=%s" % " ".join(map(str, _FINAL)),
        "--property=SuccessExitStatus=75",
        # libgfapi's threads each take an arena of their own otherwise.
        "--setenv=MALLOC_ARENA_MAX=1",
        "/usr/bin/python3",
        "-m",
        "ganeti_gluster.lock.keeper",
        key,
    ]
