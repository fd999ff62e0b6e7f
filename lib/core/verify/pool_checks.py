"""Checks that compare nodes with each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ganeti_gluster.core.verify import facts as f
from ganeti_gluster.core.verify.finding import Finding


def check_pool(nodes: Mapping[str, f.NodeFacts]) -> Iterator[Finding]:
    """What a comparison of the facts of all nodes shows."""
    yield from _differing(
        "PLUGIN_VERSION",
        "the package's version",
        {name: node.plugin.get("version", "") for name, node in nodes.items()},
    )
    yield from _differing(
        "OP_VERSION_MIXED",
        "GlusterFS's release",
        {name: node.glusterfs for name, node in nodes.items()},
    )
    yield from check_op_version(nodes)
    yield from check_membership(nodes)
    yield from check_configuration(nodes)
    yield from check_sectors(nodes)
    yield from check_tls(nodes)


def check_op_version(nodes: Mapping[str, f.NodeFacts]) -> Iterator[Finding]:
    """What all members could do and the pool does not, said once."""
    low: dict[tuple[int, int], list[str]] = {}
    for name, node in sorted(nodes.items()):
        if 0 < node.op_version < node.max_op_version:
            low.setdefault((node.op_version, node.max_op_version), []).append(name)
    for (now, most), names in sorted(low.items()):
        yield Finding.of(
            "OP_VERSION_LOW",
            ", ".join(names),
            "the op-version of the pool is %d, but all members support %d" % (now, most),
            value=most,
        )


def check_membership(nodes: Mapping[str, f.NodeFacts]) -> Iterator[Finding]:
    """Nodes whose glusterd runs beside the pool that has the cluster's volumes."""
    running = {name: node for name, node in nodes.items() if node.glusterd == f.RUNNING}
    members: set[str] = set()
    known: dict[str, str] = {}
    for node in running.values():
        if node.volumes:
            members.update((node.uuid, *(peer.uuid for peer in node.peers)))
            known.update({name: peer.uuid for peer in node.peers for name in peer.names})
    if not members:
        return
    for name, node in sorted(running.items()):
        if node.uuid not in members:
            text = "its glusterd has no peers in the pool"
            if name in known:
                text += ", which knows the node by UUID %s" % known[name]
            yield Finding.of("NODE_OUTSIDE_POOL", name, text, node=name)


def check_sectors(nodes: Mapping[str, f.NodeFacts]) -> Iterator[Finding]:
    """Bricks of a volume on disks with different sectors."""
    volumes: dict[str, list[f.BrickPlace]] = {}
    for node in nodes.values():
        for brick in node.bricks:
            if brick.sound and brick.sector:
                volumes.setdefault(brick.volume, []).append(brick)
    for bricks in volumes.values():
        least = min(brick.sector for brick in bricks)
        for brick in bricks:
            if brick.sector > least:
                text = "its disk has sectors of %d bytes, while others have %d"
                yield Finding.of(
                    "BRICK_SECTORS", brick.name, text % (brick.sector, least), bytes=least
                )


def check_configuration(nodes: Mapping[str, f.NodeFacts]) -> Iterator[Finding]:
    """Which node has another configuration of a volume than most, where peers are rejected.

    Where there is no majority nothing is said: nobody knows then which one is right.
    """
    volumes = sorted({volume for node in nodes.values() for volume in node.checksums})
    for volume in volumes:
        told = {
            name: node.checksums[volume]
            for name, node in sorted(nodes.items())
            if volume in node.checksums
        }
        usual, count = Counter(told.values()).most_common(1)[0]
        if 2 * count <= len(told):
            continue
        right = ", ".join(name for name, checksum in told.items() if checksum == usual)
        for name, checksum in told.items():
            if checksum != usual:
                yield Finding.of(
                    "VOLUME_CONFIG",
                    name,
                    "its configuration of volume %s differs from that on %s" % (volume, right),
                )


def check_tls(nodes: Mapping[str, f.NodeFacts]) -> Iterator[Finding]:
    """TLS of the management connections, which all members use or none."""
    members = {name: node for name, node in nodes.items() if node.glusterd != f.ABSENT}
    with_tls = sorted(name for name, node in members.items() if node.tls.management)
    without = sorted(set(members) - set(with_tls))
    if with_tls and without:
        yield Finding.of(
            "TLS_INCONSISTENT",
            ", ".join(without),
            "no secure-access here, while %s %s it"
            % (", ".join(with_tls), "has" if len(with_tls) == 1 else "have"),
        )
    yield from _differing(
        "TLS_INCONSISTENT",
        "glusterfs.ca",
        {
            name: node.tls.authorities[:12]
            for name, node in nodes.items()
            if node.tls.management and node.tls.authorities
        },
    )


def _differing(code: str, what: str, values: Mapping[str, Any]) -> Iterator[Finding]:
    """A finding for those nodes whose value is not that of most others."""
    told = {name: str(value) for name, value in values.items() if value}
    if len(set(told.values())) < 2:
        return
    usual = max(sorted(set(told.values())), key=list(told.values()).count)
    for name in sorted(told):
        if told[name] != usual:
            yield Finding.of(code, name, "%s is %s, elsewhere %s" % (what, told[name], usual))
