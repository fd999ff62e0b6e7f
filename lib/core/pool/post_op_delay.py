"""Heals that a guest delays by writing without a pause.

A client of a replicated volume keeps its lock on a file's attributes for
`cluster.post-op-delay-secs` (1) after a change, in case another one follows.  Shards change the
attributes of an image's first shard with each write that extends the image.  A guest that does so
more than once a second keeps that lock forever.  The self-heal daemon does not wait for a lock but
skips the file (seen with GlusterFS 11.1: skipped for minutes, healed within a second when the
delay was 0).  Running clients apply the option at once.

Such a lock also delays the holder of a POSIX lock on the image when the bricks of the volume
change, because the library takes the lock to the new bricks through an extended attribute.
"""

from __future__ import annotations

import time
from types import TracebackType

from ganeti_gluster.core.pool.steps import Say
from ganeti_gluster.tools.command import CommandFailed
from ganeti_gluster.tools.gluster_cli import Gluster, GlusterFailed

OPTION = "cluster.post-op-delay-secs"
_NONE = "0"
#: Seconds until all that have the volume open have heard of it, and used it once more.
SWITCH_SECONDS = 8.0


class PostOpDelay:
    """A context in which clients can be made to release locks at once.

    It restores the option at its end.  If the option is 0 at the beginning, a killed command left
    it so, and it is reset.
    """

    def __init__(self, gluster: Gluster, volume: str, say: Say) -> None:
        self._gluster = gluster
        self._volume = volume
        self._say = say
        self._before: str | None = None
        self._changed = False
        self._usable = False

    def __enter__(self) -> PostOpDelay:
        volume = self._gluster.volume(self._volume)
        if volume is not None:
            self._usable = volume.replica > 1
            self._before = volume.options.get(OPTION)
            self._changed = self._before == _NONE
        return self

    def switch_off(self) -> None:
        """Have clients keep no lock from now on; no-op if it is so, or has no sense."""
        if self._changed or not self._usable:
            return
        self._changed = True
        self._say("  writers release their locks in the meantime: %s is 0" % OPTION)
        try:
            self._gluster.ask("volume", "set", self._volume, OPTION, _NONE)
        except (GlusterFailed, CommandFailed) as err:
            self._say("  %s" % err)

    def wait_switched(self) -> None:
        """Wait until the holders of locks have taken these to bricks that changed."""
        if self._changed:
            time.sleep(SWITCH_SECONDS)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._changed:
            return
        words = ["reset", self._volume, OPTION]
        if self._before not in (None, _NONE):
            words = ["set", self._volume, OPTION, str(self._before)]
        try:
            self._gluster.ask("volume", *words)
        except (GlusterFailed, CommandFailed) as err:
            self._say("  %s is still 0; reset it: gluster volume %s" % (OPTION, " ".join(words)))
            self._say("  %s" % err)
