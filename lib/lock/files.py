"""What a lock's keeper and its clients leave for each other, below `LOCK_DIR`.

KEY.json is what the keeper holds or shall hold, KEY.sock where it listens, and
KEY.error, while it is being started, why it could not take the lock.  All are of
this boot: the directory is in memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from dataclasses import asdict, dataclass, replace
from typing import Any

from ganeti_gluster import constants
from ganeti_gluster.lock.image_lock import Held


@dataclass(frozen=True)
class Wanted:
    """What is to be locked and how.

    `params` name the volume as disk parameters do, `number` is the holder's
    (`image_lock.node_number`), `disk` the uuid of Ganeti's disk or empty, `clear`
    whether the lock is taken away from whoever has it, `held` whether the keeper
    has had it, `stopped` whether what writes is stopped at present.
    """

    params: dict[str, Any]
    path: str
    number: int
    mode: str
    disk: str = ""
    clear: bool = False
    held: bool = False
    stopped: bool = False

    def changed(self, **changes: Any) -> Wanted:
        """The same with some values changed."""
        return replace(self, **changes)


@dataclass(frozen=True)
class LockFiles:
    """The files of the lock with this key."""

    key: str

    def _path(self, suffix: str) -> str:
        return os.path.join(constants.LOCK_DIR, self.key + suffix)

    @property
    def socket_path(self) -> str:
        return self._path(".sock")

    def want(self, wanted: Wanted) -> None:
        """Leave for a keeper what it shall hold."""
        os.makedirs(constants.LOCK_DIR, mode=0o700, exist_ok=True)
        self.release()
        self._write(".json", asdict(wanted))

    def wanted(self) -> Wanted:
        """What the keeper holds or shall hold; FileNotFoundError where there is none."""
        with open(self._path(".json"), encoding="utf-8") as stream:
            return Wanted(**json.load(stream))

    def exist(self) -> bool:
        """Whether there is a keeper, or something left of one."""
        return os.path.exists(self._path(".json"))

    def is_held(self) -> bool:
        """Whether a keeper has had the lock, and not given it back."""
        try:
            return self.wanted().held
        except FileNotFoundError:
            return False

    def hold(self, wanted: Wanted) -> None:
        """Record what the keeper holds now."""
        self._write(".json", asdict(wanted.changed(held=True)))

    def listen(self, listener: socket.socket) -> None:
        """Bind the keeper's socket, readable by root alone."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.socket_path)
        listener.bind(self.socket_path)
        listener.listen(8)

    def fail(self, failure: Exception) -> None:
        """Leave the reason why the lock was not taken."""
        self.release()
        self._write(".error", describe(failure))

    def failure(self) -> dict[str, Any] | None:
        """That reason, once."""
        try:
            with open(self._path(".error"), encoding="utf-8") as stream:
                found: dict[str, Any] = json.load(stream)
        except FileNotFoundError:
            return None
        os.unlink(self._path(".error"))
        return found

    def release(self) -> None:
        """Forget everything."""
        for suffix in (".json", ".sock", ".error"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(suffix))

    def _write(self, suffix: str, value: dict[str, Any]) -> None:
        partial = "%s.%d" % (self._path(suffix), os.getpid())
        with open(partial, "w", encoding="utf-8") as stream:
            json.dump(value, stream)
        os.replace(partial, self._path(suffix))


def describe(failure: Exception | None) -> dict[str, Any]:
    """A failure as `client` reads it: empty for none, `held` with the holder of a lock."""
    if failure is None:
        return {}
    if isinstance(failure, Held):
        return {"held": list(failure.holder) if failure.holder else None, "error": str(failure)}
    return {"error": str(failure)}
