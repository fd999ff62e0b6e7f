"""A Gluster pool as the cluster's logic meets it: its nodes, and the glusterd of each."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ganeti_gluster import __version__
from ganeti_gluster.core.pool.agents import AgentFailed
from ganeti_gluster.core.pool.facts import CandidateFacts, DeviceFacts, PlaceFacts
from ganeti_gluster.core.pool.packages import PackageFacts
from ganeti_gluster.core.pool.tls import NodeTls
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.gluster_cli import (
    BrickHeal,
    BrickStatus,
    GlusterFailed,
    Peer,
    VolumeBrick,
    VolumeInfo,
    VolumeStatus,
)

DIRECTORY = "/srv/b"
ID = "9f7e4e2c-7f3f-4a9e-a6cf-7f1f1f0a5b3d"


def volume(*nodes: str, name: str = "gv0", arbiter: int = 0, **fields: Any) -> VolumeInfo:
    """A started volume with a brick on each of the nodes, by default a copy on each."""
    bricks = tuple(
        VolumeBrick(node, "%s/%s" % (DIRECTORY, name), "uuid-%s" % node, bool(arbiter) and n == 2)
        for n, node in enumerate(nodes)
    )
    usual: dict[str, Any] = {
        "name": name,
        "uuid": ID,
        "state": "Started",
        "kind": "Replicate",
        "replica": len(nodes),
        "arbiter": arbiter,
        "disperse": 0,
        "redundancy": 0,
        "bricks": bricks,
        "options": {},
    }
    return VolumeInfo(**{**usual, **fields})


class GlusterPool:
    """The nodes `members` in one pool, each of which does what it is told.

    It is its own agents and the gluster command of each node.
    """

    def __init__(self, *volumes: VolumeInfo, members: str = "node1 node2 node3") -> None:
        self.there = list(volumes)
        self.members = members.split()
        #: By other names than Ganeti's.
        self.called: dict[str, str] = {}
        #: Members that do not answer.
        self.dead: set[str] = set()
        #: Bricks, by their names, that are not online.
        self.down: set[str] = set()
        #: Nodes that can take a brick at once.
        self.ready = set(self.members)
        self.facts: dict[str, CandidateFacts] = {}
        #: Where something of the volume is left in the place of a brick.
        self.left: set[str] = set()
        #: Nodes without a running glusterd.
        self.stopped: set[str] = set()
        #: How many files each brick is behind with, as a node knows.
        self.behind: dict[str, dict[str, int]] = {}
        #: What each node has of TLS.
        self.tls: dict[str, NodeTls] = {}
        #: What each node's dpkg and apt say of GlusterFS.
        self.packages: dict[str, PackageFacts] = {}
        #: The op-version of the pool, and the highest that all members can.
        self.op_version = self.max_op_version = 110000
        #: The commands and the verbs, as they came.
        self.asked: list[str] = []
        #: What `gluster` says instead of an answer, by the beginning of the command.
        self.refuses: dict[str, str] = {}
        self.node = ""

    # -- the agents ----------------------------------------------------------

    def gluster(self, node: str) -> Any:
        """The gluster command of a node."""
        found = _Gluster(self, node)
        if node in self.dead:
            found.refusal = "SSH does not reach it"
        elif node not in self.members or node in self.stopped:
            found.refusal = "no glusterd answers"
        return found

    def one(self, node: str, verb: str, *, timeout: float = 60, **arguments: Any) -> Any:
        """Have a node do something."""
        answers, errors = self.try_all(verb, {node: arguments})
        if errors:
            raise AgentFailed("cannot %s" % verb, errors)
        return answers[node]

    def all(
        self, verb: str, arguments: Mapping[str, Mapping[str, Any]], *, timeout: float = 60
    ) -> dict[str, Any]:
        """Have nodes do something, all of them."""
        answers, errors = self.try_all(verb, arguments)
        if errors:
            raise AgentFailed("cannot %s" % verb, errors)
        return answers

    def try_all(
        self, verb: str, arguments: Mapping[str, Mapping[str, Any]], *, timeout: float = 60
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Have nodes do something; the answers and the errors."""
        answers: dict[str, Any] = {}
        errors: dict[str, str] = {}
        for node, given in arguments.items():
            try:
                answers[node] = self._do(node, verb, given)
            except GanetiGlusterError as err:
                errors[node] = str(err)
        return answers, errors

    def _do(self, node: str, verb: str, given: Mapping[str, Any]) -> Any:
        if node in self.dead:
            raise GanetiGlusterError("SSH does not reach it: no route")
        self.asked.append("%s %s" % (verb, node))
        done: dict[str, Callable[[], Any]] = {
            "behind": lambda: self.behind.get(node, {}),
            "discard": lambda: self.left.discard(node) or True,
            "end-connections": lambda: None,
            "look": lambda: self.look(node, given.get("device", "")),
            "mounted": lambda: node in self.ready,
            "place": lambda: PlaceFacts(DIRECTORY, volume_id=ID if node in self.left else ""),
            "prepare": lambda: self.ready.add(node) or True,
            "reach": lambda: "no route" if given["server"] in self.dead else "",
            "ready": lambda: node in self.ready,
            "start-glusterd": lambda: self.stopped.discard(node),
            "tls": lambda: self.tls.get(node, NodeTls(problem="missing: /etc/ssl/glusterfs.pem")),
            "request-certificate": lambda: ["request of %s" % given["name"]],
            "install-certificate": lambda: self._install(node, **given),
            "link-certificate": lambda: self._link(node),
            "restart-glusterd": lambda: self._restart(node, **given),
            "packages": lambda: self.packages.get(node, PackageFacts("11.1-6", "11.1-6")),
            "download": lambda: None,
            "upgrade": lambda: self._upgrade(node, **given),
            "renew-clients": lambda: self._renew(node),
            "try-volume": lambda: None,
            "unreadable": list,
        }
        return done[verb]()

    def _install(self, node: str, certificate: str, authorities: str) -> None:
        """A certificate is "NAME ENDS" here, and the authorities are their own digest."""
        name, ends = certificate.split()
        before = self.tls.get(node, NodeTls())
        self.tls[node] = NodeTls(before.management, "", name, float(ends), authorities, stale=True)

    def _link(self, node: str) -> None:
        self.tls[node] = replace(self.tls[node], linked=True)

    def _restart(self, node: str, management: bool | None = None) -> None:
        before = self.tls.get(node, NodeTls())
        wanted = before.management if management is None else management
        self.tls[node] = replace(before, management=wanted, stale=False)
        self.stopped.discard(node)

    def _upgrade(self, node: str, *, version: str, member: bool) -> None:
        before = self.packages[node]
        self.packages[node] = replace(before, version=before.candidate, wanted={}, unfinished=())
        self.stopped.discard(node)

    def _renew(self, node: str) -> None:
        self.packages[node] = replace(self.packages.get(node, PackageFacts()), stale=0)

    def look(self, node: str, device: str = "") -> CandidateFacts:
        """What a node says of itself."""
        everyone = sorted({*self.members, *self.facts, node})
        others = [name for name in self.members if node in self.members and name != node]
        usual = CandidateFacts(
            version="11.1",
            plugin=__version__,
            active=True,
            enabled=True,
            uuid="uuid-%s" % node,
            peers=tuple(others),
            peer_uuids=tuple("uuid-%s" % name for name in others),
            own_addresses=(_address(node), secondary(node)),
            addresses={
                **{name: _address(name) for name in everyone},
                **{secondary(name): secondary(name) for name in everyone},
            },
            names={_address(name): name for name in everyone},
            reach=dict.fromkeys(everyone, ""),
            has_mkfs=True,
            place=PlaceFacts(
                DIRECTORY, True, True, "xfs", "/dev/vdb1", size=1 << 40, free=1 << 40
            ),
            device=DeviceFacts(device, True, True, 1 << 40) if device else None,
        )
        return self.facts.get(node, usual)

    def peers(self, node: str) -> list[Peer]:
        """The members as this one sees them."""
        return [
            Peer(
                "uuid-%s" % name,
                (self.called.get(name, name),),
                name not in self.dead | self.stopped,
                3,
                "Peer in Cluster",
            )
            for name in self.members
            if name != node
        ]

    def command(self, words: tuple[str, ...]) -> str:
        """Do what a gluster command says; its answer."""
        line = " ".join(words)
        self.asked.append(line)
        for start, reason in self.refuses.items():
            if line.startswith(start):
                raise GlusterFailed(words, reason)
        if words[:2] == ("peer", "detach"):
            self.members.remove(words[2])
        if words[:2] == ("volume", "replace-brick"):
            self._replace(words[2], words[3], words[4])
        if words[:2] == ("volume", "add-brick"):
            self._add(words[2], words[3:])
        if words[:2] == ("volume", "start"):
            self.down.clear()
        if words[:2] in (("volume", "set"), ("volume", "reset")):
            self._set(words[1], words[2], words[3:])
        return "<cliOutput><opRet>0</opRet></cliOutput>"

    def _replace(self, name: str, old: str, new: str) -> None:
        self.there = [
            replace(
                found,
                bricks=tuple(_brick(new) if str(b) == old else b for b in found.bricks),
            )
            if found.name == name
            else found
            for found in self.there
        ]

    def _set(self, verb: str, name: str, words: tuple[str, ...]) -> None:
        if words[0] == "cluster.op-version":
            self.op_version = int(words[1])
            return
        (found,) = [each for each in self.there if each.name == name]
        options = dict(found.options)
        if verb == "set":
            options.update(zip(words[::2], words[1::2], strict=True))
        else:
            del options[words[0]]
        self.there[self.there.index(found)] = replace(found, options=options)

    def _add(self, name: str, bricks: tuple[str, ...]) -> None:
        self.there = [
            replace(found, bricks=(*found.bricks, *map(_brick, bricks)))
            if found.name == name
            else found
            for found in self.there
        ]


