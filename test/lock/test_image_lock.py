"""Whose a lock is."""

from __future__ import annotations

from ganeti_gluster.lock.image_lock import EXCLUSIVE, Held, Holder, node_number


def test_a_holder_is_known_by_its_number() -> None:
    nodes = ["node1.example.com", "node2.example.com"]
    holder = Holder(node_number(nodes[1]), EXCLUSIVE)
    assert holder.name(nodes) == "node node2.example.com"
    assert holder.name(nodes[:1]) == "an unknown node (%d)" % holder.number


def test_numbers_fit_into_a_pid() -> None:
    numbers = {node_number("node%d" % index) for index in range(1000)}
    assert len(numbers) == 1000
    assert min(numbers) > 0
    assert max(numbers) < 1 << 31


def test_a_refusal_names_the_image() -> None:
    assert str(Held("ganeti/x.0", None)) == "image ganeti/x.0 is open elsewhere"
