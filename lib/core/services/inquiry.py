"""Querying all nodes for their services: which nodes, and what their answers mean."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ganeti_gluster.core.services import answers
from ganeti_gluster.core.services.answers import NodeAnswer
from ganeti_gluster.core.services.model import (
    ClusterServices,
    ServerService,
    ServiceNode,
    ServiceStatus,
    ServiceType,
)
from ganeti_gluster.errors import GanetiGlusterError

OFFLINE = "marked offline in Ganeti"


class Inquiry:
    """The nodes' answers about `types`, in one round or several.

    `to_ask` has the addresses of the nodes to ask next, by name: at first all on which a type
    is expected, later those with services in transition.
    """

    def __init__(self, types: Sequence[ServiceType], nodes: Sequence[ServiceNode]) -> None:
        self._types = types
        self._nodes = [node for node in nodes if any(node in each.nodes for each in types)]
        self._told: dict[str, dict[str, list[ServerService]]] = {}
        self._masters: dict[str, str] = {}
        self._failures = {node.name: OFFLINE for node in self._nodes if node.offline}
        self.to_ask = {node.name: node.address for node in self._nodes if not node.offline}

    def take(self, by_node: Mapping[str, NodeAnswer]) -> None:
        """Take the answers of a round."""
        for name, answer in by_node.items():
            try:
                # Both or none: an answer is understood as a whole.
                told = answers.parse_status(answer, name, self._types)
                self._masters[name], self._told[name] = answers.master(answer), told
            except GanetiGlusterError as err:
                # Its answer of a moment ago counts: there was less time for this one.
                if name not in self._told:
                    self._failures[name] = str(err)
        self.to_ask = {name: at for name, at in self.to_ask.items() if self._moves(name)}

    def _moves(self, node: str) -> bool:
        services = self._told.get(node, {}).values()
        return any(service.transition for each in services for service in each)

    def snapshot(self) -> ClusterServices:
        """What is known now; services that are still on their way are UNKNOWN."""
        services = (
            replace(service, status=ServiceStatus.UNKNOWN) if service.transition else service
            for type in self._types
            for node in self._nodes
            if node in type.nodes
            for service in self._services(type, node.name)
        )
        return ClusterServices(
            time.time(), tuple(services), dict(self._failures), dict(self._masters)
        )

    def _services(self, type: ServiceType, node: str) -> Iterator[ServerService]:
        if node in self._told:
            yield from self._told[node][type.name]
            return
        for service in type.services:
            reason = self._failures[node]
            yield ServerService(type.name, service.name, node, ServiceStatus.UNKNOWN, reason)
