"""How nodes are known, asked and told things."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.tools import command, decode

ROWS = [
    ["node2.x", ["swift"], False, "192.0.2.2", False, "default", True, "R"],
    ["node1.x", [], False, "192.0.2.1", True, "default", True, "M"],
]


class OpPrereqError(Exception):
    """Ganeti's."""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module on node1, with Ganeti's SSH and its master daemon in place."""
    store = SimpleNamespace(GetClusterName=lambda: "c", GetSshPortMap=dict)
    runner = SimpleNamespace(
        BuildCmd=lambda node, user, words, **options: ["ssh", "%s@%s" % (user, node), words],
        CopyFileToNode=lambda node, port, path: (node, port) == ("node3", 22),
    )
    client = SimpleNamespace(QueryNodes=lambda names, fields, locking: ROWS)
    parts = {
        "constants": SimpleNamespace(SSH_LOGIN_USER="root"),
        "cli": SimpleNamespace(
            GetClient=lambda: client,
            SendJob=lambda ops, cl: ops,
            PollJob=lambda job, cl, cancel_fn: ["late" if cancel_fn() else "done %s" % job[0]],
        ),
        "errors": SimpleNamespace(
            OpPrereqError=OpPrereqError, ECODE_NOENT="unknown_entity", ECODE_INVAL="wrong_input"
        ),
        "ssconf": SimpleNamespace(
            SimpleStore=lambda: store, GetMasterAndMyself=lambda ss: ("node1", "node1")
        ),
        "ssh": SimpleNamespace(SshRunner=lambda cluster_name: runner),
    }
    ganeti: Any = ModuleType("ganeti")
    for name, part in parts.items():
        setattr(ganeti, name, part)
    monkeypatch.setitem(sys.modules, "ganeti", ganeti)
    monkeypatch.delitem(sys.modules, "ganeti_gluster.cmdlib.cluster", raising=False)
    from ganeti_gluster.cmdlib import cluster

    yield cluster
    sys.modules.pop("ganeti_gluster.cmdlib.cluster", None)


def test_nodes_are_reached_in_one_place() -> None:
    lib = Path(command.__file__).parents[1]
    ways = r"\b(QueryNodes|SshRunner|OpRestrictedCommand|SubmitOpCode|SendJob)\("
    found = [path.name for path in lib.rglob("*.py") if re.search(ways, path.read_text())]
    assert found == ["cluster.py"]


def test_what_a_node_answers_is_bounded(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run(argv: Sequence[str], **options: Any) -> command.CommandResult:
        asked.append((list(argv), options))
        return command.CommandResult(tuple(argv), 0, "", "")

    monkeypatch.setattr(command, "run", run)
    cluster.SshChannel()("node2", ["gluster", "peer status"], timeout=5)
    assert asked == [
        (
            ["ssh", "root@node2", "gluster 'peer status'"],
            {"timeout": 5, "check": False, "longest": decode.LONGEST},
        )
    ]


def test_a_file_goes_to_the_other_nodes(cluster: Any) -> None:
    names = ["node1", "node2", "node3"]
    assert cluster.SshChannel().copy("/f", names, seconds=60) == ["node2"]


def test_nodes_are_known_by_the_beginning_of_their_names(cluster: Any) -> None:
    known = cluster.nodes()
    assert [node.name for node in known] == ["node1.x", "node2.x"]
    assert (known[1].address, known[1].tags, known[1].role) == ("192.0.2.2", {"swift"}, "R")
    assert cluster.choose(known, []) == known
    assert cluster.choose(known, ["node2.x"]) == known[1:]
    with pytest.raises(OpPrereqError, match=r"node node2\.x is named more than once"):
        cluster.choose(known, ["node2", "node2.x"])
    for name in ("node", "node3"):
        with pytest.raises(OpPrereqError, match="Node '%s' not known" % name):
            cluster.choose(known, [name])


def test_a_job_is_not_waited_for_for_ever(cluster: Any) -> None:
    assert cluster.job("op") == "done op"
    assert cluster.job("op", seconds=-1) == "late"


def test_nobody_is_asked_where_there_is_nobody(cluster: Any) -> None:
    assert cluster.ask("gluster-verify-node", {}, seconds=1) == {}
