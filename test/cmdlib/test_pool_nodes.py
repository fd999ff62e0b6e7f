"""How nodes are reached by Ganeti's SSH."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster import command, decode


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An `SshChannel` of node1, with Ganeti's SSH in place."""
    store = SimpleNamespace(GetClusterName=lambda: "c", GetSshPortMap=dict)
    runner = SimpleNamespace(
        BuildCmd=lambda node, user, words, **options: ["ssh", "%s@%s" % (user, node), words]
    )
    parts = {
        "constants": SimpleNamespace(SSH_LOGIN_USER="root"),
        "pathutils": SimpleNamespace(LOG_DIR="/var/log/ganeti"),
        "ssconf": SimpleNamespace(
            SimpleStore=lambda: store, GetMasterAndMyself=lambda ss: ("node1", "node1")
        ),
        "ssh": SimpleNamespace(SshRunner=lambda cluster_name: runner),
    }
    ganeti: Any = ModuleType("ganeti")
    for name, part in parts.items():
        setattr(ganeti, name, part)
    monkeypatch.setitem(sys.modules, "ganeti", ganeti)
    monkeypatch.delitem(sys.modules, "ganeti_gluster.cmdlib.pool_nodes", raising=False)
    from ganeti_gluster.cmdlib import pool_nodes

    yield pool_nodes.SshChannel()
    sys.modules.pop("ganeti_gluster.cmdlib.pool_nodes", None)


def test_what_a_node_answers_is_bounded(channel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def run(argv: Sequence[str], **options: Any) -> command.CommandResult:
        asked.append((list(argv), options))
        return command.CommandResult(tuple(argv), 0, "", "")

    monkeypatch.setattr(command, "run", run)
    channel("node2", ["gluster", "peer status"], timeout=5)
    assert asked == [
        (
            ["ssh", "root@node2", "gluster 'peer status'"],
            {"timeout": 5, "check": False, "longest": decode.LONGEST},
        )
    ]
