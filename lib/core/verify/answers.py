"""The answers of nodes to the master's request for their facts, each on its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ganeti_gluster.core.verify.facts import NodeFacts, read
from ganeti_gluster.tools.decode import NotUnderstood, printable


@dataclass(frozen=True)
class Answers:
    """The facts of the nodes that answered, and the reasons for the others.

    Nodes in `silent` did not answer; the answers of those in `strange` are not understood.
    """

    nodes: Mapping[str, NodeFacts]
    silent: Mapping[str, str]
    strange: Mapping[str, str]

    def updated(self, later: Answers) -> Answers:
        """These, but for the nodes that were asked again."""
        again = {*later.nodes, *later.silent, *later.strange}
        kept = {name: facts for name, facts in self.nodes.items() if name not in again}
        return Answers(
            {**kept, **later.nodes},
            {**self.silent, **later.silent},
            {**self.strange, **later.strange},
        )


def sort(outputs: Mapping[str, tuple[bool, str]]) -> Answers:
    """The answers in what the nodes' commands printed; for each whether it succeeded, too."""
    nodes, silent, strange = {}, {}, {}
    for name, (success, output) in outputs.items():
        if not success:
            silent[name] = printable(output) or "no answer"
            continue
        try:
            nodes[name] = read(output, name)
        except NotUnderstood as err:
            strange[name] = str(err)
    return Answers(nodes, silent, strange)
