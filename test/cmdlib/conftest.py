"""The cluster's logic on Ganeti's library as it is in tests, with a master daemon."""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from ganeti_cli import ERRORS
from ganeti_library import on_ganeti
from ganeti_master import Master, ops

from ganeti_gluster.core.pool import identities

Part = Callable[[str], Any]


@pytest.fixture(scope="module")
def part() -> Iterator[Part]:
    """Imports a module of `ganeti_gluster.cmdlib`."""
    with on_ganeti() as load:
        errors = importlib.import_module("ganeti.errors")
        for name, value in ERRORS.items():
            setattr(errors, name, value)
        for name, make in ops().items():
            setattr(importlib.import_module("ganeti.opcodes"), name, make)
        yield lambda name: load("cmdlib.%s" % name)


@pytest.fixture
def master(part: Part, monkeypatch: pytest.MonkeyPatch) -> Master:
    """The master daemon; this node is node1, and the master."""
    found = Master()
    cli = importlib.import_module("ganeti.cli")
    ssconf = importlib.import_module("ganeti.ssconf")
    monkeypatch.setattr(cli, "GetClient", lambda: found)
    monkeypatch.setattr(
        importlib.import_module("ganeti.utils"),
        "MatchNameComponent",
        lambda name, known: name if name in known else None,
    )
    monkeypatch.setattr(ssconf, "GetMasterAndMyself", lambda ss=None: ("node1", "node1"))
    store = SimpleNamespace(
        GetMasterNode=lambda: "node1",
        GetNodePrimaryIPList=lambda: ["node1 192.0.2.1", "node2 192.0.2.2"],
        GetNodeSecondaryIPList=lambda: ["node1 198.51.100.1", "node2 192.0.2.2"],
        ReadAll=lambda: {"offline_nodes": "node3\n"},
    )
    monkeypatch.setattr(ssconf, "SimpleStore", lambda: store)
    monkeypatch.setattr(part("cluster"), "job", found.carry_out)
    monkeypatch.setattr(part("cluster_config"), "read", lambda: found.config)
    return found


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The UUIDs that nodes had when they were last seen."""
    found: dict[str, str] = {}
    monkeypatch.setattr(identities, "load", lambda: found)
    return found


@pytest.fixture
def in_pool(
    part: Part, master: Master, seen: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Part:
    """Makes a pool the cluster's own, and nobody else changes it."""

    def use(pool: Any) -> Any:
        nodes = part("pool_nodes")
        monkeypatch.setattr(nodes, "agents", lambda: pool)
        monkeypatch.setattr(nodes, "exclusive", lambda *, seconds=0: contextlib.nullcontext())
        monkeypatch.setattr(nodes, "logger", lambda: logging.getLogger("test"))
        return pool

    return use
