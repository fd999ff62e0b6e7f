"""Starts and stops by users, until they are events."""

from __future__ import annotations

from pathlib import Path

from ganeti_gluster.core.services import by_users, store
from ganeti_gluster.core.services.control import ABSENT, DONE, FAILED, UNCHANGED, Outcome
from ganeti_gluster.core.services.events import SERVICE_ACTION
from ganeti_gluster.core.services.model import ClusterServices, ServiceStatus

R = ServiceStatus.RUNNING


def outcomes(**results: str) -> list[Outcome]:
    return [Outcome("node2", "SWIFT", name, result, R) for name, result in results.items()]


def test_the_words_of_a_start_or_stop() -> None:
    one = by_users.event("stop", "alice", outcomes(proxy=DONE, old=ABSENT, other=UNCHANGED))
    assert (one.kind, one.node, one.service, one.old, one.new) == (
        *(SERVICE_ACTION, "node2", "proxy"),
        *("", ""),
    )
    assert one.line() == "SWIFT proxy on node2: stop by alice"
    several = by_users.event("restart", "bob\n", outcomes(object=DONE, proxy=FAILED))
    assert several.line().startswith("SWIFT on node2: restart by bob")
    assert several.line().endswith(": object, proxy; failed: proxy")
    assert "\n" not in several.message


def test_they_are_kept_in_their_order_and_stored_once(tmp_path: Path) -> None:
    directory = tmp_path / "by-users"
    assert by_users.kept(str(directory)) == []
    events = [by_users.event("stop", name, outcomes(proxy=DONE)) for name in ("a", "b")]
    by_users.keep(reversed(events), str(directory))
    (directory / "broken.json").write_text("{")
    assert by_users.kept(str(directory)) == events

    snapshot = ClusterServices(1.0, ())
    with store.connect(str(tmp_path / "store"), readonly=False) as opened:
        for _ in range(2):  # a sync that was killed before it removed the files
            opened.record(
                snapshot, master="node1", history=100, by_users=by_users.kept(str(directory))
            )
        assert [each.uid for each in opened.events()] == [each.uid for each in events]
        generation = opened.version().generation
        opened.record(snapshot, master="node1", history=100)
        assert opened.version().generation == generation
    by_users.forget(events, str(directory))
    assert by_users.kept(str(directory)) == []
