"""Whether nodes can become a pool: facts in, sentences out."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ganeti_gluster.core.pool.facts import CandidateFacts, DeviceFacts, PlaceFacts

#: Seconds by which clocks may differ: the answer's way is within the measure.
CLOCK_SECONDS = 10.0
#: By which share of the largest brick the smallest may be smaller without a word.
SIZE_SHARE = 0.1
GIB = 1 << 30

_FILE_SYSTEMS = ("xfs", "ext4", "btrfs", "zfs")


@dataclass(frozen=True)
class Problem:
    """A problem; `force` says whether --force ignores it.

    Without `blocks` it is for information only.
    """

    node: str
    text: str
    hint: str = ""
    force: bool = False
    blocks: bool = True

    def __str__(self) -> str:
        return "%s: %s%s" % (self.node, self.text, "; %s" % self.hint if self.hint else "")


def check(
    facts: Mapping[str, CandidateFacts],
    *,
    bricks: Sequence[str],
    volume: str,
    volume_id: str = "",
    plugin: str = "",
    wipe: bool = False,
    hosts: Mapping[str, str] | None = None,
) -> list[Problem]:
    """What is wrong with the nodes; `bricks` names those that are to have a brick.

    `volume_id` is the UUID of the volume where it exists already, whose bricks are
    no obstacle.  `hosts` is what nodes are called in the pool, where that is not their name.
    """
    owners = {(hosts or {}).get(node, node): seen for node, seen in facts.items()}
    problems: list[Problem] = []
    for node, seen in facts.items():
        problems += _glusterd(node, seen)
        problems += _network(node, seen, owners)
        if plugin and seen.plugin != plugin:
            problems.append(
                Problem(
                    node,
                    "ganeti-gluster %s is installed there, but %s here" % (seen.plugin, plugin),
                    "install the same version on all nodes",
                )
            )
        if abs(seen.clock) > CLOCK_SECONDS:
            problems.append(
                Problem(
                    node,
                    "its clock differs from the master's by %d s" % round(abs(seen.clock)),
                    "synchronise the clocks (chrony, systemd-timesyncd)",
                    force=True,
                )
            )
    problems += _versions(facts)
    problems += _strangers(facts)
    for node in bricks:
        seen = facts[node]
        if seen.device:
            problems += _device(node, seen.device, seen, wipe=wipe)
        if not seen.device or seen.device.mounted_at == seen.place.path:
            problems += _place(node, seen.place, volume, volume_id)
    problems += _sizes({node: facts[node] for node in bricks})
    with_bricks = [node for node, seen in facts.items() if seen.place.volume_id]
    problems += _sectors({node: facts[node] for node in dict.fromkeys([*with_bricks, *bricks])})
    return problems


def _glusterd(node: str, seen: CandidateFacts) -> Iterator[Problem]:
    if not seen.version:
        yield Problem(node, "glusterd is not installed", "apt-get install glusterfs-server")
    elif not seen.active:
        yield Problem(node, "glusterd does not answer", "systemctl enable --now glusterd")
    elif not seen.enabled:
        yield Problem(node, "glusterd does not start at boot", "systemctl enable glusterd")


def _network(
    node: str, seen: CandidateFacts, owners: Mapping[str, CandidateFacts]
) -> Iterator[Problem]:
    """Of the others by what they are called in the pool, a name or an address."""
    for other, address in seen.addresses.items():
        if not address:
            yield Problem(
                node, "the name %s does not resolve there" % other, "check /etc/hosts and DNS"
            )
        elif ipaddress.ip_address(address.partition("%")[0]).is_loopback:
            yield Problem(
                node,
                "the name %s is a loopback address there (%s), which Gluster refuses"
                % (other, address),
                "remove it from the line of %s in /etc/hosts" % address,
            )
        elif other in owners and address not in owners[other].own_addresses:
            yield Problem(
                node,
                "the name %s resolves to %s there, which is not an address of that node"
                % (other, address),
                "check /etc/hosts and DNS",
            )
        elif other != address and seen.names.get(address, "").split(".")[0] != other.split(".")[0]:
            yield Problem(
                node,
                "the address %s of %s resolves back to %s there"
                % (address, other, seen.names.get(address) or "nothing"),
                blocks=False,
            )
    for other, reason in seen.reach.items():
        if reason and owners.get(other, seen).active and seen.addresses.get(other):
            yield Problem(
                node,
                "port 24007 of %s cannot be reached from there: %s" % (other, reason),
                "open TCP ports 24007 and 49152 to 60999 between the nodes",
            )


def _versions(facts: Mapping[str, CandidateFacts]) -> Iterator[Problem]:
    by_version: dict[str, list[str]] = {}
    for node, seen in facts.items():
        if seen.version:
            by_version.setdefault(seen.version, []).append(node)
    if len(by_version) > 1:
        said = ", ".join(
            "%s on %s" % (version, " ".join(nodes)) for version, nodes in by_version.items()
        )
        yield Problem(
            "pool", "the nodes have different versions of GlusterFS: %s" % said, force=True
        )


def anchor(facts: Mapping[str, CandidateFacts], preferred: str) -> str:
    """The node that the others join: one that has a pool or volumes, else `preferred`."""
    pooled = [node for node, seen in facts.items() if seen.peers]
    serving = [node for node, seen in facts.items() if seen.volumes]
    for names in (pooled, serving):
        if names:
            return preferred if preferred in names else names[0]
    return preferred if preferred in facts else next(iter(facts))


def _strangers(facts: Mapping[str, CandidateFacts]) -> Iterator[Problem]:
    """Members of another pool, and servers with volumes, cannot be taken in."""
    first = anchor(facts, "")
    pool = {facts[first].uuid, *facts[first].peer_uuids}
    for node, seen in facts.items():
        if seen.unsound_peers:
            yield Problem(
                node,
                "some members of its pool are unhealthy: %s" % ", ".join(seen.unsound_peers),
                "see gluster peer status",
                force=True,
            )
        if not seen.uuid or seen.uuid in pool:
            continue
        if seen.peers:
            yield Problem(
                node,
                "it is a member of another pool, with %s" % ", ".join(seen.peers),
                "remove it from that pool first: gluster peer detach %s" % node,
            )
        elif seen.volumes:
            yield Problem(
                node,
                "it has volumes of its own and cannot join the pool of %s: %s"
                % (first, ", ".join(seen.volumes)),
            )


def of_device(node: str, seen: CandidateFacts, *, wipe: bool) -> list[Problem]:
    """What is wrong with the device that a node is to have its bricks on."""
    return list(_device(node, seen.device, seen, wipe=wipe)) if seen.device else []


def _device(
    node: str, device: DeviceFacts, seen: CandidateFacts, *, wipe: bool
) -> Iterator[Problem]:
    if not device.exists:
        yield Problem(node, "%s does not exist" % device.path)
    elif not device.is_block:
        yield Problem(node, "%s is not a block device" % device.path)
    elif device.mounted_at == seen.place.path:
        return
    elif device.mounted_at:
        yield Problem(node, "%s is mounted at %s" % (device.path, device.mounted_at))
    elif device.busy:
        yield Problem(node, "%s is in use" % device.path, "see lsblk %s" % device.path)
    elif seen.place.holds_something:
        yield Problem(
            node,
            "%s contains files, which mounting %s there would hide"
            % (seen.place.path, device.path),
            "move them away, or choose another --brick-dir",
        )
    elif device.signatures and not (device.ours or device.interrupted or wipe):
        yield Problem(
            node,
            "%s contains data: %s" % (device.path, ", ".join(device.signatures)),
            "use --wipe to format it anyway; all data on it is lost",
        )
    elif not seen.has_mkfs:
        yield Problem(node, "mkfs.xfs is missing", "apt-get install xfsprogs")


def _place(node: str, place: PlaceFacts, volume: str, volume_id: str) -> Iterator[Problem]:
    brick = "%s/%s" % (place.path, volume)
    if not place.exists:
        yield Problem(
            node, "there is no directory %s" % place.path, "create it, or use --brick-device"
        )
        return
    if not place.own_file_system:
        yield Problem(
            node,
            "%s is on the root file system: a full brick would stop the node" % place.path,
            "mount a separate file system there, or use --brick-device",
            force=True,
        )
    elif place.file_system not in _FILE_SYSTEMS:
        yield Problem(
            node,
            "%s is on %s, which is not one of %s"
            % (
                place.path,
                place.file_system or "an unknown file system",
                ", ".join(_FILE_SYSTEMS),
            ),
            force=True,
        )
    if place.read_only:
        yield Problem(node, "%s is mounted read-only" % place.path)
    if place.inside:
        yield Problem(node, "%s is within a brick: %s" % (place.path, place.inside))
    if volume_id and place.volume_id == volume_id:
        return
    if place.volume_id:
        yield Problem(
            node,
            "%s is a brick of the volume with UUID %s" % (brick, place.volume_id),
            "if that volume no longer exists, remove the directory",
        )
    elif place.entries:
        yield Problem(
            node,
            "%s is not empty: %s" % (brick, ", ".join(place.entries)),
            "choose another directory",
        )


def _sectors(facts: Mapping[str, CandidateFacts]) -> Iterator[Problem]:
    """Requests that fit the smaller sectors would fail on the bricks with the larger ones."""
    sectors = {
        node: seen.device.sector if seen.device else seen.place.sector
        for node, seen in facts.items()
    }
    told = {node: size for node, size in sectors.items() if size}
    for node, size in told.items():
        if size > min(told.values()):
            yield Problem(
                node,
                "its disk has sectors of %d bytes, while others have %d"
                % (size, min(told.values())),
                "use disks with the same sectors for all bricks",
            )


def _sizes(facts: Mapping[str, CandidateFacts]) -> Iterator[Problem]:
    sizes = {
        node: seen.device.size if seen.device else seen.place.size for node, seen in facts.items()
    }
    known = [size for size in sizes.values() if size]
    if known and min(known) < (1 - SIZE_SHARE) * max(known):
        smallest = min((size, node) for node, size in sizes.items() if size)
        yield Problem(
            smallest[1],
            "its brick is the smallest (%.1f GiB, while the largest has %.1f), which limits the"
            " size of its brick set" % (smallest[0] / GIB, max(known) / GIB),
            blocks=False,
        )
