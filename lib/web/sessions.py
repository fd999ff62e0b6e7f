"""Sessions of users who are logged in, in this process's memory, with an end, and their tokens.

Nothing is stored: a restart logs everybody out.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

#: Seconds after which an unused session, and any session, ends.
IDLE = 30 * 60.0
LIFETIME = 12 * 3600.0
#: Sessions of one user and of all; beyond that the one unused longest ends.
MAX_PER_USER = 20
MAX_SESSIONS = 500


@dataclass
class Session:
    """A user's session; `fingerprint` is of the account as it was at login."""

    user: str
    fingerprint: str
    csrf: str
    started: float
    used: float


class Sessions:
    """All sessions; thread-safe.  `clock` is monotonic, in seconds."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        idle: float = IDLE,
        lifetime: float = LIFETIME,
        max_per_user: int = MAX_PER_USER,
        max_sessions: int = MAX_SESSIONS,
    ) -> None:
        self._clock = clock
        self._idle = idle
        self._lifetime = lifetime
        self._max_per_user = max_per_user
        self._max_sessions = max_sessions
        self._secret = secrets.token_bytes(32)
        # By the hash of the cookie: a look at this table cannot be replayed. The order is
        # that of last use.
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def start(self, user: str, fingerprint: str) -> str:
        """Begin a session and return its cookie's value."""
        cookie = secrets.token_urlsafe(32)
        now = self._clock()
        with self._lock:
            self._expire(now)
            own = [key for key, session in self._sessions.items() if session.user == user]
            for key in own[: max(0, len(own) - self._max_per_user + 1)]:
                del self._sessions[key]
            while len(self._sessions) >= self._max_sessions:
                self._sessions.popitem(last=False)
            self._sessions[_key(cookie)] = Session(
                user, fingerprint, secrets.token_urlsafe(32), now, now
            )
        return cookie

    def find(self, cookie: str, *, touch: bool = True) -> Session | None:
        """The session of a cookie's value if it has not ended.

        `touch` counts as use; the page's own requests for news do not.
        """
        now = self._clock()
        with self._lock:
            session = self._sessions.get(_key(cookie))
            if session is None:
                return None
            if self._over(session, now):
                del self._sessions[_key(cookie)]
                return None
            if touch:
                session.used = now
                self._sessions.move_to_end(_key(cookie))
            return session

    def end(self, cookie: str) -> None:
        """End the session of a cookie's value; no-op if there is none."""
        with self._lock:
            self._sessions.pop(_key(cookie), None)

    def __len__(self) -> int:
        return len(self._sessions)

    def form_token(self, nonce: str) -> str:
        """What the login form carries for the browser that has `nonce` as its cookie."""
        return hmac.new(self._secret, nonce.encode("utf-8"), hashlib.sha256).hexdigest()

    def _expire(self, now: float) -> None:
        for key in [key for key, one in self._sessions.items() if self._over(one, now)]:
            del self._sessions[key]

    def _over(self, session: Session, now: float) -> bool:
        return now - session.used >= self._idle or now - session.started >= self._lifetime


def _key(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest()


def same(one: str, other: str) -> bool:
    """Whether two secrets are equal, in a time that does not depend on their contents."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))
