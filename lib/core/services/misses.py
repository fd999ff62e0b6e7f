"""Nodes that do not answer: one missed answer is not an event yet."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ganeti_gluster.core.services.inquiry import OFFLINE
from ganeti_gluster.core.services.model import ClusterServices, ServerService


def forgive(
    old: ClusterServices | None, new: ClusterServices, missed: Collection[str]
) -> tuple[ClusterServices, list[str]]:
    """`new`, but with nodes that missed only this sync as in `old`; and the names of these nodes.

    `missed` are those that missed the previous sync.  Nodes that are offline, or of which
    nothing is known, are not forgiven.
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
    """The last answers of the nodes that are silent in `new`; `last` has those for `old`."""
    return tuple(
        found
        for node in new.failures
        for found in (last if node in old.failures else old.services)
        if found.node == node
    )
