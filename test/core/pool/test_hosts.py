"""Which node a host is that GlusterFS knows by a name of its own."""

from __future__ import annotations

import pytest

from ganeti_gluster.core.pool.hosts import node_of

ADDRESSES = {
    "node1.example.com": ("192.0.2.1", "198.51.100.1"),
    "node2.example.com": ("192.0.2.2", "198.51.100.2"),
}
NAMES = {"node2-gl": {"198.51.100.2"}, "other": {"203.0.113.9"}}


def resolve(host: str) -> set[str]:
    return NAMES.get(host, set())


@pytest.mark.parametrize(
    ("hosts", "node"),
    [
        (["node1.example.com"], "node1.example.com"),
        (["192.0.2.2"], "node2.example.com"),
        (["198.51.100.2"], "node2.example.com"),
        (["node2-gl"], "node2.example.com"),
        (["unknown", "198.51.100.1"], "node1.example.com"),
        (["other"], ""),
        (["unknown"], ""),
        ([], ""),
    ],
)
def test_a_host_is_a_node_by_any_name(hosts: list[str], node: str) -> None:
    assert node_of(hosts, ADDRESSES, resolve=resolve) == node


def test_names_are_resolved_only_where_that_is_needed() -> None:
    def never(host: str) -> set[str]:
        raise AssertionError(host)

    assert node_of(["node2-gl", "192.0.2.2"], ADDRESSES, resolve=never) == "node2.example.com"
