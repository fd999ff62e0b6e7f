"""Who is the master, where not all nodes say the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping


def rival(
    masters: Mapping[str, str], myself: str, candidates: Collection[str]
) -> tuple[str, bool]:
    """The node that at least as many consider the master as `myself`, and whether as many.

    `masters` has what each node considers the master; "" is no vote, and neither is a vote for a
    node that is not one of the master `candidates`.  Node `myself` votes for itself.  ("", False)
    if there is no such node.
    """
    votes = Counter(
        master
        for node, master in masters.items()
        if node != myself and (master == myself or master in candidates)
    )
    own = votes.pop(myself, 0) + 1
    if not votes:
        return "", False
    # Of two with as many votes always the same one.
    other, count = min(votes.items(), key=lambda item: (-item[1], item[0]))
    return (other, count == own) if count >= own else ("", False)
