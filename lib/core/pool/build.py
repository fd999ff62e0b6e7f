"""From nodes with a running glusterd to a started volume that all of them reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from ganeti_gluster.core.pool import profile
from ganeti_gluster.core.pool.agents import Agents
from ganeti_gluster.core.pool.place import FORMAT_SECONDS
from ganeti_gluster.core.pool.shape import Shape
from ganeti_gluster.core.pool.steps import Say, Step, wait
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.gluster_cli import Gluster, Peer, VolumeInfo

PEER_SECONDS = 90
BRICK_SECONDS = 90
VIRT = "virt"


@dataclass(frozen=True)
class PoolLayout:
    """What is built: `nodes` have a brick each, in the order of the sets.

    `spares` have the place for one only.  `clients` are further nodes that must reach
    the volume.  `device` is "" where the directory is there already; `owner` is QEMU's
    user and group; `anchor` is the node whose gluster command is used.  `existing` are
    the bricks of a volume that there is, which may have been extended since.  `wiped` is what
    the nodes' devices hold that is lost.  `hosts` is what nodes are called in the pool, where
    that is not their name.
    """

    volume: str
    shape: Shape
    nodes: tuple[str, ...]
    directory: str
    anchor: str
    device: str = ""
    spares: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    owner: tuple[int, int] | None = None
    wipe: bool = False
    force: bool = False
    existing: tuple[str, ...] = ()
    wiped: Mapping[str, Sequence[str]] = field(default_factory=dict)
    hosts: Mapping[str, str] = field(default_factory=dict)

    @property
    def members(self) -> tuple[str, ...]:
        """The nodes of the pool, those that others join first."""
        others = [node for node in (*self.nodes, *self.spares) if node != self.anchor]
        return (self.anchor, *others)

    @property
    def peers(self) -> dict[str, str]:
        """What each member is called, in their order."""
        return {node: self.hosts.get(node, node) for node in self.members}

    @property
    def servers(self) -> list[str]:
        """What the nodes with bricks are called."""
        return [self.hosts.get(node, node) for node in self.nodes]

    @property
    def bricks(self) -> list[str]:
        """The bricks as the gluster command expects them."""
        return list(self.existing) or ["%s:%s" % (server, self.brick) for server in self.servers]

    @property
    def brick(self) -> str:
        """The path of the volume's brick on a node."""
        return "%s/%s" % (self.directory, self.volume)


def file_system_step(
    agents: Agents, node: str, device: str, directory: str, wiped: Sequence[str], *, wipe: bool
) -> Step:
    """Format a device and mount it, unless it is; `wiped` is what it holds that is lost."""
    lost = ", in place of %s" % ", ".join(wiped) if wiped else ""
    return Step(
        "%s: file system on %s at %s%s" % (node, device, directory, lost),
        lambda: bool(agents.one(node, "mounted", directory=directory, device=device)),
        lambda: agents.one(
            node,
            "prepare",
            timeout=FORMAT_SECONDS,
            directory=directory,
            device=device,
            wipe=wipe,
        ),
    )


class VolumeDiffers(GanetiGlusterError):
    """There is a volume of this name, and it is not what is wanted."""


