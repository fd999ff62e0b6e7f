"""What clients have open is opened on a brick that they met after they had opened it.

glusterd tells clients of a new brick before that brick listens.  They go over to the new
graph of translators without it, and open there what they have open: on the other bricks
alone.  Once it answers, replication opens a file on it when the client reads or writes
the file itself, and that is the image's first piece (64 MiB).  A guest may leave that
alone for good.  The count of the image's size, an extended attribute of the first piece,
then fails on the new brick (EBADFD) with each write that takes new blocks: the piece is
behind again as soon as it is healed, and when another brick of the set goes away, such
writes fail in the guest, though two bricks of three are there (seen with GlusterFS 11.1).

A graph that is made while all bricks answer, and have the files, has everything open on
all of them.  A translator that is taken out or put in makes one, in every client.
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
