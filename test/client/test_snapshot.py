"""`gnt-gluster disk snapshot` and what goes with it, through its own entry point."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.core.snapshot.catalogue import About, Snapshot
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError, VolumeUnreachable

from .conftest import Entry, raiser, refused

SPEC = VolumeSpec.from_params({"volume": "gv0", "host": "node1"})
DISK = SimpleNamespace(instance="vm1", index=0, uuid="d0", spec=SPEC, path="ganeti/x.0", size=1)
IMAGE = SimpleNamespace(path="ganeti/x.0.snap.s", size=1 << 20, allocated=1 << 20, mtime=1.0)
SNAPSHOT = Snapshot("u", "s", About("vm1", "s", 1.0, (0,)), {0: IMAGE}, ())

#: Those that name an instance, each with a snapshot's name where it has one.
NAMING = ["snapshot", "restore", "clone", "remove-snapshot"]
WORDS = {
    "snapshot": "vm1",
    "restore": "vm1 s",
    "clone": "vm1 s copy",
    "remove-snapshot": "vm1 s",
    "snapshots": "vm1",
}


class Cluster:
    """One instance, vm1, with one disk and one snapshot; and what its node is told."""

    def __init__(self, check: Entry) -> None:
        self.found = [SNAPSHOT]
        self.orders: list[Any] = []
        self.answer: dict[str, Any] = {"path": "ganeti/copy", "size": 1, "allocated": 1}
        self.answer |= {"name": "t", "removed": ["old"], "disks": [0]}
        make = check.part("cmdlib.snapshots").Instance
        self.instance = make("vm1", "u", "node1", False, (DISK,))
        check.replace("cmdlib.snapshots", find=lambda names: [self.instance])
        check.replace("cmdlib.snapshots", carry_out=self.carry_out)
        volume = SimpleNamespace(name="gv0")
        check.replace("client.snapshot", connect=lambda spec: contextlib.nullcontext(volume))
        check.replace("core.snapshot.catalogue", find_all=lambda *where: list(self.found))

    def carry_out(self, instance: Any, order: Any, listen: object) -> dict[str, Any]:
        self.orders.append(order)
        return self.answer


@pytest.fixture
def cluster(check: Entry) -> Cluster:
    return Cluster(check)


def row(name: str, template: str) -> tuple[object, ...]:
    return (name, "u", "node1", False, template)


@pytest.mark.parametrize("command", WORDS)
def test_an_instance_that_is_not_there(check: Entry, command: str) -> None:
    check.be_master(QueryInstances=[])
    said = refused("Instance vm1 is not known", "unknown_entity")
    check("disk %s %s" % (command, WORDS[command]), 1, err=said)


@pytest.mark.parametrize("command", WORDS)
def test_an_instance_with_other_disks(check: Entry, command: str) -> None:
    check.be_master(QueryInstances=[row("vm1", "drbd")])
    said = refused("Instance vm1 has no gluster disks")
    check("disk %s %s" % (command, WORDS[command]), 1, err=said)


@pytest.mark.parametrize("command", NAMING[:3])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a/b", "snapshot name 'a/b': "),
        ("''", "snapshot name '': "),
        ("x" * 65, "longer than"),
        ("a.partial", "snapshot name a.partial: it must not end with .partial\n"),
    ],
)
def test_what_is_no_name_of_a_snapshot(
    check: Entry, cluster: Cluster, command: str, name: str, said: str
) -> None:
    words = "--name=%s vm1" % name if command == "snapshot" else "vm1 %s copy" % name
    check("disk %s %s" % (command, words.removesuffix(" copy" * (command == "restore"))), 1,
          err=said)  # fmt: skip
    assert not cluster.orders


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("snapshot --disk=1 vm1", refused("Instance vm1 has no disk/1", "unknown_entity")),
        ("restore --disk=1 vm1 s", refused("Instance vm1 has no disk/1", "unknown_entity")),
        ("clone --disk=-1 vm1 s copy", refused("Instance vm1 has no disk/-1", "unknown_entity")),
        ("snapshot --keep=0 vm1", refused("--keep: at least one snapshot must be kept")),
        ("snapshot --bandwidth-limit=0 vm1", "Failure: bandwidth limit 0: it must be at least"),
        ("restore --bandwidth-limit=0 vm1 s", "Failure: bandwidth limit 0: it must be at least"),
        ("clone --bandwidth-limit=-1 vm1 s x", "Failure: bandwidth limit -1: it must be at least"),
        ("clone vm1 s ../x", "Failure: image path '../x': "),
        *(
            ("%s --host=node1 %s" % each, refused("--host requires --volume"))
            for each in WORDS.items()
        ),
        *(("%s --volume=a/b %s" % each, "Failure: volume name 'a/b': ") for each in WORDS.items()),
    ],
)
def test_what_is_refused_before_anything_is_done(
    check: Entry, cluster: Cluster, words: str, said: str
) -> None:
    check("disk %s" % words, 1, err=said)
    assert not cluster.orders


@pytest.mark.parametrize("command", ["restore", "remove-snapshot"])
def test_a_snapshot_that_is_not_there(check: Entry, cluster: Cluster, command: str) -> None:
    cluster.found.clear()
    said = "volume gv0 has no snapshot s of this instance; gnt-gluster disk snapshots lists"
    check("disk %s -f vm1 s" % command, 1, err="Failure: %s" % said)


def test_an_incomplete_snapshot_is_not_restored(check: Entry, cluster: Cluster) -> None:
    cluster.found = [replace(SNAPSHOT, about=None)]
    check("disk restore -f vm1 s", 1, err="Failure: snapshot s is incomplete: it was interrupted")
    assert not cluster.orders


def test_nor_is_one_of_an_instance_that_runs(check: Entry, cluster: Cluster) -> None:
    cluster.instance = replace(cluster.instance, running=True)
    said = refused("Instance vm1 is running; stop it first", "wrong_state")
    check("disk restore -f vm1 s", 1, err=said)
    assert not cluster.orders


@pytest.mark.parametrize("command", NAMING)
def test_a_node_that_does_not_answer(check: Entry, cluster: Cluster, command: str) -> None:
    cluster.instance = replace(cluster.instance, running=None)
    said = "Node node1, the primary node of instance vm1, does not answer"
    force = "-f " if command == "remove-snapshot" else ""
    words = "disk %s %s%s" % (command, force, WORDS[command])
    check(words, 1, err=refused(said, "wrong_state"))
    assert not cluster.orders


@pytest.mark.parametrize(
    ("command", "question"),
    [
        ("restore", "Restore disk/0 of vm1 from "),
        ("remove-snapshot", "Remove snapshot s of vm1?"),
    ],
)
def test_nothing_is_done_if_the_answer_is_no(
    check: Entry, cluster: Cluster, command: str, question: str
) -> None:
    check.answer(False)
    said = {"restore": "Nothing was restored", "remove-snapshot": "No snapshot was removed"}
    err = "%s; use --yes to skip this question\n" % said[command]
    check("disk %s vm1 s" % command, 13, err=err)
    assert check.questions[0].startswith(question) and not cluster.orders


@pytest.mark.parametrize(
    ("words", "out"),
    [
        ("snapshot vm1", "Removed snapshot old\nTook snapshot t of vm1 (disk/0), "),
        ("restore --yes vm1 s", "Restored disk/0 of vm1 from snapshot s\n"),
        ("clone vm1 s copy", "Created image ganeti/copy from "),
        ("remove-snapshot -f vm1 s", "Removed snapshot s\n"),
    ],
)
def test_it_is_done_and_told(check: Entry, cluster: Cluster, words: str, out: str) -> None:
    check("disk %s" % words, 0, out=out)
    assert len(cluster.orders) == 1


@pytest.mark.parametrize(
    ("words", "out"),
    [
        ("restore --dry-run vm1 s", "Would restore disk/0 of vm1 from "),
        ("remove-snapshot --dry-run vm1 s", "Would remove snapshot s of vm1, taken 1970"),
    ],
)
def test_a_dry_run_only_tells(check: Entry, cluster: Cluster, words: str, out: str) -> None:
    check("disk %s" % words, 0, out=out)
    assert not cluster.orders


def test_what_a_dry_run_showed_is_removed_without_a_question(
    check: Entry, cluster: Cluster
) -> None:
    plan = check("disk remove-snapshot --dry-run vm1 s", 0, out=None).split("Plan: ")[1].strip()
    check("disk remove-snapshot --plan=%s vm1 s" % plan, 0, out="Removed snapshot s\n")
    assert not check.questions

    # It was removed, and another one of its name taken.
    cluster.found = [replace(SNAPSHOT, about=About("vm1", "s", 2.0, (0,)))]
    said = "nothing was changed: this is no longer what plan %s was; use --dry-run again" % plan
    check("disk remove-snapshot --plan=%s vm1 s" % plan, 1, err="Failure: %s\n" % said)
    assert len(cluster.orders) == 1


def test_a_name_that_is_taken_is_seen_by_a_dry_run(check: Entry, cluster: Cluster) -> None:
    said = "volume gv0 already has a snapshot s of this instance; choose another name"
    check("disk snapshot --dry-run --name=s vm1", 1, err="Failure: %s" % said)


@pytest.mark.parametrize("command", NAMING)
def test_what_the_node_says_is_wrong(check: Entry, cluster: Cluster, command: str) -> None:
    error = GanetiGlusterError("another snapshot is under way", hint="wait")
    check.replace("cmdlib.snapshots", carry_out=raiser(error))
    force = "-f " if command in ("restore", "remove-snapshot") else ""
    words = "disk %s %s%s" % (command, force, WORDS[command])
    check(words, 1, err="Failure: another snapshot is under way; wait\n")


def test_the_list_is_whole_or_not(check: Entry, cluster: Cluster) -> None:
    check("disk snapshots vm1", 0, out="vm1 s ")
    cluster.found.append(replace(SNAPSHOT, name="t", about=None))
    check("disk snapshots", 1, out=" incomplete ")
    listed = json.loads(check("disk snapshots --json vm1", 1, out=None))
    assert [each["complete"] for each in listed] == [True, False]


@pytest.mark.parametrize("command", ["restore", "remove-snapshot", "snapshots"])
def test_a_volume_that_does_not_answer(check: Entry, cluster: Cluster, command: str) -> None:
    error = VolumeUnreachable("volume gv0 cannot be reached", volume="gv0")
    check.replace("client.snapshot", connect=raiser(error))
    words = "disk %s %s" % (command, WORDS[command])
    check(words, 1, err="Failure: volume gv0 cannot be reached\n")
