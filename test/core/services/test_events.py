"""Every change makes one event, and nothing else does."""

from __future__ import annotations

import itertools

import pytest

from ganeti_gluster.core.services.events import Event, changes, news, with_since
from ganeti_gluster.core.services.model import ClusterServices, ServerService, ServiceStatus

R, S, P, N, U = (
    ServiceStatus.RUNNING,
    ServiceStatus.STOPPED,
    ServiceStatus.PARTIALLY_UP,
    ServiceStatus.NOT_INSTALLED,
    ServiceStatus.UNKNOWN,
)
TYPE = "GLUSTER_SWIFT"


def snapshot(
    time: float, failures: dict[str, str] | None = None, **nodes: dict[str, ServiceStatus]
) -> ClusterServices:
    """`snapshot(1, node1={"proxy": R}, …)`."""
    return ClusterServices(
        time,
        tuple(
            ServerService(TYPE, name, node, status, (failures or {}).get(node, ""))
            for node, services in nodes.items()
            for name, status in services.items()
        ),
        failures or {},
    )


def brief(events: list[Event]) -> list[tuple[str, ...]]:
    return [
        tuple(filter(None, (event.kind, event.node, event.service, event.old, event.new)))
        for event in events
    ]


def test_no_change_no_event() -> None:
    for a, b in itertools.product(ServiceStatus, repeat=2):
        old = snapshot(1, node1={"proxy": a}, node2={"proxy": b})
        new = snapshot(2, node1={"proxy": a}, node2={"proxy": b})
        assert changes(old, new) == []


def test_each_change_of_each_status_is_told_once() -> None:
    for cells in itertools.product(ServiceStatus, repeat=4):
        old = snapshot(1, node1={"proxy": cells[0]}, node2={"proxy": cells[1]})
        new = snapshot(2, node1={"proxy": cells[2]}, node2={"proxy": cells[3]})
        expected = [
            (kind, node, *service, str(a), str(b))
            for kind, service in (("service-status", ("proxy",)), ("node-status", ()))
            for node, a, b in (("node1", cells[0], cells[2]), ("node2", cells[1], cells[3]))
            if a is not b
        ]
        was, now = (each.aggregate(type=TYPE).status for each in (old, new))
        if was is not now:
            expected.append(("cluster-status", str(was), str(now)))
        assert brief(changes(old, new)) == expected


def test_a_node_falls_silent_and_comes_back() -> None:
    up = {"object": R, "proxy": R}
    old = snapshot(1, node1=up, node2=up)
    silent = snapshot(
        2, {"node2": "no connection within 5 s"}, node1=up, node2={"object": U, "proxy": U}
    )
    there = [
        ("fetch-failed", "node2"),
        ("service-status", "node2", "object", "RUNNING", "UNKNOWN"),
        ("service-status", "node2", "proxy", "RUNNING", "UNKNOWN"),
        ("node-status", "node2", "RUNNING", "UNKNOWN"),
        ("cluster-status", "RUNNING", "PARTIALLY_UP"),
    ]
    assert brief(changes(old, silent)) == there
    assert brief(changes(silent, silent)) == []
    assert [event[0] for event in brief(changes(silent, old))] == [
        "fetch-restored" if event[0] == "fetch-failed" else event[0] for event in there
    ]


def test_a_silent_node_is_one_event_and_what_changed_meanwhile_is_told_later() -> None:
    up = {"object": R, "proxy": R}
    old = snapshot(1, node1=up, node2=up)
    silent = snapshot(2, {"node2": "cut"}, node1=up, node2={"object": U, "proxy": U})
    again = snapshot(3, {"node2": "frozen"}, node1=up, node2={"object": U, "proxy": U})
    last = old.select(node="node2")
    assert brief(news(old, silent, last)) == [
        ("fetch-failed", "node2"),
        ("cluster-status", "RUNNING", "PARTIALLY_UP"),
    ]
    assert news(silent, again, last) == []
    assert brief(news(again, old, last)) == [
        ("fetch-restored", "node2"),
        ("cluster-status", "PARTIALLY_UP", "RUNNING"),
    ]
    changed = snapshot(4, node1=up, node2={"object": R, "proxy": S})
    assert brief(news(again, changed, last)) == [
        ("fetch-restored", "node2"),
        ("service-status", "node2", "proxy", "RUNNING", "STOPPED"),
        ("node-status", "node2", "RUNNING", "PARTIALLY_UP"),
    ]


