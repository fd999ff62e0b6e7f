"""What nodes answer to the pool's verbs, and what is no answer."""

from __future__ import annotations

import dataclasses
import json

import pytest

from ganeti_gluster.core.pool import agent
from ganeti_gluster.core.pool.agents import RESULTS, Agents
from ganeti_gluster.core.pool.facts import CandidateFacts, PlaceFacts
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.command import CommandResult

FACTS = CandidateFacts("11.1", peers=("node2",), place=PlaceFacts("/srv", entries=("a",)))


def ask(verb, *, stdout="", stderr="", exit_code=0):
    """What a node answers that prints this, beside one that answers as it should."""

    def channel(node, argv, *, timeout):
        if node == "good":
            return CommandResult((), 0, json.dumps({"result": True}) + "\n", "")
        return CommandResult((), exit_code, stdout, stderr)

    answers, errors = Agents(channel).try_all(verb, {"good": {}, "bad": {}})
    assert "good" in {**answers, **errors}
    return answers.get("bad"), errors.get("bad")


def test_each_verb_has_its_answer():
    assert RESULTS.keys() == agent.VERBS.keys()


def test_facts_come_as_facts():
    text = json.dumps({"result": dataclasses.asdict(FACTS)})
    assert ask("look", stdout="noise\n" + text + "\n") == (FACTS, None)


@pytest.mark.parametrize(
    ("verb", "result", "said"),
    [
        ("ready", "x", "result: not true or false, but str"),
        ("place", [], "result: not an object, but list"),
        ("place", {}, "result.path: it is missing"),
        ("place", {"path": "\x1b[2J"}, "result.path: a string that cannot be printed"),
        ("count", {"files": "x"}, "result[0]: not a number, but str"),
        ("count", {"files": -1}, "result[0]: a number that is out of range"),
        ("reach", ["x"], "result: not a string, but list"),
        ("look", {"peers": "ab"}, "result.peers: not a list, but str"),
        ("look", {"clock": "x"}, "result.clock: not a number, but str"),
        ("look", {"device": {"size": 1}}, "result.device.path: it is missing"),
    ],
)
def test_another_answer_is_not_understood(verb, result, said):
    found, error = ask(verb, stdout=json.dumps({"result": result}))
    assert (found, error) == (None, "its answer is not understood: " + said)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"stdout": '{"error": "no such file"}'}, "no such file"),
        (
            {"stdout": '{"error": "\\u001b[2J"}'},
            "its answer is not understood: error: a string that cannot be printed",
        ),
        ({"stdout": '["result"]', "stderr": "\x1b[2J"}, "agent: exit status 0: �[2J"),
        ({"stdout": "[" * 10000, "stderr": "cut", "exit_code": 1}, "agent: exit status 1: cut"),
        ({"stderr": "\x1b[2Jno route", "exit_code": 255}, "SSH does not reach it: �[2Jno route"),
        ({"stderr": "No module named x"}, "ganeti-gluster is not installed there"),
    ],
)
def test_what_is_no_answer_is_a_reason(told, said):
    assert ask("ready", **told) == (None, said)


def test_one_node_is_asked_by_itself():
    def channel(node, argv, *, timeout):
        return CommandResult((), 0, '{"result": {"path": 5}}', "")

    with pytest.raises(GanetiGlusterError, match="cannot place: node1: its answer is not under"):
        Agents(channel).one("node1", "place")