def _address(node: str) -> str:
    """Node1 and node1.example.org have 192.0.2.1."""
    return "192.0.2.%s" % node.partition(".")[0][-1]


def secondary(node: str) -> str:
    """The secondary address of node1 is 198.51.100.1."""
    return "198.51.100.%s" % node.partition(".")[0][-1]


def _brick(text: str) -> VolumeBrick:
    server, _, path = text.partition(":")
    node = "node%s" % server[-1] if server.startswith("198.51.100.") else server
    return VolumeBrick(server, path, "uuid-%s" % node)


class _Gluster:
    """The gluster command of one node."""

    def __init__(self, pool: GlusterPool, node: str) -> None:
        self._pool = pool
        self._node = node
        self.refusal = ""

    def _look(self) -> None:
        if self.refusal:
            raise GlusterFailed(["pool", "list"], self.refusal)

    def own_uuid(self) -> str:
        self._look()
        return "uuid-%s" % self._node

    def peers(self) -> list[Peer]:
        self._look()
        return self._pool.peers(self._node)

    def volumes(self) -> list[VolumeInfo]:
        self._look()
        return list(self._pool.there)

    def volume(self, name: str) -> VolumeInfo | None:
        return next((found for found in self.volumes() if found.name == name), None)

    def op_versions(self) -> tuple[int, int]:
        self._look()
        return self._pool.op_version, self._pool.max_op_version

    def status(self, name: str) -> VolumeStatus:
        self._pool.command(("volume", "status", name))
        found = self.volume(name)
        return VolumeStatus(
            name,
            tuple(
                BrickStatus(b.server, b.path, b.server_uuid, str(b) not in self._pool.down, 1, 1)
                for b in (found.bricks if found else ())
                if b.server not in self._pool.dead
            ),
            (),
        )

    def heal_counts(self, name: str, *, timeout: float) -> list[BrickHeal]:
        self._pool.command(("volume", "heal", name, "info", "summary"))
        return []

    def ask(self, *words: str, timeout: float = 0) -> ET.Element:
        self._look()
        return ET.fromstring(self._pool.command(words))
