"""The information that an eviction needs: hosts of the bricks, addresses of the nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ganeti import ssconf

from ganeti_gluster.cmdlib import evict
from ganeti_gluster.cmdlib.cluster import SshChannel
from ganeti_gluster.cmdlib.evict import BrickHost, EvictedNode
from ganeti_gluster.core.pool.hosts import node_of
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.storage import node_names
from ganeti_gluster.tools.gluster_cli import Gluster, status
from ganeti_gluster.tools.gluster_cli.status import BrickStatus


def addresses_of(store: ssconf.SimpleStore) -> dict[str, tuple[str, ...]]:
    """The addresses of each node, primary and secondary."""
    by_name: dict[str, dict[str, None]] = {}
    for line in (*store.GetNodePrimaryIPList(), *store.GetNodeSecondaryIPList()):
        name, address = line.split()
        by_name.setdefault(name, {})[address] = None
    return {name: tuple(addresses) for name, addresses in by_name.items()}


def hosts_of(
    bricks: Sequence[BrickStatus], addresses: Mapping[str, Sequence[str]]
) -> list[BrickHost]:
    """Where the bricks that run are, each host once, with the node that it is in Ganeti."""
    ports: dict[str, list[int]] = {}
    for brick in bricks:
        if brick.online and brick.port:
            ports.setdefault(brick.server, []).append(brick.port)
    return [
        BrickHost(host, node_of([host], addresses), tuple(numbers))
        for host, numbers in ports.items()
    ]


def take_from(node: str, images: Sequence[tuple[VolumeSpec, str]]) -> None:
    """Take images from a node; raises `evict.NotEvicted`."""
    addresses = addresses_of(ssconf.SimpleStore())
    channel = SshChannel()
    for spec, path in images:
        answer = Gluster().ask(*status.words(spec.name))
        bricks = status.parse(answer, spec.name).bricks
        holder = EvictedNode(node, addresses.get(node, ()), here=node == node_names.own())
        evict.evict(spec, path, holder, hosts_of(bricks, addresses), channel)
