"""The Gluster pool: peers and volumes, made with the real commands."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from functools import partial

from .errors import TestbedError, UnexpectedExit
from .layout import BRICK_MOUNT
from .node import Node

COMMAND_SECONDS = 120
READY_SECONDS = 60

VIRT_GROUP = "/var/lib/glusterd/groups/virt"

# For VM images, on top of the packaged `virt` group.  Not all fit all volumes:
# see `volume_options`.
OPTIONS = {
    "performance.strict-o-direct": "on",
    "network.remote-dio": "disable",
    "network.ping-timeout": "20",
    "client.strict-locks": "on",
    "client.tcp-user-timeout": "20",
    "cluster.lookup-optimize": "off",
    "cluster.force-migration": "off",
    "performance.parallel-readdir": "off",
    "performance.resync-failed-syncs-after-fsync": "on",
    "storage.reserve": "5",
    "features.shard-block-size": "64MB",
}
REPLICA_OPTIONS = {
    "cluster.quorum-type": "auto",
    "cluster.server-quorum-type": "server",
    "cluster.favorite-child-policy": "none",
    "cluster.granular-entry-heal": "enable",
    "cluster.heal-timeout": "60",
}


def gluster(node: Node, *arguments: str, timeout: float = COMMAND_SECONDS) -> ElementTree.Element:
    """Run `gluster` on a node and return its XML; opRet counts, not the exit code alone."""
    argv = ["gluster", "--mode=script", "--xml", *arguments]
    done = node.run(argv, timeout=timeout, check=False)
    try:
        answer = ElementTree.fromstring(done.stdout)
    except ElementTree.ParseError as err:
        raise UnexpectedExit(done) from err
    if done.exit_code or answer.findtext("opRet") != "0":
        raise TestbedError(
            "%s: gluster %s: %s"
            % (node.name, " ".join(arguments), answer.findtext("opErrstr") or done.describe())
        )
    return answer


def create_arguments(volume: str, replica: int, servers: Sequence[str]) -> list[str]:
    """The `gluster volume create` of a volume with one brick on each server."""
    shape = ["replica", str(replica)] if replica > 1 else []
    bricks = ["%s:%s/%s" % (server, BRICK_MOUNT, volume) for server in servers]
    # replica 2 asks for confirmation, which only `force` gives
    return ["volume", "create", volume, *shape, *bricks, *(["force"] if replica == 2 else [])]


def volume_options(replica: int) -> dict[str, str]:
    """The options for a volume of this shape."""
    return {**OPTIONS, **(REPLICA_OPTIONS if replica > 1 else {})}


def unreplicated_options(group: str) -> dict[str, str]:
    """The options of a group file that glusterd takes for a volume without copies.

    It refuses the whole group there, for the options of self-heal and quorum.
    """
    pairs = (line.partition("=") for line in group.splitlines() if "=" in line)
    return {
        key.strip(): value.strip() for key, _, value in pairs if not key.startswith("cluster.")
    }


def connected_peers(answer: ElementTree.Element) -> set[str]:
    """The host names of the peers that are connected, from `pool list`."""
    return {
        peer.findtext("hostname", "")
        for peer in answer.iter("peer")
        if peer.findtext("connected") == "1"
    }


def offline_bricks(answer: ElementTree.Element) -> list[str]:
    """The bricks without a running process, from `volume status VOL`."""
    return [
        "%s:%s" % (part.findtext("hostname"), part.findtext("path"))
        for part in answer.iter("node")
        if (part.findtext("path") or "").startswith("/") and part.findtext("status") != "1"
    ]


def _sees(node: Node, servers: int) -> bool:
    """Whether a node's glusterd is connected to as many servers, itself among them."""
    return len(connected_peers(gluster(node, "pool", "list", timeout=15))) >= servers


def _answers(node: Node) -> bool:
    return _sees(node, 0)


def wait_glusterd(nodes: Sequence[Node]) -> None:
    """Wait until glusterd answers on every node."""
    for node in nodes:
        _until(partial(_answers, node), "glusterd on %s answers" % node.name)


def join(nodes: Sequence[Node]) -> None:
    """Make one trusted pool of the nodes, and wait until all see all."""
    wait_glusterd(nodes)
    first = nodes[0]
    for node in nodes[1:]:
        gluster(first, "peer", "probe", node.name)
    if len(nodes) > 1:
        # A probe from the other side is what tells the others the first one's name.
        gluster(nodes[1], "peer", "probe", first.name)
    for node in nodes:
        _until(partial(_sees, node, len(nodes)), "%s sees all peers" % node.name)


def create_volume(nodes: Sequence[Node], volume: str, replica: int) -> None:
    """Create, tune and start a volume over `nodes`, one brick each."""
    first = nodes[0]
    gluster(first, *create_arguments(volume, replica, [node.name for node in nodes]))
    options = volume_options(replica)
    if replica > 1:
        gluster(first, "volume", "set", volume, "group", "virt")
    else:
        group = first.run(["cat", VIRT_GROUP], timeout=15).stdout
        options = {**unreplicated_options(group), **options}
    gluster(first, "volume", "set", volume, *[word for pair in options.items() for word in pair])
    gluster(first, "volume", "start", volume)
    wait_online(first, volume)


def wait_online(node: Node, volume: str) -> None:
    """Wait until every brick of the volume runs."""
    _until(
        lambda: not offline_bricks(gluster(node, "volume", "status", volume)),
        "all bricks of %s are online" % volume,
    )


def remove_volume(node: Node, volume: str) -> None:
    """Stop and delete a volume; the bricks' directories stay."""
    gluster(node, "volume", "stop", volume, "force")
    gluster(node, "volume", "delete", volume)


def _until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + READY_SECONDS
    last = ""
    while time.monotonic() < end:
        try:
            if condition():
                return
        except TestbedError as err:
            last = str(err)
        time.sleep(0.1)
    raise TestbedError("not within %d s: %s%s" % (READY_SECONDS, what, last and " (%s)" % last))
