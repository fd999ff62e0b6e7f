"""`volume heal`: have all copies of a volume brought up to date, and wait for that."""

from __future__ import annotations

from typing import Any

from ganeti_gluster.cmdlib import pool_state
from ganeti_gluster.core.pool.agents import Agents
from ganeti_gluster.core.pool.healing import Healer
from ganeti_gluster.core.pool.members import CONNECTED
from ganeti_gluster.core.pool.steps import Say, Step
from ganeti_gluster.errors import InvalidParameter


def steps(name: str, client: Any, agents: Agents, say: Say) -> list[Step]:
    """The one step; raises `InvalidParameter` for a volume that cannot be healed."""
    managed = pool_state.find_volume(client, agents, name)
    volume = next((each for each in managed.pool.volumes if each.name == name), None)
    if volume is None:
        raise InvalidParameter("there is no volume %s" % name)
    if volume.set_size == 1:
        raise InvalidParameter("volume %s keeps no copies, so there is nothing to heal" % name)
    if not volume.started:
        raise InvalidParameter(
            "volume %s is not started" % name, hint="gluster volume start %s" % name
        )
    nodes = [each for each in managed.names() if managed.pool.state(each) == CONNECTED]
    healer = Healer(agents, managed.pool, nodes, say)
    return [Step("volume %s healed" % name, lambda: False, lambda: healer.heal(name))]
