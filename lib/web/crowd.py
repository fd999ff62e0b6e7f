"""Limits for connections: of one address, and of all together.

For a further connection the oldest one is closed, which is the slowest: a browser's request takes
milliseconds, and others from the same address are not affected.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

from ganeti_gluster.web.attempts import network_of

C = TypeVar("C")

#: Connections of one address (of IPv6, its /64); browsers open six.
PER_ADDRESS = 16
#: Connections in all; each costs a descriptor, of which there are 1024 as a rule.
IN_ALL = 256


class Crowd(Generic[C]):
    """The connections that are open, by their addresses; thread-safe."""

    def __init__(self, *, per_address: int = PER_ADDRESS, in_all: int = IN_ALL) -> None:
        self._per_address = per_address
        self._in_all = in_all
        self._lock = threading.Lock()
        # The oldest first.
        self._open: dict[str, OrderedDict[C, None]] = {}
        self._count = 0

    def enter(self, connection: C, address: str) -> C | None:
        """Take one more; returns the one that has to go for it, which counts no more."""
        network = network_of(address)
        with self._lock:
            gone = None
            if len(self._open.get(network, ())) >= self._per_address:
                gone = self._pop(network)
            elif self._count >= self._in_all:
                gone = self._pop(max(self._open, key=lambda each: len(self._open[each])))
            # Anew: it may have been the last one of this address that went.
            self._open.setdefault(network, OrderedDict())[connection] = None
            self._count += 1
        return gone

    def renew(self, connection: C, address: str) -> None:
        """This one has begun with something new, and is the youngest."""
        with self._lock:
            own = self._open.get(network_of(address))
            if own is not None and connection in own:
                own.move_to_end(connection)

    def leave(self, connection: C, address: str) -> None:
        """This one is closed; no-op if it counts no more."""
        network = network_of(address)
        with self._lock:
            own = self._open.get(network)
            if own is None or connection not in own:
                return
            del own[connection]
            self._count -= 1
            if not own:
                del self._open[network]

    def __len__(self) -> int:
        return self._count

    def _pop(self, network: str) -> C:
        own = self._open[network]
        connection, _ = own.popitem(last=False)
        self._count -= 1
        if not own:
            del self._open[network]
        return connection
