"""The sync of the services on the master, with a store of its own and nodes that answer."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ganeti_master import Master

from ganeti_gluster import constants
from ganeti_gluster.core.services import config, node, prepared, publish, replica, store
from ganeti_gluster.core.services.answers import NodeAnswer
from ganeti_gluster.core.services.model import ServerService, ServiceStatus
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import private
from ganeti_gluster.tools.decode import as_data

from .conftest import Part

UP, DOWN = ServiceStatus.RUNNING, ServiceStatus.STOPPED
#: The events of a proxy that ends: of the service, of its node, and of the cluster.
ENDED = 3
SILENT = NodeAnswer(reason="no answer within 8 s", error="Error 28: Operation timed out")
SWIFT = config.BUILT_IN[0]


class Cluster:
    """Node1, which runs the sync, and two other master candidates that answer it."""

    def __init__(self, part: Part, master: Master, directory: Path) -> None:
        self.module = part("services_sync")
        self.master = master
        self.directory = directory
        #: The state of the proxy on each node.
        self.proxy = dict.fromkeys(master.nodes, UP)
        #: Which node each one considers the master.
        self.votes = dict.fromkeys(master.nodes, "node1")
        #: What nodes answer to a command instead, by (command, node).
        self.instead: dict[tuple[str, str], NodeAnswer] = {}
        #: What was asked, as (command, node).
        self.asked: list[tuple[str, str]] = []
        #: The events that were reported.
        self.journal: list[str] = []

    def sync(self, **how: bool) -> bool:
        self.asked.clear()
        done: bool = self.module.sync(**how)
        return done

    def replica_of(self, name: str) -> str:
        return str(self.directory / ("replica-of-%s" % name))

    def ask(self, command: str, addresses: Mapping[str, str], **rest: Any) -> Any:
        self.asked += [(command, name) for name in addresses]
        return {
            name: self.instead.get((command, name))
            or NodeAnswer(json.dumps(self._do(command, name)))
            for name in addresses
        }

    def _do(self, command: str, name: str) -> dict[str, Any]:
        if command in (node.STATUS_COMMAND, prepared.COMMAND):
            return self._status(name)
        if command == node.DUMP_COMMAND:
            kept = replica.load(self.replica_of(name))
            if kept is None:
                return {"format": node.FORMAT, "error": "nothing is known"}
            return {"format": node.FORMAT, "dump": replica.pack(kept)}
        assert command == node.REPLICATE_COMMAND
        dump = replica.unpack(str(self.module.answer_dump()["dump"]))
        version = replica.save(dump, self.replica_of(name))
        return {"format": node.FORMAT, "version": list(version)}

    def _status(self, name: str) -> dict[str, Any]:
        services = [
            ServerService(
                SWIFT.name, each.name, "", self.proxy[name] if each.name == "proxy" else UP
            )
            for each in SWIFT.services
        ]
        told = {"digest": config.digest(SWIFT), "services": [as_data(each) for each in services]}
        return {
            "format": node.FORMAT,
            "master": self.votes[name],
            "types": {SWIFT.name: told},
        }

    def commands(self) -> set[tuple[str, str]]:
        return set(self.asked)


@pytest.fixture
def cluster(
    part: Part, master: Master, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Cluster:
    monkeypatch.setattr(constants, "SERVICES_DIR", str(tmp_path))
    for name in ("STORE", "REPLICA", "ANSWERS", "MASTER", "SYNC_WANTED", "CONF", "BY_USERS"):
        monkeypatch.setattr(constants, "SERVICES_" + name, str(tmp_path / name.lower()))
    Path(constants.SERVICES_CONF).write_text("[GLUSTER_SWIFT]\nnodes = all\n")
    found = Cluster(part, master, tmp_path)
    netutils = importlib.import_module("ganeti.netutils")
    monkeypatch.setattr(netutils, "Hostname", SimpleNamespace(GetSysName=lambda: "node1"))
    monkeypatch.setattr(found.module.cluster, "ask", found.ask)
    monkeypatch.setattr(publish, "to_journal", lambda event: found.journal.append(event.line()))
    monkeypatch.setattr(publish, "hooks", lambda directory: [])
    return found


def test_nothing_is_done_where_this_node_is_not_the_master(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssconf = importlib.import_module("ganeti.ssconf")
    monkeypatch.setattr(
        ssconf, "SimpleStore", lambda: SimpleNamespace(GetMasterNode=lambda: "node2")
    )
    assert not cluster.sync()
    assert cluster.asked == []
    assert not os.path.exists(constants.SERVICES_STORE)


def test_nothing_is_done_outside_a_cluster(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_cluster() -> Any:
        raise importlib.import_module("ganeti.errors").ConfigurationError("no ssconf")

    monkeypatch.setattr(importlib.import_module("ganeti.ssconf"), "SimpleStore", no_cluster)
    assert not cluster.sync()


def test_nothing_is_done_while_another_sync_runs(cluster: Cluster) -> None:
    with private.locked(os.path.join(constants.SERVICES_DIR, "sync.lock"), seconds=0):
        assert not cluster.sync()
    assert cluster.asked == []


def test_the_first_sync_stores_the_states_and_reports_no_event(cluster: Cluster) -> None:
    cluster.proxy["node2"] = DOWN
    assert cluster.sync()
    with store.connect() as state:
        snapshot = state.snapshot()
        assert state.master() == "node1"
        assert state.version() == (1, 1)
    assert snapshot is not None
    states = {each.node: each.status for each in snapshot.services if each.name == "proxy"}
    assert states == {"node1": UP, "node2": DOWN, "node3": UP}
    assert cluster.journal == []
    assert os.path.exists(constants.SERVICES_MASTER)


def test_a_change_is_reported_once_and_copied_to_the_other_candidates(cluster: Cluster) -> None:
    cluster.sync()
    cluster.proxy["node2"] = DOWN
    cluster.sync()
    assert cluster.journal[0] == "GLUSTER_SWIFT proxy on node2: Up -> Down"
    assert len(cluster.journal) == ENDED
    cluster.sync()
    assert len(cluster.journal) == ENDED
    with store.connect() as state:
        version = state.version()
        assert state.unpublished() == []
    for name in ("node2", "node3"):
        kept = replica.load(cluster.replica_of(name))
        assert kept is not None
        assert replica.version(kept) == version
    # Nothing has changed since, so nobody is asked to copy it.
    assert {command for command, _ in cluster.asked} == {node.STATUS_COMMAND}


def test_the_candidates_have_an_event_before_it_is_reported(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.sync()
    cluster.proxy["node3"] = DOWN
    seen = []

    def to_journal(event: Any) -> None:
        kept = replica.load(cluster.replica_of("node2"))
        assert kept is not None
        seen.append(event.uid in [each["uid"] for each in kept["events"]])

    monkeypatch.setattr(publish, "to_journal", to_journal)
    cluster.sync()
    assert seen == [True] * ENDED


def test_a_candidate_that_cannot_copy_is_asked_at_the_next_sync(cluster: Cluster) -> None:
    cluster.instead[node.REPLICATE_COMMAND, "node2"] = SILENT
    cluster.sync()
    assert replica.load(cluster.replica_of("node2")) is None
    cluster.instead.clear()
    cluster.sync()
    assert (node.REPLICATE_COMMAND, "node2") in cluster.asked
    assert (node.REPLICATE_COMMAND, "node3") not in cluster.asked
    assert replica.load(cluster.replica_of("node2")) is not None


def test_nobody_but_online_candidates_that_answer_is_asked_to_copy(cluster: Cluster) -> None:
    cluster.master.nodes["node2"]["master_candidate"] = False
    cluster.master.nodes["node3"]["offline"] = True
    cluster.sync()
    assert cluster.commands() == {
        (node.STATUS_COMMAND, "node1"),
        (node.STATUS_COMMAND, "node2"),
    }


def test_a_node_that_misses_one_sync_makes_no_event_and_two_make_one(cluster: Cluster) -> None:
    cluster.sync()
    cluster.instead[node.STATUS_COMMAND, "node2"] = SILENT
    cluster.sync()
    assert cluster.journal == []
    cluster.sync()
    assert cluster.journal[0].startswith("node2 no longer reports its services: ")


def test_prepared_answers_are_asked_for_but_of_a_node_that_was_silent(cluster: Cluster) -> None:
    cluster.sync()
    cluster.instead[prepared.COMMAND, "node3"] = SILENT
    cluster.sync(prepared=True)
    assert {name for command, name in cluster.asked if command == prepared.COMMAND} == {
        "node1",
        "node2",
        "node3",
    }
    cluster.sync(prepared=True)
    assert (node.STATUS_COMMAND, "node3") in cluster.asked
    assert (prepared.COMMAND, "node3") not in cluster.asked


def test_a_new_master_continues_from_the_newest_state_of_a_candidate(cluster: Cluster) -> None:
    cluster.sync()
    cluster.proxy["node2"] = DOWN
    cluster.sync()
    with store.connect() as state:
        events = [event.uid for event in state.events()]
    # This node has lost its own store; what the others have is whole.
    for name in (constants.SERVICES_STORE, constants.SERVICES_MASTER):
        os.unlink(name)
    for suffix in ("-wal", "-shm"):
        Path(constants.SERVICES_STORE + suffix).unlink(missing_ok=True)
    cluster.instead[node.DUMP_COMMAND, "node2"] = NodeAnswer(output="not JSON")
    cluster.sync()
    with store.connect() as state:
        assert [event.uid for event in state.events()] == events
    assert len(cluster.journal) == ENDED


def test_a_state_that_another_master_left_here_is_taken(cluster: Cluster) -> None:
    cluster.sync()
    with store.connect() as state:
        dump = state.dump()
    dump.update(version=[5, 7], master="node2")
    replica.save(dump)
    cluster.sync()
    with store.connect() as state:
        assert state.version() == (6, 8)
        assert state.master() == "node1"


def test_a_broken_state_here_is_as_none(cluster: Cluster) -> None:
    cluster.sync()
    with store.connect() as state:
        dump = state.dump()
    dump.update(version=[5, 7], snapshot="broken")
    replica.save(dump)
    cluster.sync()
    with store.connect() as state:
        assert state.version().term < 5


def test_a_master_that_most_nodes_do_not_know_as_such_is_overruled(cluster: Cluster) -> None:
    cluster.sync()
    with store.connect() as state:
        before = state.dump()
    cluster.votes.update(node2="node2", node3="node2")
    cluster.proxy["node3"] = DOWN
    with pytest.raises(GanetiGlusterError) as failure:
        cluster.sync()
    assert str(failure.value).startswith("the other nodes consider node2 to be the master")
    with store.connect() as state:
        assert state.dump() == before
    assert cluster.journal == []
    assert not os.path.exists(constants.SERVICES_MASTER)


def test_of_two_nodes_the_master_is_who_has_seen_more_masters(cluster: Cluster) -> None:
    del cluster.master.nodes["node3"]
    cluster.sync()
    cluster.votes["node2"] = "node2"
    # Node2 says so alone, with a state that is no newer: it decides nothing.
    assert cluster.sync()
    with store.connect() as state:
        dump = state.dump()
    dump.update(version=[9, 1], master="node2")
    replica.save(dump, cluster.replica_of("node2"))
    with pytest.raises(GanetiGlusterError):
        cluster.sync()


def test_a_node_that_is_no_candidate_overrules_nobody(cluster: Cluster) -> None:
    cluster.votes.update(node2="node2", node3="node2")
    cluster.master.nodes["node2"]["master_candidate"] = False
    assert cluster.sync()


def test_a_master_that_loses_its_role_meanwhile_stores_nothing(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([True, False])
    monkeypatch.setattr(cluster.module, "is_master", lambda: next(answers))
    assert not cluster.sync()
    with store.connect() as state:
        assert state.snapshot() is None


def test_a_sync_that_is_wanted_meanwhile_follows_at_once(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    private.touch(constants.SERVICES_SYNC_WANTED)
    wanted = iter([True, False])
    usual = cluster.ask

    def ask(command: str, addresses: Mapping[str, str], **rest: Any) -> Any:
        if command == node.STATUS_COMMAND and next(wanted, False):
            private.touch(constants.SERVICES_SYNC_WANTED)
        return usual(command, addresses, **rest)

    monkeypatch.setattr(cluster.module.cluster, "ask", ask)
    assert cluster.module.main() == 0
    assert cluster.asked.count((node.STATUS_COMMAND, "node1")) == 2
    assert not os.path.exists(constants.SERVICES_SYNC_WANTED)


def test_the_reason_of_a_failure_is_printed(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(constants.SERVICES_CONF).write_text("[GLUSTER_SWIFT\n")
    assert cluster.module.main() == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("the services were not checked: ")
    assert constants.SERVICES_CONF in printed.err
    assert printed.out == ""


def test_a_node_gives_the_newer_of_its_own_state_and_a_masters(cluster: Cluster) -> None:
    with pytest.raises(GanetiGlusterError, match="nothing is known about the services"):
        cluster.module.answer_dump()
    cluster.sync()
    own = replica.unpack(cluster.module.answer_dump()["dump"])
    assert own["version"] == [1, 1]
    replica.save({**own, "version": [2, 1], "master": "node2"})
    assert replica.unpack(cluster.module.answer_dump()["dump"])["master"] == "node2"


def test_a_candidate_fetches_the_masters_state(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.sync()
    with pytest.raises(GanetiGlusterError, match="this is the master"):
        cluster.module.answer_replicate()
    dump = replica.unpack(cluster.module.answer_dump()["dump"])
    replica.save({**dump, "version": [3, 4]}, cluster.replica_of("node2"))
    known = SimpleNamespace(
        GetMasterNode=lambda: "node2",
        GetNodePrimaryIPList=lambda: ["node1 192.0.2.1", "node2 192.0.2.2"],
    )
    monkeypatch.setattr(importlib.import_module("ganeti.ssconf"), "SimpleStore", lambda: known)
    assert cluster.module.answer_replicate() == {"format": node.FORMAT, "version": [3, 4]}
    kept = replica.load()
    assert kept is not None
    assert replica.version(kept) == (3, 4)
    cluster.instead[node.DUMP_COMMAND, "node2"] = SILENT
    with pytest.raises(GanetiGlusterError, match="no answer within 8 s"):
        cluster.module.answer_replicate()