class Build:
    """The steps to a volume; holds the layout and the agents of the nodes."""

    def __init__(self, layout: PoolLayout, agents: Agents, say: Say) -> None:
        self._layout = layout
        self._agents = agents
        self._say = say

    def steps(self) -> list[Step]:
        """All of them, in order."""
        layout = self._layout
        steps = []
        if layout.device:
            for node in (*layout.nodes, *layout.spares):
                steps.append(
                    file_system_step(
                        self._agents,
                        node,
                        layout.device,
                        layout.directory,
                        layout.wiped.get(node, ()),
                        wipe=layout.wipe,
                    )
                )
        return [
            *steps,
            Step("pool of %s" % ", ".join(layout.peers.values()), self._is_joined, self._join),
            Step(
                "volume %s, %s, on %s" % (layout.volume, layout.shape, ", ".join(layout.bricks)),
                self._is_created,
                self._create,
            ),
            Step("options for VM images", self._is_tuned, self._tune),
            Step("volume %s started" % layout.volume, self._is_started, self._start),
            Step(
                "volume %s reachable through libgfapi from every node" % layout.volume,
                lambda: False,
                self._try,
            ),
        ]

    def volume(self) -> VolumeInfo | None:
        """The volume as it is, None if there is none; raises `VolumeDiffers`."""
        existing = self._gluster.volume(self._layout.volume)
        if existing:
            check_same(existing, self._layout)
        return existing

    @property
    def _gluster(self) -> Gluster:
        return self._agents.gluster(self._layout.anchor)

    def _is_joined(self) -> bool:
        return not unjoined(self._agents, self._layout.peers)

    def _join(self) -> None:
        join(self._agents, self._layout.peers, self._say)

    def _is_created(self) -> bool:
        return self.volume() is not None

    def _create(self) -> None:
        layout = self._layout
        force = ["force"] if layout.force else []
        self._gluster.ask(
            "volume", "create", layout.volume, *layout.shape.words(), *layout.bricks, *force
        )
        if self.volume() is None:
            raise GanetiGlusterError(
                "glusterd accepted volume %s, but does not have it now" % layout.volume
            )

    def _wrong_options(self) -> list[profile.Option]:
        volume = self.volume()
        layout = self._layout
        wanted = profile.options_for(replicated=layout.shape.replicated, owner=layout.owner)
        if volume is None:
            return wanted
        # Those in force, not only those set: defaults may be right.
        actual = self._gluster.options(layout.volume)
        return [difference.option for difference in profile.differences(wanted, actual)]

    def _is_tuned(self) -> bool:
        return self.volume() is not None and not self._wrong_options()

    def _tune(self) -> None:
        layout, gluster = self._layout, self._gluster
        volume = self.volume()
        wrong = self._wrong_options()
        fixed = [option.name for option in wrong if option.fixed]
        if volume and volume.started and fixed:
            raise VolumeDiffers(
                "volume %s is running without %s and may already contain images"
                % (layout.volume, ", ".join(fixed)),
                hint="these options can only be set while a volume is empty: create another"
                " volume",
            )
        if layout.shape.replicated and not (volume and volume.started):
            gluster.ask("volume", "set", layout.volume, "group", VIRT)
            wrong = self._wrong_options()
        if wrong:
            gluster.ask("volume", "set", layout.volume, *profile.set_words(wrong))
        left = self._wrong_options()
        if left:
            raise GanetiGlusterError(
                "glusterd accepted the options, but has different ones now: %s"
                % ", ".join(option.name for option in left)
            )

    def _is_started(self) -> bool:
        volume = self.volume()
        return bool(volume and volume.started and not self._offline())

    def _start(self) -> None:
        volume = self.volume()
        if volume and volume.started:
            # Bricks that are down are started; those that run are left alone.
            self._gluster.ask("volume", "start", self._layout.volume, "force")
        else:
            self._gluster.ask("volume", "start", self._layout.volume)
        wait("bricks of %s" % self._layout.volume, self._offline, seconds=BRICK_SECONDS)

    def _offline(self) -> str:
        return offline_bricks(self._gluster, self._layout.volume)

    def _try(self) -> None:
        layout = self._layout
        arguments = {"volume": layout.volume, "servers": layout.servers}
        nodes = dict.fromkeys((*layout.members, *layout.clients))
        self._agents.all("try-volume", dict.fromkeys(nodes, arguments))


def check_same(volume: VolumeInfo, layout: PoolLayout) -> None:
    """Raise `VolumeDiffers` if the volume has another shape or other bricks."""
    if Shape.of(volume) != layout.shape:
        raise VolumeDiffers(
            "volume %s already exists, but is %s, not %s"
            % (volume.name, Shape.of(volume), layout.shape),
            hint="choose another name",
        )
    bricks = [str(brick) for brick in volume.bricks]
    if bricks[: len(layout.bricks)] != layout.bricks:
        raise VolumeDiffers(
            "volume %s already exists, with the bricks %s" % (volume.name, ", ".join(bricks)),
            hint="choose another name; `gnt-gluster pool status` shows the existing volumes",
        )


def unjoined(agents: Agents, members: Mapping[str, str]) -> str:
    """What lacks for all members to see all as "Peer in Cluster (Connected)".

    The value for a node is what it must be called by the others, or the UUID of its glusterd if
    any name will do.
    """
    for node in members:
        peers = agents.gluster(node).peers()
        for other, key in members.items():
            if other != node and not any(_is(peer, key) and peer.sound for peer in peers):
                return "%s does not see %s as Peer in Cluster (Connected)" % (node, other)
    return ""


def _is(peer: Peer, key: str) -> bool:
    return key == peer.uuid or key in peer.names


def join(agents: Agents, members: Mapping[str, str], say: Say) -> None:
    """Make one trusted pool of the members (see `unjoined`), and wait until all see all.

    The first one probes the others; a second one then probes the first, because the others
    learn its name only from a probe by that name.
    """
    first, *others = members
    known = agents.gluster(first).peers()
    for node in others:
        if not any(_is(peer, members[node]) for peer in known):
            agents.gluster(first).ask("peer", "probe", members[node])
            say("  %s: probed" % members[node])
    if others:
        second = others[0]
        wait(
            "pool",
            lambda: (
                "" if any(peer.sound for peer in agents.gluster(second).peers()) else "probing"
            ),
            seconds=PEER_SECONDS,
        )
        if not any(_is(peer, members[first]) for peer in agents.gluster(second).peers()):
            agents.gluster(second).ask("peer", "probe", members[first])
    wait("pool", partial(unjoined, agents, members), seconds=PEER_SECONDS, say=say)


def offline_bricks(gluster: Gluster, name: str) -> str:
    """The bricks that do not run in a sentence, "" if all do."""
    volume = gluster.volume(name)
    if volume is None:
        return "there is no volume %s" % name
    down = gluster.status(name).offline(volume.bricks)
    return "not online: %s" % ", ".join(map(str, down)) if down else ""
