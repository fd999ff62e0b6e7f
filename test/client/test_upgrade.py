"""`gnt-gluster upgrade`, through its own entry point."""

from __future__ import annotations

import contextlib
import json
import logging
from typing import Any

import pytest

from ganeti_gluster.core.pool.steps import Step
from ganeti_gluster.errors import GanetiGlusterError

from .conftest import Entry

ROW = {
    "node": "node2",
    "offline": False,
    "version": "11.1-6",
    "candidate": "11.2-1",
    "along": [],
    "upgrade": True,
    "interrupted": False,
    "instances": ["web1"],
}


class Orders:
    """What the nodes show, what is to be done, and what was."""

    def __init__(self) -> None:
        self.given: list[Any] = []
        self.reasons: list[str] = []
        self.rows = [ROW]
        self.steps = [Step("node2: upgraded", lambda: False, lambda: self.done.append("node2"))]
        self.done: list[str] = []
        self.doubt = ""

    def look(self, client: object, agents: object, names: list[str]) -> Orders:
        self.given.append(names)
        return self

    def plan(self, seen: object, client: object, agents: object, *more: Any, force: bool) -> Any:
        self.given.append((more[0].how, force))
        if self.doubt:
            raise GanetiGlusterError(self.doubt)
        return self.steps

    def walk(self) -> list[str]:
        return []

    def unready(self, walk: list[str]) -> list[str]:
        return self.reasons

    def candidate(self) -> str:
        return "11.2-1"


@pytest.fixture
def orders(check: Entry) -> Orders:
    """A command on the master, where nobody else changes the pool."""
    found = Orders()
    check.be_master()
    check.replace(
        "cmdlib.pool_nodes",
        agents=lambda: None,
        exclusive=contextlib.nullcontext,
        logger=lambda: logging.getLogger("test"),
    )
    check.replace(
        "cmdlib.upgrade", look=found.look, steps=found.plan, describe=lambda seen: seen.rows
    )
    return found


@pytest.mark.parametrize(
    ("words", "names", "how", "force"),
    [
        ("--yes", [], "", False),
        ("-f --migrate", [], "migrate", True),
        ("--yes --failover -n node2 --node=node3", ["node2", "node3"], "failover", False),
    ],
)
def test_nodes_are_upgraded(
    check: Entry, orders: Orders, words: str, names: list[str], how: str, force: bool
) -> None:
    out = check("upgrade %s" % words, 0, out="[1/1] node2: upgraded: done")
    assert "node2 11.1-6 11.2-1 to upgrade web1\n" in out
    assert out.endswith("GlusterFS 11.2-1 is installed.\n")
    assert orders.given[:2] == [names, (how, force)]
    assert orders.done == ["node2"]


def test_nothing_is_done_if_the_answer_is_no(check: Entry, orders: Orders) -> None:
    check.answer(False)
    check("upgrade", 13, out="Steps:\n", err="Nothing was changed; use --yes to skip")
    assert (check.questions, orders.done) == (["Upgrade GlusterFS to 11.2-1?"], [])


def test_a_dry_run_neither_asks_nor_does(check: Entry, orders: Orders) -> None:
    orders.rows = [
        {**ROW, "along": ["libnew0", "libold0"]},
        {**ROW, "node": "node4", "offline": True, "version": None},
    ]
    orders.rows.append({**ROW, "node": "node3", "interrupted": True, "instances": []})
    orders.reasons = ["node4 is offline"]
    out = check("upgrade --dry-run", 0, out=None)
    assert out.rpartition("Plan: ")[0] == (
        "node2 11.1-6 11.2-1 to upgrade web1\n"
        "node4 - 11.2-1 offline web1\n"
        "node3 11.1-6 11.2-1 interrupted -\n"
        "node2: apt-get also installs or upgrades libnew0, libold0\n"
        "The op-version stays as it is: node4 is offline\n"
        "Steps:\n  [    ] node2: upgraded\n"
    )
    assert json.loads(check("upgrade --dry-run --json", 0, out=None)) == orders.rows
    assert orders.done == []


def test_there_may_be_nothing_to_do(check: Entry, orders: Orders) -> None:
    orders.rows, orders.steps = [{**ROW, "upgrade": False}], []
    out = check("upgrade", 0, out="There is nothing to upgrade.\n")
    assert "node2 11.1-6 11.2-1 - web1\n" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--json", "--json needs --dry-run"),
        ("--migrate --failover", "give either --migrate or --failover"),
    ],
)
def test_what_makes_no_sense(check: Entry, orders: Orders, words: str, said: str) -> None:
    check("upgrade --yes %s" % words, 1, err="Failure: %s\n" % said)
    assert orders.given == []


@pytest.mark.parametrize("words", ["", "--yes", "--dry-run", "--dry-run --json"])
def test_a_doubt_is_one_line(check: Entry, orders: Orders, words: str) -> None:
    orders.doubt = "node node3 is needed: not healed yet"
    check("upgrade %s" % words, 1, out="", err="Failure: node node3 is needed: not healed yet\n")
    assert orders.done == []
