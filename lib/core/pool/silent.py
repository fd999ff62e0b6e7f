"""A member that fell silent, as one that lost its power does.

glusterd asks nothing of its peers, and leaves it to the kernel to find that one is gone.
Where something was under way to it that takes some fifteen minutes (tcp_retries2), for
which the node is *Connected* and each change of the pool waits for it (seen with GlusterFS
11.1: 9 minutes and no end).
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from ganeti_gluster.core.pool import members
from ganeti_gluster.core.pool.agents import Agents
from ganeti_gluster.core.pool.members import CONNECTED, Pool
from ganeti_gluster.core.pool.steps import PAUSE, Say

#: Seconds for glusterd to notice that its connection is gone.
NOTICE_SECONDS = 10.0


def notice(agents: Agents, pool: Pool, node: str, nodes: Sequence[str], say: Say) -> Pool:
    """The pool after its members have noticed that a node does not answer.

    No-op if it answers, or is known to be gone.  `nodes` are those that can be contacted.  A
    member that is alive nevertheless is connected again at once.
    """
    if pool.state(node) != CONNECTED or node == pool.anchor:
        return pool
    reason = agents.one(pool.anchor, "reach", server=pool.host(node))
    if not reason:
        return pool
    say("%s does not answer (%s): closing glusterd's remaining connections" % (node, reason))
    peer = pool.peer(node)
    servers = sorted({node, *pool.addresses.get(node, ()), *(peer.names if peer else ())})
    tell = [name for name in nodes if name != node and pool.state(name) == CONNECTED]
    _, errors = agents.try_all("end-connections", {name: {"servers": servers} for name in tell})
    for name, error in errors.items():
        say("  %s: %s" % (name, error))
    end = time.monotonic() + NOTICE_SECONDS
    while True:
        now = members.read(agents.gluster(pool.anchor), pool.anchor, pool.addresses, pool.told)
        if now.state(node) != CONNECTED or time.monotonic() + PAUSE > end:
            return now
        time.sleep(PAUSE)
