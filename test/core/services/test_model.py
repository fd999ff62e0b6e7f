"""The algebra of statuses, every combination of it, and what people are told."""

from __future__ import annotations

import itertools

import pytest

from ganeti_gluster.core.services.model import (
    ClusterServices,
    NodeChoice,
    ServerService,
    ServiceNode,
    ServiceStatus,
    aggregate,
    together,
)
from ganeti_gluster.tools import decode

R, S, P, N, U = (
    ServiceStatus.RUNNING,
    ServiceStatus.STOPPED,
    ServiceStatus.PARTIALLY_UP,
    ServiceStatus.NOT_INSTALLED,
    ServiceStatus.UNKNOWN,
)
SETS = [
    frozenset(found) for size in range(6) for found in itertools.combinations(ServiceStatus, size)
]


def by_the_table(found: frozenset[ServiceStatus]) -> ServiceStatus:
    """The rows of the table in doc/services.rst, each as it is written there."""
    rows = [
        (found == set(), U),
        (found == {R}, R),
        (found == {S}, S),
        (found == {N}, N),
        (found == {U}, U),
        (R in found and len(found) > 1, P),
        (P in found, P),
        (S in found and len(found) > 1 and found <= {S, N, U}, S),
        (found == {N, U}, N),
    ]
    answers = {status for applies, status in rows if applies}
    (answer,) = answers  # the rows leave nothing out, and do not contradict each other
    return answer


@pytest.mark.parametrize("found", SETS, ids=lambda found: "+".join(sorted(map(str, found))))
def test_every_combination_is_decided_by_the_table(found: frozenset[ServiceStatus]) -> None:
    assert aggregate(found) is by_the_table(found)


def test_neither_order_nor_number_of_members_matters() -> None:
    for members in itertools.product(ServiceStatus, repeat=4):
        assert aggregate(members) is aggregate(set(members)) is aggregate(reversed(members))


def test_a_status_with_itself_stays() -> None:
    for status in ServiceStatus:
        assert aggregate([status]) is aggregate([status] * 3) is status


def test_services_first_or_nodes_first_is_the_same() -> None:
    for cells in itertools.product(ServiceStatus, repeat=4):
        rows = [cells[0:2], cells[2:4]]  # 2 nodes with 2 services each
        columns = list(zip(*rows, strict=True))
        whole = aggregate(cells)
        assert aggregate(map(aggregate, rows)) is whole
        assert aggregate(map(aggregate, columns)) is whole


def test_groups_of_any_size_put_together_are_their_members_put_together() -> None:
    for left, right in itertools.product(SETS[1:], repeat=2):
        assert aggregate([aggregate(left), aggregate(right)]) is aggregate(left | right)


def test_one_silent_node_never_leaves_a_cluster_running() -> None:
    for others in range(1, 4):
        assert aggregate([R] * others + [U]) is P


def test_words_and_colours() -> None:
    assert {status: (status.word, status.colour) for status in ServiceStatus} == {
        R: ("Up", "green"),
        S: ("Down", "red"),
        P: ("Partially up", "amber"),
        N: ("Not installed", "grey"),
        U: ("Unknown", "grey"),
    }


def service(node: str, name: str, status: ServiceStatus, message: str = "") -> ServerService:
    return ServerService("GLUSTER_SWIFT", name, node, status, message)


def test_the_message_names_what_does_not_run_and_every_unknown_member() -> None:
    found = together(
        [
            service("node1", "object", R),
            service("node1", "proxy", S, "failed: exit-code, exit status 1"),
            service("node2", "object", U, "no connection within 5 s"),
            service("node2", "proxy", U, "no connection within 5 s"),
            service("node3", "object", N),
            service("node3", "proxy", U, "activating (start)"),
        ]
    )
    assert found.status is P
    assert found.message == (
        "down: node1 (proxy); not installed: node3 (object);"
        " unknown: node2: no connection within 5 s, node3 (proxy): activating (start)"
    )


@pytest.mark.parametrize("status", [R, S, N])
def test_where_all_are_alike_there_is_nothing_to_name(status: ServiceStatus) -> None:
    assert together([service("node1", "object", status)] * 2).message == ""


def test_unknown_members_are_named_even_when_they_do_not_show() -> None:
    found = together([service("node1", "proxy", S), service("node2", "proxy", U, "no answer")])
    assert (found.status, found.message) == (S, "unknown: node2 (proxy): no answer")


def test_a_snapshot_survives_json() -> None:
    snapshot = ClusterServices(
        1.5, (service("node1", "proxy", S, "masked"),), {"node2": "marked offline in Ganeti"}
    )
    assert decode.build(ClusterServices, snapshot.to_dict()) == snapshot


def test_which_nodes_a_type_is_expected_on() -> None:
    tagged, plain = ServiceNode("node1", frozenset({"swift"})), ServiceNode("node2")
    choices = {
        NodeChoice(): [True, True],
        NodeChoice("names"): [False, False],
        NodeChoice("names", names=frozenset({"node2"})): [False, True],
        NodeChoice("tag", tag="swift"): [True, False],
    }
    for choice, expected in choices.items():
        assert [tagged in choice, plain in choice] == expected
