"""The UUIDs of nodes' glusterds as they were last seen: a node that is gone cannot be asked.

GlusterFS knows a node by the names and addresses that it had when it joined.  If Ganeti has others
now, only the node itself can tell which member of the pool it is.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping

from ganeti_gluster import constants
from ganeti_gluster.tools import private

PATH = constants.STATE_DIR + "/identities.json"


def load(path: str = PATH) -> dict[str, str]:
    """The UUIDs by the nodes' names; nothing if none were noted, or they cannot be read."""
    try:
        with open(path, encoding="utf-8") as stream:
            return {str(node): str(uuid) for node, uuid in json.load(stream).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def note(seen: Mapping[str, str], nodes: Collection[str], path: str = PATH) -> bool:
    """Note what nodes have said, and forget those that are not among `nodes` any more.

    Returns whether that changed anything.
    """
    known = load(path)
    now = {node: uuid for node, uuid in {**known, **seen}.items() if node in nodes and uuid}
    if now == known:
        return False
    private.write_json(path, now)
    return True
