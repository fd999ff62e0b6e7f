"""A migration that did not end by itself leaves one guest, the one that went on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.patches import instance_migration
from ganeti_gluster.patches.instance_migration_end import NOT_THERE, OUTCOME_SECONDS, BothAsked

from .test_instance_migration import CONSTANTS, GLUSTER, told


class Rpc:
    """Answers of the old and the new node, and what they were told to end."""

    def __init__(self, old: list[Any], new: list[Any]) -> None:
        self.answers = {"old": list(old), "new": list(new)}
        self.calls: list[Any] = []
        self.failing: set[str] = set()

    def call_instance_get_migration_status(self, node: str, instance: Any) -> Any:
        answers = self.answers[node]
        return told(answers.pop(0) if len(answers) > 1 else answers[0])

    def call_instance_finalize_migration_dst(
        self, node: str, instance: Any, info: Any, success: bool
    ) -> Any:
        return self._do("new", node, success)

    def call_instance_finalize_migration_src(
        self, node: str, instance: Any, success: bool, live: Any
    ) -> Any:
        return self._do("old", node, success, *([live] if live == NOT_THERE else []))

    def _do(self, which: str, node: str, *details: Any) -> Any:
        assert node == which
        self.calls.append((which, *details))
        return SimpleNamespace(fail_msg="it failed" if which in self.failing else None)

    def call_other(self) -> str:
        return "other"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def end(rpc: Rpc, *, forwards: bool = True, clock: Clock | None = None) -> list[str | None]:
    """Abort as Ganeti does, the new node first; what both said."""
    clock = clock or Clock()
    asked = BothAsked(
        rpc, "old", "new", CONSTANTS, forwards=forwards, clock=clock.time, sleep=clock.sleep
    )
    there = asked.call_instance_finalize_migration_dst("new", None, b"", False)
    here = asked.call_instance_finalize_migration_src("old", None, False, True)
    return [there.fail_msg, here.fail_msg]


def test_a_migration_that_is_complete_is_finished_forwards() -> None:
    rpc = Rpc(["completed"], ["completed"])
    assert end(rpc) == [None, None]
    assert rpc.calls == [("old", True), ("new", True)]


def test_it_is_left_to_a_cleanup_by_a_job_that_has_given_up() -> None:
    rpc = Rpc(["completed"], ["completed"])
    there, here = end(rpc, forwards=False)
    assert (there, rpc.calls) == ("nothing was stopped", [])
    assert "the guest is running on the new node; check QEMU on both nodes, and run" in str(here)


def test_a_target_that_does_not_go_on_is_ended_before_the_source_does() -> None:
    rpc = Rpc(["completed"], ["cancelled"])
    assert end(rpc) == [None, None]
    assert rpc.calls == [("new", False), ("old", False, NOT_THERE)]


def test_a_source_does_not_go_on_before_such_a_target_is_ended() -> None:
    rpc = Rpc(["completed"], ["cancelled"])
    rpc.failing = {"new"}
    there, here = end(rpc)
    assert (there, here) == ("it failed", "QEMU on the new node could not be stopped")
    assert rpc.calls == [("new", False)]


@pytest.mark.parametrize("there", [7, None, "failed"])
@pytest.mark.parametrize("here", [7, "failed", "cancelled"])
def test_a_guest_that_is_on_the_source_stays_there(here: Any, there: Any) -> None:
    rpc = Rpc([here], [there])
    assert end(rpc) == [None, None]
    assert rpc.calls == [("old", False), ("new", False)]


def test_a_target_stays_where_the_source_cannot_take_its_guest_back() -> None:
    rpc = Rpc([7], [7])
    rpc.failing = {"old"}
    assert end(rpc) == ["QEMU on the new node is left running: it may have the guest", "it failed"]
    assert rpc.calls == [("old", False)]


@pytest.mark.parametrize(
    ("here", "there", "reason"),
    [
        (7, "completed", "the guest is running on both nodes"),
        ("cancelled", "completed", "the guest is running on both nodes"),
        (
            None,
            "completed",
            "the guest is running on the new node, and the old node does not report",
        ),
        ("completed", None, "it is unknown whether the new node has the guest"),
        ("completed", 7, "it is unknown whether the new node has the guest"),
        (None, None, "it is unknown whether the new node has the guest"),
        (None, 7, "it is unknown whether the new node has the guest"),
    ],
)
def test_nothing_is_ended_that_may_be_the_only_guest(here: Any, there: Any, reason: str) -> None:
    rpc, clock = Rpc([here], [there]), Clock()
    said = end(rpc, clock=clock)
    assert rpc.calls == []
    assert said[0] == "nothing was stopped"
    assert reason in str(said[1])
    waits = here == "completed" and there != "completed"
    assert (clock.now > OUTCOME_SECONDS) == waits


def test_a_target_is_given_time_to_say_what_became_of_the_guest() -> None:
    rpc = Rpc(["completed"], [7, None, 7, "completed"])
    assert end(rpc) == [None, None]
    assert rpc.calls == [("old", True), ("new", True)]


def test_what_is_to_succeed_is_ganetis_own() -> None:
    rpc = Rpc([], [])
    asked = BothAsked(rpc, "old", "new", CONSTANTS, forwards=False)
    asked.call_instance_finalize_migration_src("old", None, True, True)
    asked.call_instance_finalize_migration_dst("new", None, b"", True)
    assert rpc.calls == [("old", True), ("new", True)]
    assert asked.call_other() == "other"


def module(places: list[str], seen: list[Any]) -> Any:
    class TLMigrateInstance:
        def __init__(self, rpc: Any, disks: list[Any]) -> None:
            self.rpc = rpc
            self.cfg = SimpleNamespace(GetInstanceDisks=lambda uuid: disks)
            self.instance = SimpleNamespace(uuid="i", name="vm1", hypervisor="kvm")
            self.source_node_uuid, self.target_node_uuid = "old", "chosen"

        def _FindInstanceLocations(self, name: str) -> list[str]:
            assert name == "vm1"
            return places

        def _ExecMigration(self) -> None:
            self.rpc.call_instance_get_migration_status()

        def _AbortMigration(self) -> None:
            seen.append((self.target_node_uuid, type(self.rpc).__name__))

        def _ExecCleanup(self) -> None:
            self._AbortMigration()

    made = SimpleNamespace(constants=CONSTANTS, TLMigrateInstance=TLMigrateInstance)
    instance_migration.extend(made)
    return made


@pytest.mark.parametrize(
    ("places", "target"),
    [
        (["old", "new"], "new"),
        (["old"], "chosen"),
        (["old", "new", "third"], "chosen"),  # for the administrator
        ([], "chosen"),
    ],
)
def test_a_cleanup_looks_where_the_other_qemu_is(places: list[str], target: str) -> None:
    seen: list[Any] = []
    rpc = Rpc([], [])
    tasklet = module(places, seen).TLMigrateInstance(rpc, [GLUSTER])
    tasklet._ExecCleanup()
    assert seen == [(target, "BothAsked")]
    assert tasklet.rpc is rpc


def test_a_cleanup_of_other_disks_is_ganetis_own() -> None:
    seen: list[Any] = []
    drbd = SimpleNamespace(dev_type="drbd", params={})
    module(["old", "new"], seen).TLMigrateInstance(Rpc([], []), [drbd])._ExecCleanup()
    assert seen == [("chosen", "Rpc")]
