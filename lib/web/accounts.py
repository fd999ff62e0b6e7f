"""Users and their rights: those of Ganeti's remote API, from its users file.

Ganeti's own code reads the file and checks passwords, so that a password in any of
its forms works here as it does there.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
from dataclasses import dataclass
from typing import Any, Protocol

# Ganeti's names of the rights, and the realm that hashed passwords contain.
READ = "read"
WRITE = "write"
REALM = "Ganeti Remote API"


@dataclass(frozen=True)
class Account:
    """A user who may look (`read` or `write` in the users file); `write` may act.

    `fingerprint` changes with the password or the rights.
    """

    user: str
    write: bool
    fingerprint: str


class Accounts(Protocol):
    """Where accounts come from."""

    def find(self, user: str) -> Account | None:
        """The account of a user, None if there is none with a right."""

    def check(self, user: str, password: str) -> Account | None:
        """The account of a user whose password this is."""


class GanetiAccounts:
    """The users file at `path`, read again whenever it has changed.

    A file that is missing or cannot be read has no users.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] | None = None
        self._users: dict[str, Any] = {}

    def find(self, user: str) -> Account | None:
        """See `Accounts`."""
        entry = self._load().get(user)
        if entry is None:
            return None
        rights = {READ, WRITE}.intersection(entry.options)
        if not rights:
            return None
        state = "\0".join((entry.name, entry.password, *sorted(rights)))
        fingerprint = hashlib.blake2b(state.encode("utf-8", "replace"), key=self._key).hexdigest()
        return Account(user, WRITE in rights, fingerprint)

    def check(self, user: str, password: str) -> Account | None:
        """See `Accounts`."""
        from ganeti.http import auth

        entry = self._load().get(user)
        verifier = auth.HttpServerRequestAuthentication()
        verifier.AUTH_REALM = REALM
        # The same is done for an unknown user, so that the time reveals nothing.
        expected = entry.password if entry else "{HA1}" + secrets.token_hex(16)
        try:
            right = verifier.VerifyBasicAuthPassword(None, user, password, expected)
        except UnicodeEncodeError:
            # Ganeti hashes ASCII only.
            right = False
        return self.find(user) if right and entry else None

    def _load(self) -> dict[str, Any]:
        from ganeti.http import auth

        with self._lock:
            try:
                info = os.stat(self.path)
                seen = (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)
                if seen != self._seen:
                    with open(self.path, encoding="utf-8", errors="replace") as stream:
                        self._users = auth.ParsePasswordFile(stream.read())
                    self._seen = seen
            except OSError:
                self._users, self._seen = {}, None
            return self._users
