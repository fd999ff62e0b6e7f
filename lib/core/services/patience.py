"""How long the master waits for a node: longer if its previous answers took long.

A constant is too short for a machine with dozens of waiting processes, and too long for an
administrator at a terminal when a node never answers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from ganeti_gluster import constants
from ganeti_gluster.tools import decode, private
from ganeti_gluster.tools.decode import Between, Name, NotUnderstood

#: So many times as long as the slowest of its last answers a node has, in seconds at most.
FACTOR = 10.0
ANSWERS = 10
MOST_SECONDS = 30.0

#: More than any answer is waited for.
_Seconds = Annotated[float, Between(0, 3600)]


@dataclass
class Patience:
    """How many seconds the last answers of each node took, the latest last."""

    took: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def __contains__(self, node: object) -> bool:
        """Whether the node has ever answered."""
        return node in self.took

    def limit(self, node: str, least: float) -> float:
        """How long to wait for it, `least` seconds in any case."""
        usual = FACTOR * max(self.took.get(node, ()), default=0.0)
        return max(least, min(MOST_SECONDS, usual))

    def answered(self, node: str, seconds: float) -> None:
        """Take into account what an answer took."""
        self.took[node] = (*self.took.get(node, ()), round(seconds, 3))[-ANSWERS:]

    def keep(self, nodes: Collection[str]) -> None:
        """Forget all other nodes."""
        self.took = {node: took for node, took in self.took.items() if node in nodes}


def load(path: str | None = None) -> Patience:
    """What is known of the nodes; nothing if it never was, or cannot be read."""
    try:
        with open(path or constants.SERVICES_ANSWERS, encoding="utf-8") as stream:
            found: Mapping[str, tuple[float, ...]] = decode.value(
                Mapping[Name, tuple[_Seconds, ...]], decode.plain(stream.read())
            )
    except (OSError, UnicodeDecodeError, NotUnderstood):
        return Patience()
    return Patience({node: took[-ANSWERS:] for node, took in found.items() if took})


def save(patience: Patience, path: str | None = None) -> None:
    """Keep it; raises OSError."""
    private.write_json(path or constants.SERVICES_ANSWERS, patience.took)
