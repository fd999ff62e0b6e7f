"""Make clients open their files on a brick that was added after they had opened them.

glusterd informs clients about a new brick before that brick listens.  They switch to the new graph
of translators without it, and open their files there on the other bricks only.  Once the brick
answers, replication opens a file on it when the client reads or writes the file itself, which is
the image's first shard (64 MiB).  A guest may never do that.  The size of the image, an extended
attribute of the first shard, then cannot be updated on the new brick (EBADFD) with each write that
allocates blocks.  The shard needs a heal again as soon as it is healed, and when another brick of
the set fails, such writes fail in the guest, although two bricks of three are up (seen with
GlusterFS 11.1).

A graph that is created while all bricks answer, and have the files, has everything open on all of
them.  Adding or removing a translator creates a new graph in every client.
"""

from __future__ import annotations

from ganeti_gluster.core.pool.post_op_delay import PostOpDelay
from ganeti_gluster.core.pool.profile import normal
from ganeti_gluster.tools.gluster_cli import Gluster

#: The translator: a cache of attributes, above all that disks need.
OPTION = "performance.stat-prefetch"


def reopen(gluster: Gluster, volume: str, delay: PostOpDelay) -> None:
    """Have all clients open again what they have open, and wait until they have.

    All bricks should answer and have all files.  Writers let go of their locks for it;
    the option is as it was afterwards.
    """
    delay.switch_off()
    info = gluster.volume(volume)
    before = info.options.get(OPTION) if info else None
    try:
        gluster.ask("volume", "set", volume, OPTION, "on" if _is_off(before) else "off")
    finally:
        if before is None:
            gluster.ask("volume", "reset", volume, OPTION)
        else:
            gluster.ask("volume", "set", volume, OPTION, before)
    delay.wait_switched()


def _is_off(value: str | None) -> bool:
    return value is not None and normal(value) == "off"