def test_where_nobody_is_silent_the_news_are_all_changes() -> None:
    for a, b in itertools.product(ServiceStatus, repeat=2):
        old, new = snapshot(1, node1={"proxy": a}), snapshot(2, node1={"proxy": b})
        assert news(old, new, ()) == changes(old, new)


def test_a_reason_that_changes_is_no_event() -> None:
    old, new = (snapshot(1, {"node1": reason}, node1={"proxy": U}) for reason in ("a", "b"))
    assert changes(old, new) == []


def test_services_that_appear_and_vanish() -> None:
    old = snapshot(1, node1={"proxy": R, "account": S})
    new = snapshot(2, node1={"proxy": R, "object": R}, node2={"proxy": N})
    assert brief(changes(old, new)) == [
        ("service-appeared", "node1", "object", "RUNNING"),
        ("service-appeared", "node2", "proxy", "NOT_INSTALLED"),
        ("service-vanished", "node1", "account", "STOPPED"),
        ("node-status", "node1", "PARTIALLY_UP", "RUNNING"),
    ]


def test_a_silent_node_that_leaves_the_cluster_does_not_tell_again() -> None:
    old = snapshot(1, {"node2": "gone"}, node1={"proxy": R}, node2={"proxy": U})
    assert [event[0] for event in brief(changes(old, snapshot(2, node1={"proxy": R})))] == [
        "service-vanished",
        "cluster-status",
    ]


def test_a_new_type_is_recorded_without_events_and_one_that_goes_vanishes() -> None:
    empty, full = ClusterServices(1, ()), snapshot(2, node1={"proxy": R})
    assert changes(empty, full) == []
    assert brief(changes(full, empty)) == [("service-vanished", "node1", "proxy", "RUNNING")]


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (Event(1, "fetch-failed", node="n1", message="m"), "n1 no longer reports its services: m"),
        (Event(1, "fetch-restored", node="n1"), "n1 reports its services again"),
        (
            Event(1, "service-status", TYPE, "n1", "proxy", "RUNNING", "STOPPED", "masked"),
            "GLUSTER_SWIFT proxy on n1: Up -> Down: masked",
        ),
        (
            Event(1, "service-appeared", TYPE, "n1", "proxy", "", "RUNNING"),
            "GLUSTER_SWIFT proxy on n1 is new: Up",
        ),
        (
            Event(1, "service-vanished", TYPE, "n1", "proxy", "RUNNING"),
            "GLUSTER_SWIFT proxy on n1 no longer exists: was Up",
        ),
        (
            Event(1, "node-status", TYPE, "n1", "", "RUNNING", "STOPPED"),
            "GLUSTER_SWIFT on n1: Up -> Down",
        ),
        (
            Event(1, "cluster-status", TYPE, "", "", "RUNNING", "STOPPED"),
            "GLUSTER_SWIFT in the cluster: Up -> Down",
        ),
    ],
)
def test_the_words_of_an_event(event: Event, text: str) -> None:
    assert event.line() == text


def test_since_is_the_nodes_own_or_when_the_status_was_first_seen() -> None:
    def at(time: float, status: ServiceStatus, since: float | None) -> ClusterServices:
        return ClusterServices(time, (ServerService(TYPE, "proxy", "n1", status, since=since),))

    def since(old: ClusterServices | None, new: ClusterServices) -> float | None:
        return with_since(old, new).services[0].since

    assert since(None, at(10, R, 5)) == 5
    assert since(None, at(10, R, None)) == 10
    assert since(at(10, U, 7), at(20, U, None)) == 7
    assert since(at(10, R, 7), at(20, U, None)) == 20
