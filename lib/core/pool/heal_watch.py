"""Watch this node's self-heal daemon, and restart it where it has lost a brick for good.

Each minute the monitoring agent notes whether the daemon lacks connections (`note`).  If it has
lacked some for two minutes, and glusterd tells that the bricks are up, it is restarted as
GlusterFS documents (`Repair`): it is killed, and started by `gluster volume start VOLUME force`.
A daemon has all volumes of its node, so all of them are started.  That would start bricks that do
not run as well, which somebody may have stopped, so it is not done while there is such a brick on
a server that is connected; nor is it where only volumes that Ganeti does not use lack connections.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass, replace

from ganeti_gluster import constants
from ganeti_gluster.core.pool import self_heal
from ganeti_gluster.core.pool.steps import Say
from ganeti_gluster.tools import private
from ganeti_gluster.tools.command import CommandFailed
from ganeti_gluster.tools.gluster_cli import BrickStatus, Gluster, GlusterFailed, VolumeInfo

STATE = constants.STATE_DIR + "/self-heal.json"

#: Seconds for which the daemon lacks a connection before something is done: what has just
#: come back is connected within some seconds.
PATIENCE = 120.0
#: Seconds after a restart before the next, doubled with each, and the most of it.
PAUSE = 600.0
LONGEST_PAUSE = 6 * 3600.0
#: Seconds for which a restart counts.
REMEMBERED = 24 * 3600.0
LOCK_SECONDS = 10.0

#: The gluster command of this node, which waits while another node has the pool's lock.
HERE = Gluster()


@dataclass(frozen=True)
class Watch:
    """Since when connections are lacking, None if none is; when the daemon was restarted.

    `ended`: the daemon was killed, and is not known to run since.  `said` is what was said last
    of why nothing is done.  Times are seconds since the epoch.
    """

    since: float | None = None
    restarts: tuple[float, ...] = ()
    ended: bool = False
    said: str = ""

    def recent(self, now: float) -> tuple[float, ...]:
        """The restarts that count; those of a clock that was ahead do not."""
        return tuple(each for each in self.restarts if 0 <= now - each < REMEMBERED)

    def due(self, now: float) -> bool:
        """Whether something is to be done."""
        if self.ended:
            return True
        if self.since is None or now - self.since < PATIENCE:
            return False
        recent = self.recent(now)
        pause = min(PAUSE * 2.0 ** (len(recent) - 1), LONGEST_PAUSE)
        return not recent or now - recent[-1] >= pause


def load(path: str = STATE) -> Watch:
    """What was noted; nothing where there is none, or it cannot be read."""
    try:
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
        return Watch(
            None if data["since"] is None else float(data["since"]),
            tuple(map(float, data["restarts"])),
            bool(data["ended"]),
            str(data["said"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return Watch()


def update(change: Callable[[Watch], Watch], path: str = STATE) -> Watch:
    """Change what is noted; there is no file where nothing is."""
    with private.locked(path + ".lock", seconds=LOCK_SECONDS):
        watch = load(path)
        changed = change(watch)
        if changed == Watch():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        elif changed != watch:
            private.write_json(path, asdict(changed))
        return changed


def note(lacks: bool, *, now: float, path: str = STATE) -> None:
    """Note whether the daemon lacks connections now."""

    def change(watch: Watch) -> Watch:
        restarts = watch.recent(now)
        if not lacks:
            return Watch(restarts=restarts, ended=watch.ended)
        since = now if watch.since is None or watch.since > now else watch.since
        return replace(watch, since=since, restarts=restarts)

    if lacks or os.path.exists(path):
        update(change, path)


def is_due(path: str = STATE) -> bool:
    """Whether there is something to do; next to nothing where nothing is noted."""
    return os.path.exists(path) and load(path).due(time.time())


@dataclass(frozen=True)
class Repair:
    """The daemon of this node; `ours` are the volumes that Ganeti uses."""

    ours: Collection[str]
    say: Say
    gluster: Gluster = HERE
    path: str = STATE
    ports: Callable[[], Sequence[int] | None] = self_heal.ports
    end: Callable[[], int] = self_heal.end

    def run(self) -> None:
        """Restart it if it is due, and lacks bricks that are up.

        Raises `GlusterFailed` or `CommandFailed` where glusterd cannot do it now; the next run
        goes on from there.
        """
        watch = load(self.path)
        if not watch.due(time.time()):
            return
        volumes = self_heal.served(self.gluster.volumes(), self.gluster.own_uuid())
        ports = self.ports()
        if ports is None:
            # One that has ended otherwise is not ours to start.
            if watch.ended:
                self._start(volumes)
            return
        bricks = {volume.name: self.gluster.status(volume.name).bricks for volume in volumes}
        lacking = _lacking(bricks, ports)
        if watch.ended or not lacking:  # somebody has started it, or all has come back
            update(lambda old: Watch(restarts=old.restarts), self.path)
            return
        text = "the self-heal daemon has no connection to %s" % _listed(lacking)
        reason = self._reason_not_to(bricks, lacking)
        if reason:
            self._say_once(watch, "%s; it is not restarted, because %s" % (text, reason))
            return
        now = time.time()
        self.say("%s for %d s: restarting it" % (text, now - (watch.since or now)))
        update(
            lambda old: replace(old, ended=True, said="", restarts=(*old.restarts, now)), self.path
        )
        self.end()
        self._start(volumes)

    def _reason_not_to(
        self,
        bricks: dict[str, tuple[BrickStatus, ...]],
        lacking: Sequence[tuple[str, BrickStatus]],
    ) -> str:
        if not any(volume in self.ours for volume, _ in lacking):
            return "Ganeti does not use the volume"
        down = [brick for each in bricks.values() for brick in each if not brick.online]
        if down:
            return "that would start %s" % ", ".join(map(str, down))
        return ""

    def _start(self, volumes: Sequence[VolumeInfo]) -> None:
        errors: list[GlusterFailed | CommandFailed] = []
        for volume in volumes:
            try:
                self.gluster.ask("volume", "start", volume.name, "force")
            except (GlusterFailed, CommandFailed) as err:
                errors.append(err)
        if errors:
            raise errors[0]
        update(lambda old: Watch(restarts=old.restarts), self.path)
        self.say("the self-heal daemon is restarted")

    def _say_once(self, watch: Watch, text: str) -> None:
        if text != watch.said:
            self.say(text)
            update(lambda old: replace(old, said=text), self.path)


def _lacking(
    bricks: dict[str, tuple[BrickStatus, ...]], ports: Sequence[int]
) -> list[tuple[str, BrickStatus]]:
    volumes = {id(brick): name for name, each in bricks.items() for brick in each}
    every = [brick for each in bricks.values() for brick in each]
    return [(volumes[id(brick)], brick) for brick in self_heal.lacking(every, ports)]


def _listed(lacking: Sequence[tuple[str, BrickStatus]]) -> str:
    return ", ".join("%s of volume %s" % (brick, name) for name, brick in lacking)
