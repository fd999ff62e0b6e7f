"""What the store keeps: each event once, in order, over restarts and other masters."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from ganeti_gluster.core.services.inquiry import OFFLINE
from ganeti_gluster.core.services.model import ClusterServices, ServerService, ServiceStatus
from ganeti_gluster.core.services.store import StoreError, Version, connect

R, S, U = ServiceStatus.RUNNING, ServiceStatus.STOPPED, ServiceStatus.UNKNOWN


def at(time: float, *statuses: ServiceStatus) -> ClusterServices:
    """The proxy of as many nodes as there are statuses."""
    return ClusterServices(
        time,
        tuple(
            ServerService("GLUSTER_SWIFT", "proxy", "node%d" % number, status)
            for number, status in enumerate(statuses, 1)
        ),
    )


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "services" / "a store.db")


def test_it_is_for_its_owner_alone(path: str) -> None:
    for _ in range(2):
        with connect(path, readonly=False):
            found = list(Path(path).parent.iterdir())
            assert len(found) > 1
            assert {each.stat().st_mode & 0o077 for each in found} == {0}
        Path(path).chmod(0o644)


def record(
    path: str, snapshot: ClusterServices, *, master: str = "node1", history: int = 100
) -> int:
    with connect(path, readonly=False) as store:
        return len(store.record(snapshot, master=master, history=history))


def kinds(path: str) -> list[str]:
    with connect(path) as store:
        return [event.kind for event in store.events()]


CHANGE = ["service-status", "node-status", "cluster-status"]


def test_there_is_nothing_before_the_first_sync(path: str) -> None:
    with pytest.raises(StoreError, match="nothing is known about the services yet:"):
        connect(path).__enter__()


def test_the_first_snapshot_makes_no_events_and_a_repeated_one_neither(path: str) -> None:
    assert record(path, at(1, R)) == 0
    with connect(path) as store:
        version = store.version()
    assert record(path, at(2, R)) == 0
    with connect(path) as store:
        found = store.snapshot()
        assert found is not None
        assert (found.time, store.version(), store.events()) == (2, version, [])


def test_each_change_is_stored_once_whoever_opens_it(path: str) -> None:
    record(path, at(1, R))
    assert record(path, at(2, S)) == 3
    assert record(path, at(3, S)) == 0
    assert kinds(path) == CHANGE
    with connect(path) as store:
        first = store.events(limit=1)[0].id
        assert [event.time for event in store.events(since=2)] == [2, 2, 2]
        assert store.events(since=2.1) == []
        assert store.events(after=first) == []
        assert len({event.uid for event in store.events()}) == 3


def silent(time: float, *, reason: str = "no answer within 8 s") -> ClusterServices:
    """Two nodes, the second of which does not tell."""
    found = at(time, R, U)
    return dataclasses.replace(found, failures={"node2": reason})


def test_one_missed_look_is_nothing_and_two_in_a_row_are_one_event(path: str) -> None:
    record(path, at(1, R, R))
    for time in (2, 4):  # with an answer in between
        assert record(path, silent(time)) == 0
        with connect(path) as store:
            found = store.snapshot()
            assert found is not None
            assert (found.time, found.failures) == (time, {})
            assert {each.status for each in found.services} == {R}
        if time == 2:
            assert record(path, at(3, R, R)) == 0
    assert record(path, silent(5)) == 2
    assert record(path, silent(6)) == 0
    assert record(path, silent(7)) == 0
    assert kinds(path) == ["fetch-failed", "cluster-status"]
    with connect(path) as store:
        found = store.snapshot()
        assert found is not None
        assert found.failures == {"node2": "no answer within 8 s"}
        assert found.select(node="node2")[0].status is U
    # It tells again, and that its service was stopped meanwhile.
    assert record(path, at(8, R, S)) == 3
    assert kinds(path)[2:] == ["fetch-restored", "service-status", "node-status"]


def test_a_node_that_is_marked_offline_is_told_at_once(path: str) -> None:
    record(path, at(1, R, R))
    assert record(path, silent(2, reason=OFFLINE)) == 2


def test_a_node_that_nothing_is_known_of_is_not_forgiven(path: str) -> None:
    record(path, at(1, R))
    assert record(path, silent(2)) > 0
    with connect(path) as store:
        found = store.snapshot()
        assert found is not None
        assert found.failures == {"node2": "no answer within 8 s"}


def test_the_next_master_knows_what_a_silent_node_told_last(path: str, tmp_path: Path) -> None:
    other = str(tmp_path / "other.db")
    record(path, at(1, R, R))
    record(path, silent(2))
    record(path, silent(3))
    assert load(other, dump(path))
    assert dump(other) == dump(path)
    # A miss of this node's own, and the node tells again as it was.
    assert record(other, silent(4), master="node2") == 0
    assert record(other, at(5, R, R), master="node2") == 2
    assert kinds(other)[2:] == ["fetch-restored", "cluster-status"]


def test_a_write_that_fails_leaves_snapshot_and_events_as_they_were(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(path, at(1, R))

    def fail(*args: object) -> None:
        raise OSError("no space left")

    with (
        connect(path, readonly=False) as store,
        monkeypatch.context() as patch,
        pytest.raises(OSError, match="no space left"),
    ):
        patch.setattr(store, "_trim", fail)
        store.record(at(2, S), master="node1", history=100)
    assert kinds(path) == []
    assert record(path, at(3, S)) == 3


def test_the_history_is_bounded_and_keeps_what_has_not_been_told(path: str) -> None:
    record(path, at(1, R), history=4)
    for time in range(2, 12):
        record(path, at(time, S if time % 2 == 0 else R), history=4)
    assert len(kinds(path)) == 30  # nothing has been told yet
    with connect(path, readonly=False) as store:
        waiting = store.unpublished()
        store.published(waiting[-1])
        assert store.unpublished() == []
    record(path, at(12, S), history=4)
    assert len(kinds(path)) == 4
    with connect(path) as store:
        assert [event.kind for event in store.unpublished()] == CHANGE


def test_a_reader_sees_what_a_writer_commits(path: str) -> None:
    record(path, at(1, R))
    with connect(path) as reader:
        assert reader.events() == []
        record(path, at(2, S))
        assert [event.kind for event in reader.events()] == CHANGE


def dump(path: str) -> object:
    with connect(path) as store:
        return json.loads(json.dumps(store.dump()))


def load(path: str, data: object) -> bool:
    with connect(path, readonly=False) as store:
        return store.load(data)  # type: ignore[arg-type]


def test_the_next_master_goes_on_where_the_last_one_was(path: str, tmp_path: Path) -> None:
    other = str(tmp_path / "other.db")
    record(path, at(1, R, R))
    record(path, at(2, S, R))
    with connect(path, readonly=False) as store:
        store.logged(store.events()[1])
        store.published(store.events()[0])
    assert load(other, dump(path))
    assert dump(other) == dump(path)
    with connect(other) as store:
        assert len(store.unpublished()) == 2
        # This node's journal has none of them.
        assert store.last_logged() == store.events()[0].id
    assert not load(other, dump(path))  # a second time there is nothing new
    # What happened in between is one change for the new master; nothing is told again.
    assert record(other, at(3, S, S), master="node2") == 3
    with connect(path) as mine, connect(other) as theirs:
        assert theirs.version() > mine.version()
        assert theirs.version().term == mine.version().term + 1
    # The old master was ahead in what nobody else knows: the new one counts.
    for time in range(3, 9):
        record(path, at(time, R if time % 2 else S, S))
    assert load(path, dump(other))
    assert dump(path) == dump(other)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"format": 99},
        {"version": [1]},
        {"version": [1e999, 1]},
        {"version": [2**60, 1]},
        {"events": [{"no": "event"}]},
        {"events": [{"time": 1, "kind": "x", "message": "\0"}]},
        {"events": [{"time": 1, "kind": "x", "message": ["x"]}]},
        {"events": [{"time": 1, "kind": "x", "message": "\ud800"}]},
        {"events": [{"time": 1e300, "kind": "x"}]},
        {"events": [{"time": 1, "kind": "x", "id": 2**63 - 1}]},
        {"master": ["x"]},
        {"published": "x"},
        {"snapshot": 3},
        {"snapshot": {"time": "x", "services": [], "failures": {}}},
        {"snapshot": {"time": 1, "services": [], "failures": ["x"]}},
        {"snapshot": {"time": 1, "services": [], "failures": {"node1": "\x1b[2J"}}},
    ],
)
def test_what_is_no_dump_is_refused_and_changes_nothing(
    path: str, tmp_path: Path, broken: dict[str, object]
) -> None:
    record(path, at(1, R))
    before = dump(path)
    assert isinstance(before, dict)
    with pytest.raises(StoreError, match="this is not a store from a master"):
        load(path, {**before, "version": [9, 9], **broken} if broken else {})
    assert dump(path) == before


def test_which_node_has_which_state(path: str) -> None:
    with connect(path, readonly=False) as store:
        store.copied("node2", Version(1, 2))
        store.copied("node2", Version(1, 3))
        assert store.copies() == {"node2": (1, 3)}
