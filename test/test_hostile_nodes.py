"""What a node in strange hands may answer, and all that the master does with it.

An answer that an honest node could give is changed in one to three places, to values
that other programs have stumbled over; or it is something else altogether.  Whatever
comes: nothing but `GanetiGlusterError` is raised, and what is taken from it can be
printed, stored, told to hooks and shown.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import tempfile
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ganeti_gluster import plugin_state
from ganeti_gluster.client import service_table
from ganeti_gluster.cmdlib import overview
from ganeti_gluster.core.pool import agents
from ganeti_gluster.core.pool.facts import CandidateFacts, DeviceFacts, PlaceFacts
from ganeti_gluster.core.services import answers, config, publish, replica
from ganeti_gluster.core.services import node as on_node
from ganeti_gluster.core.services import store as services_store
from ganeti_gluster.core.services.answers import Body, NodeAnswer
from ganeti_gluster.core.services.config import ServicesConfig
from ganeti_gluster.core.services.control import DONE, Outcome
from ganeti_gluster.core.services.events import Event
from ganeti_gluster.core.services.inquiry import Inquiry
from ganeti_gluster.core.services.model import (
    ClusterServices,
    ServerService,
    ServiceNode,
    ServiceStatus,
)
from ganeti_gluster.core.services.store import Store
from ganeti_gluster.core.services.systemd import UnitState
from ganeti_gluster.core.verify import facts as f
from ganeti_gluster.core.verify.facts import sort
from ganeti_gluster.core.verify.finding import MARK, Finding
from ganeti_gluster.core.verify.node_checks import check_node
from ganeti_gluster.core.verify.pool_checks import check_pool
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.patches import cluster_verify as verify_patch
from ganeti_gluster.tools import decode
from ganeti_gluster.tools.command import CommandResult
from ganeti_gluster.tools.decode import as_data
from ganeti_gluster.web import facts as web_facts

SWIFT = config.BUILT_IN[0]

# Nothing here is measured by the clock: a machine that stands still for half a minute while
# an answer is made up says nothing of the code.
settings.register_profile(
    "hostile",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("hostile")

DEEP: Any = []
for _ in range(600):
    DEEP = [DEEP]

EVIL = st.sampled_from(
    [
        None,
        True,
        "",
        "x",
        "\0",
        "\ud800",
        "\x1b]0;owned\x07\x1b[2J",
        "\x9b31m",
        "\u202eevil",
        "line\nERROR: another",
        "x" * 70000,
        "😀" * 2000,
        0,
        -1,
        2**53 + 1,
        2**64,
        10**400,
        1e308,
        float("inf"),
        float("nan"),
        [],
        {},
        [[]],
        ["x"],
        {"x": 1},
        [{}],
        DEEP,
        "RUNNING",
        "PARTIALLY_UP",
        "GLUSTER",
    ]
    # A new one each time: it is changed in turn.
).map(lambda value: json.loads(json.dumps(value)))


def places(data: Any) -> list[tuple[Any, Any]]:
    """Each container in the data, with each of its keys."""
    found: list[tuple[Any, Any]] = []
    rest = [data]
    while rest:
        one = rest.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one))
        found += [(one, key) for key in keys]
        rest += [one[key] for key in keys if isinstance(one[key], dict | list)]
    return found


@st.composite
def hostile(draw: st.DrawFn, honest: Any) -> str:
    """The text of an answer that is like the honest one, or of none."""
    if draw(st.integers(0, 9)) == 0:
        return draw(
            st.one_of(
                st.text(max_size=20),
                st.sampled_from(["[" * 100000, "1" * 5000, '"\\ud800"', "\0", '{"a":1e999}']),
                EVIL.map(json.dumps),
            )
        )
    data = copy.deepcopy(honest)
    for _ in range(draw(st.integers(1, 3))):
        container, key = draw(st.sampled_from(places(data)))
        value = draw(EVIL)
        if isinstance(container, list) and key >= len(container):
            continue
        action = draw(st.sampled_from(("change", "remove", "rename", "double")))
        if action == "remove":
            container.pop(key) if isinstance(container, list) else container.pop(key, None)
        elif action == "rename" and isinstance(container, dict) and isinstance(value, str):
            container[value] = container.get(key)
        elif action == "double" and isinstance(container, list):
            container.append(container[key])
        else:
            container[key] = value
        if not places(data):
            break
    return json.dumps(data)


class Running:
    """A manager of a node on which everything runs."""

    def read(self, units: list[str]) -> dict[str, UnitState]:
        return {
            unit: UnitState(
                unit, unit.startswith("swift"), ServiceStatus.RUNNING, "so", 5.5, pid=7
            )
            for unit in units
        }


STATUS = on_node.status(ServicesConfig(), Running(), master="node1")  # type: ignore[arg-type]
OUTCOMES = {
    "format": 1,
    "outcomes": [
        as_data(Outcome("", SWIFT.name, service.name, DONE, ServiceStatus.RUNNING, "so"))
        for service in SWIFT.services
    ],
}
BEFORE = ClusterServices(
    5.0,
    tuple(
        ServerService(SWIFT.name, service.name, node, ServiceStatus.STOPPED)
        for node in ("node1", "node2")
        for service in SWIFT.services
    ),
)


def is_fit(text: str) -> bool:
    """Whether a text can be printed, stored, be in an environment and stay one line."""
    return text.isprintable() and bool(text.encode() or True)


@given(hostile(STATUS))
def test_a_nodes_services_can_be_stored_told_and_shown(output: str) -> None:
    inquiry = Inquiry(config.BUILT_IN, [ServiceNode("node1"), ServiceNode("node2")])
    inquiry.take({"node2": NodeAnswer(output), "node1": NodeAnswer(json.dumps(STATUS))})
    snapshot = inquiry.snapshot()
    assert all(is_fit(reason) for reason in snapshot.failures.values())
    # The other node is as it is, whatever this one says.
    assert snapshot.aggregate(type=SWIFT.name, node="node1").status is ServiceStatus.RUNNING
    for each in config.BUILT_IN:
        names = [service.name for service in each.services]
        assert [one.name for one in snapshot.select(type=each.name, node="node2")] == names
    with new_store() as store:
        store.record(BEFORE, master="node1", history=100)
        events = store.record(snapshot, master="node1", history=100)
        dump = replica.unpack(replica.pack(store.dump()), history=100)
        kept = store.snapshot()
        assert store.events() == events
    assert kept is not None
    with new_store() as other:
        assert other.load(dump)
        assert other.snapshot() == kept
    for event in events:
        assert all(is_fit(text) for text in publish.fields(event).values())
        assert is_fit(event.line()) and len(event.message) <= 1000
    for each in config.BUILT_IN:
        lines = service_table.overview(kept, each.name, each.title, colour=False)
        assert all(is_fit(line) for line in lines)
    for one in kept.services:
        assert is_fit(service_table.moment(one.since)) and is_fit(one.message)
    board = web_facts.Board()
    board.post(json.loads(web_facts.encode("swift", web_facts.Part(kept.to_dict(), 1.0))))
    assert board.snapshot.swift == kept.of_type(SWIFT)


@contextlib.contextmanager
def new_store() -> Iterator[Store]:
    """An empty store."""
    with (
        tempfile.TemporaryDirectory() as directory,
        services_store.connect(directory + "/store.db", readonly=False) as store,
    ):
        yield store


@given(hostile(OUTCOMES))
def test_outcomes_are_of_what_was_asked_for(output: str) -> None:
    outcomes = answers.parse_outcomes(NodeAnswer(output), SWIFT, SWIFT.services, "node2")
    assert [one.service for one in outcomes] == [service.name for service in SWIFT.services]
    assert all(one.type == SWIFT.name and one.node == "node2" for one in outcomes)
    assert all(is_fit(one.message) for one in outcomes)


def honest_dump() -> dict[str, Any]:
    with new_store() as store:
        store.record(BEFORE, master="node2", history=100)
        store.record(BEFORE.with_services(BEFORE.services[:4]), master="node2", history=100)
        dump: dict[str, Any] = json.loads(json.dumps(store.dump()))
        return dump


@given(hostile(honest_dump()))
def test_a_dump_is_taken_whole_or_not_at_all(text: str) -> None:
    with new_store() as store:
        store.record(BEFORE, master="node1", history=100)
        before = store.dump()
        try:
            packed = replica.pack(json.loads(text))
        except ValueError:
            packed = text
        except RecursionError:
            return  # nothing could pack it
        try:
            answer = NodeAnswer(json.dumps({"format": 1, "dump": packed}))
            taken = store.load(replica.fetched(answer, history=100))
        except GanetiGlusterError:
            taken = False
        if not taken:
            assert store.dump() == before
        # It goes on either way, and the next one can go on from it.
        store.record(BEFORE.with_services(()), master="node1", history=100)
        assert store.snapshot() == BEFORE.with_services(())
        for event in store.unpublished():
            assert all(is_fit(text) for text in publish.fields(event).values())
            store.logged(event)
            store.published(event)
            store.copied("node3", store.version())
        with new_store() as other:
            assert other.load(replica.unpack(replica.pack(store.dump()), history=100))


PEER = f.PeerView("node3", ("node3", "192.0.2.3"), "u3", True, True, False, "Peer in Cluster")
PLUGIN: Any = {
    "version": "0.1.0",
    "ganeti": "3.1.0",
    "template": "ganeti-gluster",
    "reasons": [],
    "noded": "ganeti-gluster",
    "noded_reasons": ["old"],
}
FACTS = f.NodeFacts(
    "node2",
    PLUGIN,
    glusterfs="11.1",
    glusterd=f.RUNNING,
    uuid="u2",
    peers=(PEER,),
    volumes=("gv0",),
    op_version=110000,
    max_op_version=110000,
    bricks=(
        f.BrickPlace(
            "gv0", "node2:/b", "/b", "", True, False, 100, 50, 10, 5, 0, {"gfid1": "gfid2"}
        ),
    ),
    reached=("gv0",),
    unreachable={"gv1": "no"},
    exports=(f.ExportView("gv0-1", True),),
    servers=(f.ServerView("gv0-1", "silent", 5.5, "late"),),
    tls=f.TlsFiles(True, ("glusterfs.pem",), "0123"),
    problems=("late",),
    told=({"volume": "gv0", "host": "node1", "port": 24007},),
)
OTHER = f.NodeFacts("node1", PLUGIN, glusterd=f.RUNNING, uuid="u1", volumes=("gv0",))


@given(hostile(json.loads(json.dumps(FACTS.to_dict()))))
def test_a_nodes_facts_can_be_checked_and_shown(output: str) -> None:
    honest = json.dumps(OTHER.to_dict())
    told = sort({"node1": (True, honest), "node2": (True, output)})
    assert told.nodes["node1"] == OTHER
    assert {*told.nodes, *told.strange} == {"node1", "node2"}
    assert all(is_fit(reason) for reason in told.strange.values())
    findings = [*check_pool(told.nodes)]
    for node in told.nodes.values():
        findings += check_node(node)
    for finding in findings:
        assert is_fit(str(finding))
    config_of = SimpleNamespace(
        cluster="c",
        nodes=[SimpleNamespace(name=name, offline=False) for name in ("node1", "node2")],
        disks=[],
    )
    seen: Any = SimpleNamespace(config=config_of, nodes=told.nodes, volumes={}, images={})
    described = overview.describe(seen, findings)
    assert is_fit(json.dumps(described, ensure_ascii=False))


FINDINGS = [as_data(Finding.of("BRICK_DOWN", "node2:/b", "it is not running", volume="gv0"))]


@given(hostile(FINDINGS))
def test_findings_that_a_node_hands_on(text: str) -> None:
    payload = [(verify_patch.HOOK, 0, "noise\\n" + MARK + text)]
    results = {
        "uuid-node1": SimpleNamespace(
            fail_msg="",
            offline=False,
            payload=[(verify_patch.HOOK, 0, MARK + json.dumps(FINDINGS))],
        ),
        "uuid-node2": SimpleNamespace(fail_msg="", offline=False, payload=payload),
    }
    told = verify_patch.handed_on(results, lambda uuid: uuid.removeprefix("uuid-"))
    assert [finding.code for node, finding in told if node == "uuid-node1"] == ["BRICK_DOWN"]
    for _, finding in told:
        assert is_fit(verify_patch.message(finding, "node2", with_code=True))
        assert isinstance(finding.code, str)


@given(hostile(PLUGIN))
def test_a_plugins_state_can_be_shown(output: str) -> None:
    state = plugin_state.parse(True, output)
    assert state["template"] in ("unknown", "ganeti-gluster", "stock")
    # As `gnt-gluster plugin status` puts them together.
    assert is_fit("; ".join(state["reasons"] + state.get("noded_reasons", [])))
    assert all(is_fit(str(value)) for value in state.values())


POOL = {
    "result": dataclasses.asdict(
        CandidateFacts(
            version="11.1",
            peers=("node1",),
            addresses={"node1": "192.0.2.1"},
            reach={"node1": ""},
            clock=0.5,
            place=PlaceFacts("/srv", entries=("x",)),
            device=DeviceFacts("/dev/vdb", signatures=("xfs",)),
        )
    )
}


@given(hostile(json.loads(json.dumps(POOL))), st.sampled_from([*agents.RESULTS]))
def test_what_the_pools_agent_answers(text: str, verb: str) -> None:
    try:
        found = agents.parse(
            CommandResult((), 0, "noise\n" + text + "\n", "\x1b[2J"), agents.RESULTS[verb]
        )
    except GanetiGlusterError as err:
        assert is_fit(str(err))
    else:
        assert is_fit(repr(found))


@given(st.one_of(st.binary(max_size=200), hostile([True, "output"]).map(str.encode)))
def test_what_a_node_daemon_sends_is_an_outcome_and_a_text(data: bytes) -> None:
    body = Body(1000)
    if body.take(data) != len(data):
        assert len(data) > 1000
        return
    try:
        success, text = json.loads(body.text())
    except GanetiGlusterError as err:
        assert is_fit(str(err))
        return
    assert isinstance(success, bool) and isinstance(text, str)
    reason = answers.explain(text, 8)
    assert is_fit(reason) and len(reason) <= 1000


@given(st.text(max_size=50), st.integers(0, 10**30))
def test_any_reason_can_be_printed(text: str, number: int) -> None:
    for message in (text, "Error %d: %s" % (number, text)):
        assert is_fit(answers.explain(message, 8))


def test_events_are_what_they_were() -> None:
    event = Event(5.0, "node-status", "T", "n", "", "RUNNING", "STOPPED", "so", 7, "u")
    assert decode.build(Event, as_data(event)) == event
