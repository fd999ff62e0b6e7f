"""Wait until a volume is healed, and help where that comes to a stand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from ganeti_gluster.core.pool import members
from ganeti_gluster.core.pool.agents import Agents
from ganeti_gluster.core.pool.members import CONNECTED, Pool
from ganeti_gluster.core.pool.post_op_delay import PostOpDelay
from ganeti_gluster.core.pool.profile import normal
from ganeti_gluster.core.pool.reopen import reopen
from ganeti_gluster.core.pool.steps import Say
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.command import CommandFailed
from ganeti_gluster.tools.gluster_cli import Gluster, GlusterFailed, VolumeInfo

#: Seconds between two looks at a heal.
HEAL_PAUSE = 3.0
#: Seconds for one answer about a heal.
HEAL_SECONDS = 300.0
#: Seconds for counting what is in a brick.
COUNT_SECONDS = 1800.0
#: Looks after which the heal is started again: the self-heal daemon passes over what a
#: guest has locked just then, and would come back to it after ten minutes only.
LOOKS_BEFORE_AGAIN = 5
#: Checks in a row that find the same backlog before writers have to release their locks.
LOOKS_BEFORE_LET_GO = 3
#: Looks in a row that find nothing to heal, with files missing, before all is looked over.
LOOKS_BEFORE_FULL = 10
#: Seconds without progress after which the self-heal daemons are started again, each time.
RESTART_AFTER = (60.0, 240.0)
#: Seconds without progress after which the heal is not waited for any longer.
GIVE_UP_AFTER = 600.0


class HealStuck(GanetiGlusterError):
    """A heal made no progress, although the self-heal daemons were restarted."""


@dataclass(frozen=True)
class Backlog:
    """How much waits for a heal, None if no brick answers; and the bricks that do not answer.

    `healing`: what is being healed at this moment, or locked otherwise.
    """

    left: int | None
    unknown: tuple[str, ...] = ()
    healing: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether all bricks answer that nothing is to be healed."""
        return self.left == 0 and not self.unknown

    def __str__(self) -> str:
        line = "%s entries to heal" % ("?" if self.left is None else self.left)
        return line + ", not answering: %s" % ", ".join(self.unknown) if self.unknown else line


@dataclass
class _Progress:
    """Since when the best that was seen is the same, on the clock `time.monotonic`."""

    since: float = field(default_factory=lambda: time.monotonic())
    restarts: int = 0
    _seen: dict[str, tuple[int, int]] = field(default_factory=dict)

    def note(self, **figures: int) -> None:
        """Figures that may go down and up: a new least or most is progress."""
        for name, figure in figures.items():
            low, high = self._seen.setdefault(name, (figure, figure))
            if not low <= figure <= high:
                self.go_on()
            self._seen[name] = (min(low, figure), max(high, figure))

    def go_on(self) -> None:
        """There is progress."""
        self.since, self.restarts = time.monotonic(), 0

    @property
    def still(self) -> float:
        """The seconds without any."""
        return time.monotonic() - self.since


class Healer:
    """Waits for heals of the volumes of a pool; `nodes` are those that can be contacted."""

    def __init__(self, agents: Agents, pool: Pool, nodes: Sequence[str], say: Say) -> None:
        self._agents = agents
        self._pool = pool
        self._nodes = tuple(nodes)
        self.say = say

    @property
    def gluster(self) -> Gluster:
        """The gluster command of a node of the pool."""
        return self._agents.gluster(self._pool.anchor)

    def heal(self, volume: str, node: str = "", path: str = "") -> None:
        """Wait until nothing of a volume is behind, and the brick named is complete.

        What clients have open is open on that brick then.  For as long as there is
        progress; it may be broken off at any time.  Raises `HealStuck`.
        """
        with PostOpDelay(self.gluster, volume, self.say) as delay:
            wait = _Wait(self, delay, volume, node, path)
            while not wait.look():
                time.sleep(HEAL_PAUSE)

    def help(self, progress: _Progress, volume: str, line: str) -> None:
        """What is to be done where nothing has come forward for a while."""
        if progress.still >= GIVE_UP_AFTER:
            raise HealStuck(
                "no progress for %d s, although the self-heal daemons were restarted: %s"
                % (progress.still, line),
                hint="`gluster volume heal %s info` lists them, `gluster volume status %s` shows"
                " what is not running" % (volume, volume),
            )
        if progress.restarts < len(RESTART_AFTER) and (
            progress.still >= RESTART_AFTER[progress.restarts]
        ):
            progress.restarts += 1
            self.say("  no progress for %d s: restarting the self-heal daemons" % progress.still)
            self._restart_daemons(volume)

    def _restart_daemons(self, volume: str) -> None:
        """End the self-heal daemons of all nodes, and have glusterd start them again.

        One has all volumes of its node.
        """
        # Read again: a node may have become a member since this command began.
        pool = members.read(self.gluster, self._pool.anchor, self._pool.addresses, self._pool.told)
        nodes = [node for node in self._nodes if pool.state(node) == CONNECTED]
        ended, errors = self._agents.try_all("end-self-heal", {node: {} for node in nodes})
        self.say(
            "  stopped: %s"
            % (", ".join(node for node in ended if ended[node]) or "none was running")
        )
        for node, reason in errors.items():
            self.say("  %s: %s" % (node, reason))
        for other in pool.volumes:
            if other.started and (other.name == volume or other.set_size > 1):
                self._try("volume", "start", other.name, "force")
        self.start(volume)

    def start(self, volume: str, *, full: bool = False) -> None:
        """Have what is behind healed, or all of the volume looked over."""
        # A self-heal daemon that hangs does not answer; its answer is not needed.
        try:
            self.gluster.start_heal(volume, full=full)
        except CommandFailed as err:
            self.say("  %s" % err)

    def _try(self, *words: str) -> None:
        try:
            self.gluster.ask(*words)
        except (GlusterFailed, CommandFailed) as err:
            self.say("  %s" % err)

    def counts(self, name: str, node: str, path: str) -> tuple[int, int]:
        """The files in a brick, and in another one of its set."""
        volume = self.gluster.volume(name)
        if volume is None:
            raise GanetiGlusterError("volume %s no longer exists" % name)
        # The server of a brick may be called otherwise than the node.
        brick = next(
            each
            for each in volume.bricks
            if each.path == path
            and (each.server == node or self._pool.node_of(each, self._nodes) == node)
        )
        for other in volume.set_of(brick):
            server = self._pool.node_of(other, self._nodes)
            if other != brick and server:
                return self._count(node, path), self._count(server, other.path)
        return self._count(node, path), 0

    def _count(self, node: str, path: str) -> int:
        answer = self._agents.one(node, "count", timeout=COUNT_SECONDS, brick=path)
        return int(answer.get("files", 0))


