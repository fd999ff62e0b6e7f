"""`gnt-gluster node`, through its own entry point."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import pytest

from ganeti_gluster.core.pool.steps import Step

from .conftest import Entry, refused

NODES = [
    [name, [], False, "192.0.2.1", True, "default", True, "C", "192.0.2.1"]
    for name in ("node1.example.org", "node2.example.org", "node3.example.org")
]


class Orders:
    """What the steps were made for, and whether they were taken."""

    def __init__(self) -> None:
        self.given: list[Any] = []
        self.done = False

    def steps(self, node: str, client: object, agents: object, *more: Any) -> list[Step]:
        self.given.append((node, *more[:-1]))
        return [Step("node marked", lambda: self.done, self.do)]

    def do(self) -> None:
        self.done = True


@pytest.fixture
def orders(check: Entry) -> Orders:
    """A command on the master, where nobody else changes the pool."""
    found = Orders()
    check.be_master(QueryNodes=NODES)
    check.replace(
        "cmdlib.pool_nodes",
        agents=lambda: None,
        exclusive=contextlib.nullcontext,
        logger=lambda: logging.getLogger("test"),
    )
    check.replace("cmdlib.node_maintenance", entering=found.steps, leaving=found.steps)
    return found


@pytest.mark.parametrize(
    ("words", "how", "target"),
    [
        ("", "", None),
        ("--migrate", "migrate", None),
        ("--failover --to node2", "failover", "node2.example.org"),
    ],
)
def test_a_node_is_made_ready(
    check: Entry, orders: Orders, words: str, how: str, target: str | None
) -> None:
    out = check("node maintenance --yes %s node3 on" % words, 0, out="[1/1] node marked: done")
    ((node, away),) = orders.given
    assert (node, away.how, away.target) == ("node3.example.org", how, target)
    assert "When it is back: gnt-gluster node maintenance node3.example.org off\n" in out


def test_it_is_taken_back(check: Entry, orders: Orders) -> None:
    said = "Node node3.example.org is in use again.  Instances are not moved back; hbal(1)"
    check("node maintenance --yes node3 off", 0, out=said)
    assert orders.given == [("node3.example.org",)]


@pytest.mark.parametrize(
    ("words", "question"),
    [
        ("node3 on", "Put node node3.example.org into maintenance?"),
        ("node3 off", "End the maintenance of node node3.example.org?"),
    ],
)
def test_nothing_is_done_if_the_answer_is_no(
    check: Entry, orders: Orders, words: str, question: str
) -> None:
    check.answer(False)
    check("node maintenance %s" % words, 13, out="Steps:\n", err="Nothing was changed; use --yes")
    assert (check.questions, orders.done) == ([question], False)


def test_a_dry_run_neither_asks_nor_does(check: Entry, orders: Orders) -> None:
    shown = check("node maintenance --dry-run node3 on", 0, out=None)
    assert shown.startswith("Steps:\n  [    ] node marked\nPlan: ")
    assert not orders.done


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("node3 aus", "'aus' is neither on nor off"),
        ("--migrate node3 off", "--migrate, --failover and --to have no meaning with off"),
        ("--migrate --failover node3 on", "give either --migrate or --failover"),
        ("--to node2 node3 on", "--to needs --migrate or --failover"),
    ],
)
def test_what_makes_no_sense(check: Entry, orders: Orders, words: str, said: str) -> None:
    check("node maintenance --yes %s" % words, 1, err="Failure: %s\n" % said)
    assert orders.given == []


@pytest.mark.parametrize("words", ["node9 on", "--migrate --to node9 node3 on"])
def test_a_node_that_is_not_known(check: Entry, orders: Orders, words: str) -> None:
    said = refused("Node 'node9' not known", "unknown_entity")
    check("node maintenance --yes %s" % words, 1, err=said)
    assert orders.given == []
