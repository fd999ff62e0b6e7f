"""Nodes that answer with their facts, that do not answer, and that answer something else."""

from __future__ import annotations

import json

import pytest

from ganeti_gluster.core.verify import facts as f
from ganeti_gluster.core.verify.facts import sort

PLUGIN = {"version": "0.1.0", "template": "ganeti-gluster", "reasons": []}
FACTS = f.NodeFacts("node1", PLUGIN, glusterd=f.RUNNING, volumes=("gv0",))
HONEST = json.dumps(FACTS.to_dict())


def told(**changed):
    return (True, json.dumps({**FACTS.to_dict(), **changed}))


def test_each_node_is_one_of_three():
    found = sort({"node1": (True, HONEST), "node2": (False, "\x1b[2Jcut\n"), "node3": (True, "")})
    assert found.nodes == {"node1": FACTS}
    assert found.silent == {"node2": "�[2Jcut"}
    assert found.strange == {"node3": "its answer is not understood: it is not JSON"}
    assert sort({"node4": (False, " ")}).silent == {"node4": "no answer"}


def test_a_node_that_was_asked_again_counts_as_it_answered_then():
    first = sort({"node1": (True, HONEST), "node2": (False, "late")})
    again = first.updated(sort({"node1": (True, "x")}))
    assert (again.nodes, again.silent, list(again.strange)) == ({}, {"node2": "late"}, ["node1"])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((True, "Traceback"), "it is not JSON: Traceback"),
        ((True, "[" * 10000), "it is nested too deeply"),
        ((True, "[]"), "not an object"),
        ((True, "{}"), "format: not a number, but NoneType"),
        (told(format=7), "facts of format 7, not 1"),
        (told(node="node2"), "node: the name of another node"),
        (told(plugin=[]), "plugin: not an object, but list"),
        (told(plugin={"template": ["x"]}), "plugin.template: not a string, but list"),
        (told(plugin={"reasons": "x"}), "plugin.reasons: not a list, but str"),
        (told(glusterd="great"), "glusterd: not one of the permitted words"),
        (told(op_version="x"), "op_version: not a number, but str"),
        (told(peers=["x"]), "peers[0]: not an object, but str"),
        (told(bricks=[{"volume": "gv0"}]), "bricks[0].name: it is missing"),
        (
            told(bricks=[{"volume": "gv0", "name": "n", "path": "/b", "size": 10**400}]),
            "bricks[0].size: a number that is out of range",
        ),
        (told(problems=["\x1b[2J"]), "problems[0]: a string that cannot be printed"),
        (told(unreachable={"gv0": "\0"}), "unreachable[0]: a string that cannot be printed"),
        (told(told=[[]]), "told[0]: not an object, but list"),
        (told(told=[{"volume": []}]), "told[0][0]: not a number, but list"),
    ],
)
def test_what_is_not_understood(answer, said):
    found = sort({"node1": answer})
    assert found.strange == {"node1": "its answer is not understood: " + said}
    assert not found.nodes