class _Wait:
    """A heal that is waited for; `node` and `path` are of the brick that is filled, if any."""

    def __init__(
        self, healer: Healer, delay: PostOpDelay, volume: str, node: str, path: str
    ) -> None:
        self._healer = healer
        self._delay = delay
        self._volume = volume
        self._node = node
        self._path = path
        self._sharded = is_sharded(healer.gluster.volume(volume))
        self._progress = _Progress()
        self._said = ""
        #: Whether what is open is open on the brick that is filled.
        self._opened = not node
        #: The files in that brick, and in another one of its set.
        self._here = self._there = 0
        #: Looks since the heal was started, or is to be.
        self._turn = 0
        #: Looks in a row: with the same backlog, with files missing, with all complete.
        self._same = self._lacking = self._quiet = 0

    def look(self) -> bool:
        """Look once, and do what is due; whether two looks in a row have found all complete."""
        if self._turn % LOOKS_BEFORE_AGAIN == 0:
            self._healer.start(self._volume)
        self._turn += 1
        remaining = backlog(self._healer.gluster, self._volume)
        filled = self._count(remaining)
        line = str(remaining)
        if self._node and remaining.is_empty:
            line += ", %d of %d files present" % (self._here, self._there)
            self._note_lack(filled)
        self._note_backlog(remaining, line)
        complete = remaining.is_empty and (filled or not self._node)
        self._quiet = self._quiet + 1 if complete else 0
        if filled and not self._opened:
            self._open()
        # A whole image, where there are no pieces, may take hours by itself.
        if complete or (remaining.healing and not self._sharded):
            self._progress.go_on()
        else:
            self._note_progress(remaining)
            self._healer.help(self._progress, self._volume, line)
        return self._quiet >= 2

    def _count(self, remaining: Backlog) -> bool:
        """Whether the brick has as many files as another one; not asked while it cannot."""
        if not self._node:
            return False
        stands = not self._opened and self._same >= LOOKS_BEFORE_LET_GO
        if not remaining.is_empty and not stands:
            return False
        self._here, self._there = self._healer.counts(self._volume, self._node, self._path)
        return self._here >= self._there

    def _note_lack(self, filled: bool) -> None:
        """Have all looked over where nothing is behind and files are missing all the same."""
        self._lacking = 0 if filled else self._lacking + 1
        if self._lacking == LOOKS_BEFORE_FULL:
            self._healer.say("  files are missing: starting a full heal of the volume")
            self._healer.start(self._volume, full=True)

    def _note_backlog(self, remaining: Backlog, line: str) -> None:
        """Tell what has changed, and have writers let go where nothing does."""
        self._same = self._same + 1 if line == self._said and remaining.left else 0
        if line != self._said:
            self._healer.say("  %s" % line)
            self._said = line
        if self._same == LOOKS_BEFORE_LET_GO:
            self._delay.switch_off()
            self._turn = 0

    def _open(self) -> None:
        """Have what is open opened on the brick too, on which nothing could be open before."""
        self._healer.say("  opening the files in use on %s:%s as well" % (self._node, self._path))
        reopen(self._healer.gluster, self._volume, self._delay)
        self._opened, self._quiet, self._turn = True, 0, 0

    def _note_progress(self, remaining: Backlog) -> None:
        self._progress.note(left=-1 if remaining.left is None else remaining.left)
        if self._there:
            self._progress.note(here=self._here)


def is_sharded(volume: VolumeInfo | None) -> bool:
    """Whether images are in pieces."""
    return volume is not None and normal(volume.options.get("features.shard", "off")) == "on"


def backlog(gluster: Gluster, volume: str) -> Backlog:
    """What is to be healed, according to the bricks that answer."""
    try:
        counts = gluster.heal_counts(volume, timeout=HEAL_SECONDS)
    except (GlusterFailed, CommandFailed):
        return Backlog(None)
    return Backlog(
        max((brick.total for brick in counts if brick.total is not None), default=None),
        tuple(brick.brick for brick in counts if brick.total is None),
        max((brick.healing or 0 for brick in counts), default=0),
    )
