"""`gnt-gluster verify`, through its own entry point."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from ganeti_gluster.core.verify.finding import Finding
from ganeti_gluster.errors import GanetiGlusterError

from .conftest import MASTER, Entry, raiser, refused

BAD = [Finding.of("GLUSTERD_DOWN", "node2", "down"), Finding.of("VOLUME_MISSING", "gv0", "gone")]


@pytest.fixture
def findings(check: Entry) -> list[object]:
    """What is wrong with the cluster, nothing at first, for the master."""
    wrong: list[object] = []
    node = check.part("cmdlib.cluster").ClusterNode
    nodes = [
        node(name, frozenset(), False, "192.0.2.1", True)
        for name in ("node1", "node2", "node3.example.org")
    ]
    check.replace("cmdlib.cluster_config", load=lambda **named: SimpleNamespace(nodes=nodes))
    check.replace("cmdlib.verify", look_at_cluster=lambda config: None)
    check.replace("cmdlib.verify", check_cluster=lambda seen: wrong)
    return wrong


def test_elsewhere_the_master_is_named_and_what_works_there(check: Entry) -> None:
    check.be_elsewhere()
    text = (
        "This is not the master node; run on %s: gnt-gluster verify --json"
        " (or here, with --local, for this node alone)"
    )
    check("verify --json", 1, err=refused(text % MASTER, "wrong_state"))


@pytest.mark.parametrize("command", ["status", "volume status", "disk remove-orphans"])
def test_only_where_that_is_an_option(check: Entry, command: str) -> None:
    check.be_elsewhere()
    text = "This is not the master node; run on %s: gnt-gluster %s" % (MASTER, command)
    check(command, 1, err=refused(text, "wrong_state"))


def test_one_node_alone_has_no_other(check: Entry) -> None:
    text = "--local is for this node only; do not use --node with it"
    check("verify --local -n node1", 1, err=refused(text))


def test_a_node_that_is_not_there(check: Entry, findings: list[object]) -> None:
    check("verify --node=node9", 1, err=refused("Node 'node9' not known", "unknown_entity"))


def test_nothing_is_said_of_what_is_well(check: Entry, findings: list[object]) -> None:
    check("verify", 0)


def test_errors_are_said_and_are_the_exit_status(check: Entry, findings: list[object]) -> None:
    findings += BAD
    assert len(check("verify", 1, out="gv0: gone; ").splitlines()) == 2
    assert len(json.loads(check("verify --json", 1, out=None))) == 2


def test_those_of_a_node_alone(check: Entry, findings: list[object]) -> None:
    findings += BAD
    assert check("verify -n node2", 1, out="down").count("\n") == 1
    assert check("verify -n node1 --node=node2", 1, out="down").count("\n") == 1
    check("verify -n node1", 0)
    findings.append(Finding.of("GLUSTERD_DOWN", "node3.example.org", "down"))
    assert check("verify -n node3", 1, out="node3.example.org: down").count("\n") == 1


def test_this_node_alone_is_looked_at_anywhere(check: Entry) -> None:
    check.be_elsewhere()
    facts: list[str] = []
    check.replace("cmdlib.node_verify", local_facts=lambda: facts, local_findings=list)
    check("verify --local", 0)
    facts += BAD[:1]  # type: ignore[arg-type]
    assert check("verify --local", 1, out="node2: down").count("\n") == 1


def test_what_cannot_be_looked_at(check: Entry) -> None:
    check.replace("cmdlib.node_verify", local_facts=raiser(GanetiGlusterError("no gluster")))
    check("verify --local", 1, err="Failure: no gluster\n")
