"""The plugin's state on every node, whatever a node answers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ganeti_cli import OpPrereqError
from ganeti_master import Master

from ganeti_gluster.core.services.answers import NodeAnswer, explain

from .conftest import Part

OURS = {"template": "ganeti-gluster", "noded": "ganeti-gluster", "version": "0.1.0"}
GNUTLS = "Error 35: gnutls_handshake() failed: The TLS connection was non-properly terminated."


class States:
    """Three nodes, which answer what `answers` has for them, or that they use the plugin."""

    def __init__(self, module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.module = module
        self.answers: dict[str, NodeAnswer] = {}
        self.asked: list[str] = []
        monkeypatch.setattr(module.cluster, "ask", self.ask)

    def ask(self, name: str, addresses: dict[str, str], *, seconds: float) -> Any:
        self.asked += addresses
        usual = NodeAnswer(output=json.dumps(OURS))
        return {node: self.answers.get(node, usual) for node in addresses}


@pytest.fixture
def states(part: Part, master: Master, monkeypatch: pytest.MonkeyPatch) -> States:
    return States(part("plugin_states"), monkeypatch)


def test_all_nodes_are_asked_but_those_that_are_offline(states: States, master: Master) -> None:
    master.nodes["node2"]["offline"] = True
    found = states.module.fetch([])
    assert states.asked == ["node1", "node3"]
    assert {name: state["template"] for name, state in found.items()} == {
        "node1": "ganeti-gluster",
        "node2": "offline",
        "node3": "ganeti-gluster",
    }


def test_or_those_that_are_named(states: States) -> None:
    assert list(states.module.fetch(["node3"])) == ["node3"]
    with pytest.raises(OpPrereqError) as failure:
        states.module.fetch(["node9"])
    assert failure.value.args == ("Node 'node9' not known", "unknown_entity")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (GNUTLS, "no TLS connection; does it have this cluster's certificate?"),
        (
            "Error 60: SSL certificate problem: self-signed certificate",
            "no TLS connection; does it have this cluster's certificate?",
        ),
        (
            "Executing command 'gluster-plugin-status' failed",
            "its node daemon refuses; is ganeti-gluster installed there?",
        ),
        (
            "Error 7: Failed to connect to 192.0.2.2 port 1811 after 3 ms",
            "no connection; is the node up, and is ganeti-noded running there?",
        ),
    ],
)
def test_the_reason_of_a_node_that_does_not_answer(
    states: States, error: str, reason: str
) -> None:
    states.answers["node2"] = NodeAnswer(reason=explain(error, 60), error=error)
    assert states.module.fetch([])["node2"] == {"template": "unknown", "reasons": [reason]}


@pytest.mark.parametrize("output", ["", "x", "[]", "[" * 100000, '{"template": "mine"}', "{}"])
def test_a_node_that_answers_something_else(states: States, output: str) -> None:
    states.answers["node2"] = NodeAnswer(output=output)
    found = states.module.fetch([])
    assert found["node2"]["template"] == "unknown"
    assert found["node2"]["reasons"][0].startswith("its answer is not understood: ")
    assert found["node3"]["template"] == "ganeti-gluster"
