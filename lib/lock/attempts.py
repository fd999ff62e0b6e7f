"""Connections of this process that are not made for too long: given up, to be tried anew.

The kernel repeats the first packet of a connection after 1, 2, 4, 8 … seconds, and
GlusterFS 11.1 lets it go on for two minutes: the client of a machine that was off for
40 s came back 30 s after that machine.  What is shut down is tried anew in 3 s.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time

#: Seconds that a connection may take.
_PATIENCE = 4.0
_TCP_SYN_SENT = 2
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


class Attempts:
    """The attempts seen so far; to be looked at again and again."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def give_up_old(self) -> int:
        """Shut down the connections that are being made for too long; how many."""
        now = time.monotonic()
        since: dict[str, float] = {}
        count = 0
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                found = os.readlink("/proc/self/fd/" + name)
                if not found.startswith("socket:"):
                    continue
                # Of a copy, which stays the same socket until it is closed here.
                with socket.socket(fileno=os.dup(int(name))) as copy:
                    if not _is_attempt(copy):
                        continue
                    since[found] = self._since.get(found, now)
                    if now - since[found] > _PATIENCE:
                        copy.shutdown(socket.SHUT_RDWR)
                        count += 1
        self._since = since
        return count


def _is_attempt(found: socket.socket) -> bool:
    if found.family not in _FAMILIES or found.type != socket.SOCK_STREAM:
        return False
    return found.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_SYN_SENT
