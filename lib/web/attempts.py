"""Limits for failed logins, in bounded memory.

Failures are counted for a user from an address, so that nobody can be locked out from elsewhere,
and for an address, with all users.  Failures of users who are logged in are counted separately, by
user.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

#: Failures within WINDOW seconds, from which on no password is looked at.
USER_LIMIT = 10
ADDRESS_LIMIT = 20
WINDOW = 300.0
#: Counters that are kept; beyond that the one that has been idle longest goes.
MAX_COUNTERS = 4096


# What is counted, and of whom.
_Key = tuple[str, str, str]


@dataclass
class _Counter:
    started: float
    failures: int


class Attempts:
    """Counts failures; thread-safe.  `clock` is monotonic, in seconds."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        user_limit: int = USER_LIMIT,
        address_limit: int = ADDRESS_LIMIT,
        window: float = WINDOW,
        max_counters: int = MAX_COUNTERS,
    ) -> None:
        self._clock = clock
        self._limits = {"user": user_limit, "address": address_limit, "signed in": user_limit}
        self._window = window
        self._max_counters = max_counters
        self._counters: OrderedDict[_Key, _Counter] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, user: str, address: str, *, signed_in: str = "") -> float:
        """Seconds until this user may try from this address; 0 if at once.

        `signed_in` is the user who tries, if that is known.
        """
        now = self._clock()
        with self._lock:
            return max(self._wait(key, now) for key in _keys(user, address, signed_in))

    def failed(self, user: str, address: str, *, signed_in: str = "") -> None:
        """Count a failure of this user from this address."""
        now = self._clock()
        with self._lock:
            for key in _keys(user, address, signed_in):
                counter = self._counters.pop(key, None)
                if counter is None or now - counter.started >= self._window:
                    counter = _Counter(started=now, failures=0)
                counter.failures += 1
                self._counters[key] = counter
            while len(self._counters) > self._max_counters:
                self._counters.popitem(last=False)

    def succeeded(self, user: str, address: str) -> None:
        """Forget a user's failures from an address; those of the address itself are kept."""
        with self._lock:
            self._counters.pop(_user_key(user, address), None)

    def _wait(self, key: _Key, now: float) -> float:
        counter = self._counters.get(key)
        if counter is None or counter.failures < self._limits[key[0]]:
            return 0.0
        return max(0.0, counter.started + self._window - now)


def _keys(user: str, address: str, signed_in: str) -> list[_Key]:
    if signed_in:
        return [("signed in", signed_in, "")]
    return [_user_key(user, address), ("address", network_of(address), "")]


def _user_key(user: str, address: str) -> _Key:
    return ("user", user[:256], network_of(address))


def network_of(address: str) -> str:
    """What counts as one address: all of IPv4's, the first 64 bits of IPv6's.

    >>> network_of("2001:db8::1:2:3:4")
    '2001:db8::'
    """
    try:
        parsed = ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)
    return str(parsed)
