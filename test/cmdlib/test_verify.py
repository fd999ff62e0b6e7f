"""What is made of the nodes' answers to the question for their facts."""

from __future__ import annotations

from typing import Any

import pytest
from ganeti_master import Master

from ganeti_gluster.core.services.answers import NodeAnswer, explain

from .conftest import Part


@pytest.fixture
def verify(part: Part, master: Master) -> Any:
    use = part("pool_use")
    use.use(master, use.params_for("gv0", ["node1"]), None)
    return part("verify")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            "Error 35: gnutls_handshake() failed: Error in the pull function.",
            "NODE_SILENT",
            "no TLS connection; does it have this cluster's certificate?",
        ),
        (
            "Executing command 'gluster-verify-node' failed",
            "PLUGIN_ABSENT",
            "it has no command gluster-verify-node",
        ),
        ("Command 'x' failed: exit code 1", "NODE_SILENT", "Command 'x' failed: exit code 1"),
    ],
)
def test_nodes_that_tell_nothing(
    verify: Any, part: Part, monkeypatch: pytest.MonkeyPatch, error: str, code: str, said: str
) -> None:
    answer = NodeAnswer(reason=explain(error, 90), error=error)
    monkeypatch.setattr(
        verify.cluster, "ask", lambda name, addresses, **named: dict.fromkeys(addresses, answer)
    )
    config = part("cluster_config").load()
    asked = verify.ask_nodes(config)
    assert asked.nodes == {}
    seen = verify.Look(config, {}, asked.silent, asked.strange, {}, {}, (), {})
    monkeypatch.setattr(verify, "PROVIDERS", [])
    found = [each for each in verify._check(seen) if each.code == code]
    assert [each.object for each in found] == ["node1", "node2", "node3"]
    assert {each.text for each in found} == {said}


@pytest.mark.parametrize("output", ["", "null", "[" * 100000, '{"name": "node1"}', "9" * 5000])
def test_nodes_that_tell_something_else(
    verify: Any, part: Part, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    monkeypatch.setattr(
        verify.cluster,
        "ask",
        lambda name, addresses, **named: dict.fromkeys(addresses, NodeAnswer(output=output)),
    )
    asked = verify.ask_nodes(part("cluster_config").load())
    assert (asked.nodes, asked.silent, len(asked.strange)) == ({}, {}, 3)


def test_a_node_that_is_offline_is_not_asked(
    verify: Any, part: Part, master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    master.nodes["node2"]["offline"] = True
    names: list[str] = []
    monkeypatch.setattr(
        verify.cluster, "ask", lambda name, addresses, **named: names.extend(addresses) or {}
    )
    verify.ask_nodes(part("cluster_config").load())
    assert names == ["node1", "node3"]


def test_a_node_in_maintenance_is_not_forgotten(verify: Any, part: Part, master: Master) -> None:
    master.nodes["node2"]["tags"] = ["gluster:maintenance"]
    found = list(verify.provided(part("cluster_config").load()))
    assert [str(each) for each in found if each.code == "NODE_MAINTENANCE"] == [
        "WARNING: NODE_MAINTENANCE: node2: it is in maintenance; when it is back: gnt-gluster node"
        " maintenance node2 off; if an upgrade was interrupted: gnt-gluster upgrade"
    ]
