"""Nodes that are in maintenance, as their tags in Ganeti say."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from ganeti_gluster.core.verify.finding import Finding

#: The tag of a node in maintenance.
TAG = "gluster:maintenance"
#: That of one which was drained before, and stays so afterwards.
KEPT_DRAINED = "gluster:maintenance:drained"
#: That of one which an upgrade of GlusterFS has put there, and takes back.
UPGRADING = "gluster:maintenance:upgrade"


def check_maintenance(tags: Mapping[str, Collection[str]]) -> Iterator[Finding]:
    """Each node that is in maintenance, by the tags of all; nobody forgets it that way."""
    for node, own in sorted(tags.items()):
        if TAG in own:
            text = "it is in maintenance"
            if UPGRADING in own:
                text += " for an upgrade of GlusterFS"
            yield Finding.of("NODE_MAINTENANCE", node, text, node=node)
