"""Wait until a volume is healed, and help where that comes to a stand."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from ganeti_gluster.command import CommandFailed
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.gluster_cli import Gluster, GlusterFailed, VolumeInfo
from ganeti_gluster.pool import members
from ganeti_gluster.pool.crew import Crew
from ganeti_gluster.pool.held import Held
from ganeti_gluster.pool.members import CONNECTED, Pool
from ganeti_gluster.pool.profile import normal
from ganeti_gluster.pool.reopen import reopen
from ganeti_gluster.pool.steps import Say

#: Seconds between two looks at a heal.
HEAL_PAUSE = 3.0
#: Seconds for one answer about a heal.
HEAL_SECONDS = 300.0
#: Seconds for counting what is in a brick.
COUNT_SECONDS = 1800.0
#: Looks after which the heal is started again: the self-heal daemon passes over what a
#: guest has locked just then, and would come back to it after ten minutes only.
LOOKS_BEFORE_AGAIN = 5
#: Looks in a row that find the same backlog before writers are told to keep no locks.
LOOKS_BEFORE_LET_GO = 3
#: Looks in a row that find nothing to heal, with files missing, before all is looked over.
LOOKS_BEFORE_FULL = 10
#: Seconds without progress after which the self-heal daemons are started anew, each time.
RESTART_AFTER = (60.0, 240.0)
#: Seconds without progress after which the heal is not waited for any longer.
GIVE_UP_AFTER = 600.0


class HealStuck(GanetiGlusterError):
    """A heal made no progress for long, with self-heal daemons that were started anew."""


@dataclass(frozen=True)
class Backlog:
    """How much is behind, None if nobody tells; the bricks that do not tell.

    `healing`: what is being healed just now, or locked otherwise.
    """

    left: int | None
    unknown: tuple[str, ...] = ()
    healing: int = 0


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
    """Waits for heals of the volumes of a pool; `nodes` are those that can be told things."""

    def __init__(self, crew: Crew, pool: Pool, nodes: Sequence[str], say: Say) -> None:
        self._crew = crew
        self._pool = pool
        self._nodes = tuple(nodes)
        self._say = say

    @property
    def _gluster(self) -> Gluster:
        return self._crew.gluster(self._pool.anchor)

    def heal(self, volume: str, node: str = "", path: str = "") -> None:
        """Wait until nothing of a volume is behind, and the brick named is complete.

        What clients have open is open on that brick then.  For as long as there is
        progress; it may be broken off at any time.  Raises `HealStuck`.
        """
        with Held(self._gluster, volume, self._say) as held:
            self._wait(held, volume, node, path)

    def _wait(self, held: Held, volume: str, node: str, path: str) -> None:
        gluster = self._gluster
        sharded = is_sharded(gluster.volume(volume))
        progress = _Progress()
        said, opened = "", not node
        quiet = looks = turn = same = here = there = 0
        while quiet < 2:
            if turn % LOOKS_BEFORE_AGAIN == 0:
                self._start(volume)
            turn += 1
            found = backlog(gluster, volume)
            behind = found.left != 0 or bool(found.unknown)
            line = "%s entries to heal" % ("?" if found.left is None else found.left)
            if found.unknown:
                line += ", not answering: %s" % ", ".join(found.unknown)
            filled = False
            if node and (not behind or (not opened and same >= LOOKS_BEFORE_LET_GO)):
                here, there = self._counts(volume, node, path)
                filled = here >= there
            if node and not behind:
                line += ", %d of %d files there" % (here, there)
                looks = 0 if filled else looks + 1
                if looks == LOOKS_BEFORE_FULL:
                    self._say("  files are missing: having all of the volume looked over")
                    self._start(volume, full=True)
            same = same + 1 if line == said and found.left else 0
            if line != said:
                self._say("  %s" % line)
                said = line
            if same == LOOKS_BEFORE_LET_GO:
                held.let_go()
                turn = 0
            complete = not behind and (filled or not node)
            quiet = quiet + 1 if complete else 0
            if filled and not opened:
                # Not sooner: nothing can be opened on a brick that has not got it.
                self._say("  what is open is opened on %s:%s as well" % (node, path))
                reopen(gluster, volume, held)
                opened, quiet, turn = True, 0, 0
            # A whole image, where there are no pieces, may take hours by itself.
            if complete or (found.healing and not sharded):
                progress.go_on()
            else:
                progress.note(left=-1 if found.left is None else found.left)
                if there:
                    progress.note(here=here)
                self._help(progress, volume, line)
            if quiet < 2:
                time.sleep(HEAL_PAUSE)

    def _help(self, progress: _Progress, volume: str, line: str) -> None:
        """What is to be done where nothing has come forward for a while."""
        if progress.still >= GIVE_UP_AFTER:
            raise HealStuck(
                "no progress for %d s, with the self-heal daemons started anew: %s"
                % (progress.still, line),
                hint="`gluster volume heal %s info` names them, `gluster volume status %s` what"
                " does not run" % (volume, volume),
            )
        if progress.restarts < len(RESTART_AFTER) and (
            progress.still >= RESTART_AFTER[progress.restarts]
        ):
            progress.restarts += 1
            self._say(
                "  no progress for %d s: starting the self-heal daemons anew" % progress.still
            )
            self._restart_daemons(volume)

    def _restart_daemons(self, volume: str) -> None:
        """End the self-heal daemons of all nodes, and have glusterd start them again.

        One has all volumes of its node.
        """
        # Read anew: a node may have become a member since this command began.
        pool = members.read(self._gluster, self._pool.anchor, self._pool.addresses)
        nodes = [node for node in self._nodes if pool.state(node) == CONNECTED]
        ended, errors = self._crew.try_all("end-self-heal", {node: {} for node in nodes})
        self._say(
            "  ended: %s" % (", ".join(node for node in ended if ended[node]) or "none was there")
        )
        for node, reason in errors.items():
            self._say("  %s: %s" % (node, reason))
        for found in pool.volumes:
            if found.started and (found.name == volume or found.set_size > 1):
                self._try("volume", "start", found.name, "force")
        self._start(volume)

    def _start(self, volume: str, *, full: bool = False) -> None:
        # A self-heal daemon that hangs does not answer it; what is told is not needed.
        try:
            self._gluster.start_heal(volume, full=full)
        except CommandFailed as err:
            self._say("  %s" % err)

    def _try(self, *words: str) -> None:
        try:
            self._gluster.ask(*words)
        except (GlusterFailed, CommandFailed) as err:
            self._say("  %s" % err)

    def _counts(self, name: str, node: str, path: str) -> tuple[int, int]:
        """The files in a brick, and in another one of its set."""
        volume = self._gluster.volume(name)
        if volume is None:
            raise GanetiGlusterError("there is no volume %s any more" % name)
        (brick,) = [found for found in volume.bricks if str(found) == "%s:%s" % (node, path)]
        for other in volume.set_of(brick):
            server = self._pool.node_of(other, self._nodes)
            if other != brick and server:
                return self._count(node, path), self._count(server, other.path)
        return self._count(node, path), 0

    def _count(self, node: str, path: str) -> int:
        answer = self._crew.one(node, "count", timeout=COUNT_SECONDS, brick=path)
        return int(answer.get("files", 0))


def is_sharded(volume: VolumeInfo | None) -> bool:
    """Whether images are in pieces."""
    return volume is not None and normal(volume.options.get("features.shard", "off")) == "on"


def backlog(gluster: Gluster, volume: str) -> Backlog:
    """What is to be healed, as far as bricks tell."""
    try:
        counts = gluster.heal_counts(volume, timeout=HEAL_SECONDS)
    except (GlusterFailed, CommandFailed):
        return Backlog(None)
    return Backlog(
        max((brick.total for brick in counts if brick.total is not None), default=None),
        tuple(brick.brick for brick in counts if brick.total is None),
        max((brick.healing or 0 for brick in counts), default=0),
    )
