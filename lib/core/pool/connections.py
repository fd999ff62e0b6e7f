"""This node's connections to the glusterd of others."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence

from ganeti_gluster.tools import command, names

#: Seconds for `ss`.
SHORT = 20.0


def end(servers: Sequence[str]) -> None:
    """End the TCP connections from or to the glusterd of these servers."""
    for address in sorted(_addresses(servers)):
        # It says what it could not end, as a connection that is not there yet.
        command.run(argv(address), timeout=SHORT, check=False)


def argv(address: str) -> list[str]:
    """The command that ends those of one address, whichever end began; see ss(8)."""
    host = "[%s]" % address if ":" in address else address
    port = ":%d" % names.DEFAULT_PORT
    either = ["(", "dport", "=", port, "or", "sport", "=", port, ")"]
    return ["ss", "--kill", "--tcp", "dst", host, *either]


def _addresses(servers: Sequence[str]) -> set[str]:
    addresses: set[str] = set()
    for server in servers:
        with contextlib.suppress(OSError, UnicodeError):
            for answer in socket.getaddrinfo(server, None, type=socket.SOCK_STREAM):
                addresses.add(str(answer[4][0]))
    return addresses
