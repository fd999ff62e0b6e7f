"""`gnt-gluster backup run` and `schedule`, through the entry point of all commands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster import constants
from ganeti_gluster.core.backup import due
from ganeti_gluster.errors import GanetiGlusterError

from .conftest import Entry, refused
from .test_backup import DISK, Cluster, backup

DAY = 86400.0
#: Noon of a day, and the midnight after it: the schedules' times are midnights.
NOON = 20000.5 * DAY
CONF = """
[settings]
stagger = 0
[repository nas]
place = %s
[schedule nightly]
instances = tag:backed-up
to = nas
times = midnight
keep-last = 2
"""


class Nights(Cluster):
    """vm1 and vm2, which have the tag, and a clock; backups are made at once."""

    def __init__(self, check: Entry, where: Path) -> None:
        place = where / "nas"
        place.mkdir()
        super().__init__(check, place)
        self.check = check
        self.now = NOON
        self.ahead = 0.0  # the clocks of the instances' nodes
        self.failing: dict[str, Exception] = {}
        make = check.part("cmdlib.snapshots").Instance
        other = SimpleNamespace(**{**vars(DISK), "instance": "vm2"})
        both = [self.instance, make("vm2", "v", "node2", True, (other,))]
        check.replace(
            "cmdlib.snapshots",
            find=lambda names: [e for e in both if not names or e.name in names],
        )
        self.config = {
            "cluster": {"cluster_name": "c"},
            "nodegroups": {"g": {"name": "default"}},
            "nodes": {"n": {"group": "g"}},
            "instances": {
                uuid: {"name": name, "disks": ["d0"], "tags": ["backed-up"], "primary_node": "n"}
                for uuid, name in (("u", "vm1"), ("v", "vm2"))
            },
            "disks": {"d0": {"size": 1, "dev_type": "gluster"}},
        }
        self.jobs: list[Any] = []
        self.conf = where / "backup.conf"
        self.conf.write_text(CONF % place)
        for name in ("CONF", "STATE", "LOCK"):
            path = where / ("backup." + name.lower())
            check.patch.setattr(constants, "BACKUP_" + name, str(path))
        check.patch.setattr("time.time", lambda: self.now)
        check.replace("tools.systemd", next_elapse=lambda text, at: (at // DAY + 1) * DAY)

    def carry_out(self, instance: Any, order: Any, listen: object) -> dict[str, Any]:
        if instance.name in self.failing:
            raise self.failing[instance.name]
        made = backup(order.name, self.now + self.ahead, instance=instance.name)
        self.repository.publish(made)
        return super().carry_out(instance, order, listen)

    def run(self, words: str = "", status: int = 0, *, err: str = "") -> list[str]:
        """The lines that `backup run` says."""
        self.check.be_master(QueryJobs=self.jobs)
        return self.check("backup run %s" % words, status, out=None, err=err).splitlines()


@pytest.fixture
def nights(check: Entry, tmp_path: Path) -> Iterator[Nights]:
    yield Nights(check, tmp_path)


def test_nothing_is_made_before_the_first_time(nights: Nights) -> None:
    assert nights.run() == []
    state = due.load()
    assert state.next == 20001 * DAY
    assert [each.due for each in state.entries] == [20001 * DAY] * 2


def test_what_is_due_is_made_once_and_what_no_rule_keeps_goes(nights: Nights) -> None:
    nights.run()
    for night in range(1, 5):
        nights.now = (20000 + night) * DAY + 5
        said = nights.run()
        made = [line for line in said if ": made scheduled-nightly-" in line]
        assert len(made) == 2
        assert len(said) - len(made) == (2 if night > 2 else 0)  # removed
        assert nights.run() == []
    assert len(nights.orders) == 8
    # The user's own stays, whatever the rules are.
    own, *others = nights.repository.names("vm1")
    assert own == "b" and len(others) == 2


def test_a_dry_run_tells_what_would_be_made_and_what_stays(nights: Nights) -> None:
    assert [line for line in nights.run("--dry-run") if "vm" in line] == [
        "nightly %s: due at %s" % (name, due.when(20001 * DAY)) for name in ("vm1", "vm2")
    ]
    nights.run("--now")
    nights.now += 60
    nights.run("--now nightly")
    nights.now = 20001 * DAY + 60
    said = nights.run("--dry-run")
    assert said[0] == "nightly vm1: would be backed up to nas"
    assert [line.rpartition(": ")[2] for line in said[1:4]] == [
        "remove",
        "keep (last)",
        "keep (last)",
    ]
    assert len(nights.orders) == 4
    assert len(nights.repository.names("vm1")) == 3


def test_a_failure_is_kept_told_and_tried_again_later(nights: Nights) -> None:
    nights.run()
    nights.now = 20001 * DAY + 5
    nights.failing["vm1"] = GanetiGlusterError("the volume is full")
    said = nights.run(status=1, err="Failure: nightly vm1: the volume is full\n")
    assert [line.partition(": made")[0] for line in said] == ["nightly vm2"]
    entry = due.load().entry("nightly", "vm1")
    assert entry is not None and (entry.failures, entry.error) == (1, "the volume is full")
    assert nights.run() == []
    nights.check("backup schedule", 0, out=" failed\nnightly vm2 nas ")
    listed = json.loads(nights.check("backup schedule --json nightly", 0, out=None))
    assert {each["instance"]: each["failures"] for each in listed} == {"vm1": 1, "vm2": 0}
    nights.failing.clear()
    nights.now += due.RETRY
    assert len(nights.run()) == 1


@pytest.mark.parametrize("job", ["INSTANCE_MIGRATE(vm1)", "INSTANCE_FAILOVER(vm1)"])
def test_an_instance_that_is_being_moved_waits(nights: Nights, job: str) -> None:
    nights.run()
    nights.now = 20001 * DAY + 5
    nights.jobs = [["success", ["INSTANCE_MIGRATE(vm2)"]], ["running", [job]]]
    said = nights.run("--dry-run")
    assert "nightly vm1: would be backed up to nas, but waits: it is being moved" in said
    assert [line.partition(": made")[0] for line in nights.run()] == ["nightly vm2"]
    state = due.load()
    assert state.next is not None and state.next <= nights.now
    nights.jobs = []
    assert len(nights.run()) == 1


def test_another_operation_is_waited_for_and_is_no_failure(nights: Nights) -> None:
    busy = nights.check.part("core.snapshot.service").SnapshotInProgress("it is running")
    nights.failing["vm1"] = busy
    assert "nightly vm1: waits: it is running" in nights.run("--now")
    entry = due.load().entry("nightly", "vm1")
    assert entry is not None and entry.failures == 0


def test_a_new_master_asks_the_repository(nights: Nights) -> None:
    nights.run("--now")
    Path(constants.BACKUP_STATE).unlink()
    nights.now += 60
    assert nights.run() == []
    entry = due.load().entry("nightly", "vm1")
    assert entry is not None and entry.last == NOON
    # An old one that finds a newer backup makes none either.
    due.save(due.load().with_entry(replace(entry, last=NOON - DAY, due=NOON - 1)))
    assert nights.run() == []


def scheduled(nights: Nights, moment: float, **more: Any) -> str:
    """A backup of vm1 by the schedule, at this moment."""
    name: str = nights.check.part("core.backup.own_names").make("nightly", moment)
    nights.repository.publish(backup(name, moment, **more))
    return name


def test_backups_of_another_cluster_neither_go_nor_stand_for_those_of_this_one(
    nights: Nights,
) -> None:
    """Both have an instance vm1, and a schedule of this name to this repository."""
    nights.run()
    others = {scheduled(nights, NOON - day * DAY, cluster="other") for day in range(5)}
    nights.now = 20001 * DAY + 5
    others.add(scheduled(nights, nights.now - 1, cluster="other"))
    for _ in range(3):
        assert len([line for line in nights.run() if ": made " in line]) == 2
        nights.now += DAY
    own = set(nights.repository.names("vm1")) - others - {"b"}
    assert others < set(nights.repository.names("vm1")) and len(own) == 2


def test_a_backup_whose_manifest_is_damaged_is_made_again_and_none_is_removed(
    nights: Nights,
) -> None:
    nights.run("--now")
    name = scheduled(nights, 20001 * DAY + 5)
    path = Path(nights.where) / "backups" / "vm1" / (name + ".json")
    path.write_text("{}")
    nights.now = 20001 * DAY + 60
    said = nights.run(status=1, err="is damaged; nothing was removed")
    assert len([line for line in said if ": made " in line]) == 2


def test_a_clock_that_was_ahead_delays_nothing_and_removes_nothing_new(nights: Nights) -> None:
    nights.run()
    nights.now = 24000 * DAY + 5
    nights.run("--now")
    future = set(nights.repository.names("vm1")) - {"b"}
    for night in range(1, 4):
        nights.now = (20000 + night) * DAY + 5
        assert len([line for line in nights.run() if ": made " in line]) == 2
        following = due.load().next
        assert following == (20001 + night) * DAY
    assert len(set(nights.repository.names("vm1")) - {"b"} - future) == 2
    said = nights.run("--dry-run")
    assert len([line for line in said if line.endswith(": keep (it is of the future)")]) == 2
    # Nor does one that was ahead when the schedule began, or when it was tried in vain.
    state = due.load()
    late = tuple(replace(e, failures=1, tried=24000 * DAY, last=None) for e in state.entries)
    due.save(replace(state, since={"nightly": 24000 * DAY}, entries=late))
    nights.now += DAY
    assert len([line for line in nights.run() if ": made " in line]) == 2


def test_a_snapshot_that_is_in_use_keeps_no_other_one(nights: Nights) -> None:
    """It is mounted, for example, and forgotten."""
    module = nights.check.part("cmdlib.backup_places")
    schedule = nights.check.part("core.backup.schedule").Schedule("hourly", to="snapshots")
    removed: list[str] = []

    def carry_out(instance: Any, order: Any, listen: object) -> dict[str, Any]:
        if order.name == "one":
            raise GanetiGlusterError("one is in use")
        removed.append(order.name)
        return {}

    nights.check.replace("cmdlib.snapshots", carry_out=carry_out)
    place = module.Places().of(schedule)
    with pytest.raises(GanetiGlusterError, match="one is in use"):
        place.remove(nights.instance, ["one", "two", "three"])
    assert removed == ["two", "three"]


def test_the_space_is_freed_though_the_clock_was_ahead(nights: Nights) -> None:
    nights.run("--now")
    state = due.load()
    due.save(replace(state, pruned=dict.fromkeys(state.pruned, 24000 * DAY)))
    nights.run()
    assert list(due.load().pruned.values()) == [NOON]


def test_what_is_the_newest_is_not_a_node_s_to_say(nights: Nights) -> None:
    nights.run()
    nights.ahead = 4000 * DAY
    for night in range(1, 5):
        nights.now = (20000 + night) * DAY + 5
        nights.run()
        nights.ahead = 0.0
    own = [name for name in nights.repository.names("vm1") if name != "b"]
    moment = nights.check.part("core.backup.own_names").moment
    assert [moment(name, "nightly") for name in own] == [20003 * DAY + 5, 20004 * DAY + 5]


def test_a_wrong_configuration_changes_nothing(nights: Nights) -> None:
    nights.conf.write_text(CONF.replace("keep-last = 2", "keep-last = two") % "/mnt/x")
    said = "backup.conf, line 10, section [schedule nightly]: keep-last must be a number"
    nights.run("--now", 1, err=said)
    assert not nights.orders and not Path(constants.BACKUP_STATE).exists()


def test_a_repository_that_is_away_is_a_failure(nights: Nights) -> None:
    nights.run()
    nights.conf.write_text(nights.conf.read_text().replace("/nas\n", "/other\n"))
    nights.now = 20001 * DAY + 5
    nights.run(status=1, err="is not a repository of backups, or is not mounted")
    assert not nights.orders
    assert [each.failures for each in due.load().entries] == [1, 1]


def test_names_that_do_not_exist(nights: Nights) -> None:
    said = refused("There is no schedule weekly in %s" % constants.BACKUP_CONF, "unknown_entity")
    nights.run("weekly", 1, err=said)
    text = nights.conf.read_text().replace("tag:backed-up", "vm1 vm3")
    nights.conf.write_text(text)
    said = "Failure: schedule nightly: there is no instance vm3 with gluster disks\n"
    nights.run("--dry-run", 1, err=said)


def test_what_is_wrong_is_found_by_verify(nights: Nights) -> None:
    def found() -> list[tuple[str, str]]:
        findings = nights.check.part("cmdlib.backups_verify").findings
        cluster = SimpleNamespace(master="node1")
        return [(each.code, each.object) for each in findings(cluster)]

    nights.run()
    assert found() == []
    nights.now = 20002 * DAY + due.GRACE
    assert found() == [("BACKUP_OLD", "vm1"), ("BACKUP_OLD", "vm2")]
    del nights.config["instances"]["v"]
    assert found() == [("BACKUP_OLD", "vm1")]
    nights.conf.write_text(nights.conf.read_text().replace("tag:backed-up", "vm2"))
    assert found() == [("BACKUP_SCHEDULE", "node1")]
    nights.conf.write_text("[colour]\n")
    assert found() == [("BACKUP_SCHEDULE", "node1")]
    nights.conf.unlink()
    assert found() == []


def test_a_second_run_is_refused(nights: Nights) -> None:
    with nights.check.part("tools.private").locked(constants.BACKUP_LOCK):
        nights.run(status=1, err="Failure: the schedules are being carried out already; wait")


def test_users_cannot_give_the_schedules_names(check: Entry, nights: Nights) -> None:
    said = "Failure: name scheduled-x: names that begin with scheduled- are the schedule's\n"
    check("backup create --to=%s --name=scheduled-x vm1" % nights.where, 1, err=said)
    check("disk snapshot --name=scheduled-x vm1", 1, err=said)
