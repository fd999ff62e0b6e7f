"""Nodes that do not tell: the first time in a row nothing has happened yet."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ganeti_gluster.core.services.inquiry import OFFLINE
from ganeti_gluster.core.services.model import ClusterServices, ServerService


def forgive(
    old: ClusterServices | None, new: ClusterServices, missed: Collection[str]
) -> tuple[ClusterServices, list[str]]:
    """`new`, where nodes that have missed this look alone are as in `old`; and which they are.

    `missed` are those of the look before.  A node that nothing is known of, and one that is
    offline, is not forgiven.
    """
    if old is None:
        return new, []
    before = {(was.type, was.node, was.name): was for was in old.services}
    known = old.nodes()
    once = [
        node
        for node, reason in new.failures.items()
        if node in known and node not in {*missed, *old.failures} and reason != OFFLINE
    ]
    services = [
        before.get((found.type, found.node, found.name), found) if found.node in once else found
        for found in new.services
    ]
    failures = {node: reason for node, reason in new.failures.items() if node not in once}
    return replace(new, services=tuple(services), failures=failures), once


def told_last(
    old: ClusterServices, new: ClusterServices, last: Collection[ServerService]
) -> tuple[ServerService, ...]:
    """What the nodes that do not tell in `new` told last; `last` is that for `old`."""
    return tuple(
        found
        for node in new.failures
        for found in (last if node in old.failures else old.services)
        if found.node == node
    )
