"""Nodes by their node groups, so that a hundred of them stay readable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ganeti_gluster.web.facts import ShownNode
from ganeti_gluster.web.words import TONES, Word

#: Rows up to which all groups are unfolded.
FEW = 20


@dataclass(frozen=True)
class Group:
    """Nodes of a group, and how many of them are in each state, the worst first."""

    name: str
    nodes: tuple[ShownNode, ...]
    counts: tuple[tuple[Word, int], ...]
    unfolded: bool


def grouped(
    nodes: Sequence[ShownNode], word_of: Callable[[ShownNode], Word], *, searched: bool = False
) -> list[Group]:
    """The groups by name, their nodes in the order that they have.

    One in which all is well is folded where there are many nodes, unless somebody has `searched`.
    """
    members: dict[str, list[ShownNode]] = {}
    for node in nodes:
        members.setdefault(node.group, []).append(node)
    groups = []
    for name, of_group in sorted(members.items()):
        counts = sorted(
            Counter(map(word_of, of_group)).items(), key=lambda each: TONES.index(each[0].tone)
        )
        sound = all(word.tone == "good" for word, _ in counts)
        unfolded = searched or not sound or len(nodes) <= FEW
        groups.append(Group(name, tuple(of_group), tuple(counts), unfolded))
    return groups
