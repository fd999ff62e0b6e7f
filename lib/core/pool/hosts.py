"""Which node of Ganeti a host is that GlusterFS knows by a name or an address of its own.

A pool may have been built by hand with nodes' secondary addresses, with other names for them
(as `node1-gl` in /etc/hosts), or with literal addresses.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping, Sequence

#: The addresses of each node, by its name: the primary one, and a secondary one if it has one.
Addresses = Mapping[str, Sequence[str]]

#: The networks of a cluster: that of the nodes' names, and that of their secondary addresses.
PRIMARY, STORAGE = "primary", "storage"
NETWORKS = (PRIMARY, STORAGE)


def secondary(addresses: Sequence[str]) -> str:
    """The secondary address of a node, "" if it has none of its own."""
    return addresses[1] if len(addresses) > 1 else ""


def host_in(network: str, node: str, addresses: Addresses) -> str:
    """What a node is called in a network: its name, or its secondary address if it has one."""
    return (network == STORAGE and secondary(addresses.get(node, ()))) or node


def resolve(host: str) -> set[str]:
    """The addresses of a host, none where its name is not known."""
    try:
        return {str(answer[4][0]) for answer in socket.getaddrinfo(host, None)}
    except OSError:
        return set()


def node_of(
    hosts: Iterable[str],
    addresses: Addresses,
    *,
    resolve: Callable[[str], set[str]] = resolve,
) -> str:
    """The node that is called by one of these names or addresses, "" if none is.

    Names are resolved only where none of them is a node's own name or address.
    """
    given = set(hosts)
    for name, own in addresses.items():
        if name in given or given & set(own):
            return name
    known: set[str] = set()
    for host in given:
        known |= resolve(host)
    return next((name for name, own in addresses.items() if known & set(own)), "")
