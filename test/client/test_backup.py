"""`gnt-gluster backup` and what goes with it, through its own entry point."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.core.backup import manifest
from ganeti_gluster.core.backup.directory import DirectoryStore
from ganeti_gluster.core.backup.manifest import DiskBackup, Manifest
from ganeti_gluster.core.backup.repository import Repository
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError

from .conftest import Entry, raiser, refused

SPEC = VolumeSpec.from_params({"volume": "gv0", "host": "node1"})
DISK = SimpleNamespace(instance="vm1", index=0, uuid="d0", spec=SPEC, path="ganeti/x.0", size=1)
CONFIGURATION = {
    "instance": {
        "name": "vm1",
        "hypervisor": "kvm",
        "hvparams": {"kernel_path": "/boot/vmlinuz", "kvm_extra": "-nic user"},
        "beparams": {"maxmem": 512},
        "os": "guest",
        "nics": [
            {"mac": "aa:00:00:11:22:33", "nicparams": {"mode": "bridged", "link": "br0"}},
            {"mac": "aa:00:00:11:22:34", "network": "n1", "ip": "192.0.2.9"},
        ],
        "tags": ["backed-up"],
    },
    "disks": [{"size": 1, "mode": "rw", "name": "root"}],
    "networks": {"n1": "lan"},
}
RESULT = {"name": "b", "disks": [0], "data": 1 << 20, "read": 1 << 20, "stored": 65536}


def backup(name: str = "b", taken: float = 1.0, **more: Any) -> Manifest:
    disk = DiskBackup(0, "d0", 1 << 20, None, 0, 0, 0, full="because")
    fields: dict[str, Any] = {
        "format": 1,
        "instance": "vm1",
        "instance_uuid": "u",
        "cluster": "c",
        "name": name,
        "taken": taken,
        "finished": taken + 1,
        "live": True,
        "frozen": False,
        "previous": "",
        "stored": 0,
        "disks": (disk,),
        "configuration": json.dumps(CONFIGURATION),
    }
    return Manifest(**{**fields, **more})


class Cluster:
    """One instance, vm1, with one disk and one backup; and what its node is told."""

    def __init__(self, check: Entry, where: Path) -> None:
        self.where = str(where)
        self.repository = Repository(DirectoryStore(self.where))
        self.repository.create()
        self.repository.publish(backup())
        self.orders: list[Any] = []
        self.created: list[Any] = []
        make = check.part("cmdlib.snapshots").Instance
        self.instance = make("vm1", "u", "node1", False, (DISK,))
        self.config = {
            "cluster": {"cluster_name": "c"},
            "instances": {"u": {"name": "vm1", "disks": ["d0"]}},
            "disks": {"d0": {"size": 1}},
        }
        check.replace("cmdlib.snapshots", find=lambda names: [self.instance])
        check.replace("cmdlib.snapshots", carry_out=self.carry_out)
        check.replace("cmdlib.backups", create=self.created.append)
        check.replace("cmdlib.cluster_config", read=lambda: self.config)
        check.replace("core.backup.places", _HIDDEN=())
        constants = importlib.import_module("ganeti.constants")
        for kind, names in (
            ("IDISK", "SIZE MODE NAME"),
            ("INIC", "MAC IP NAME NETWORK MODE LINK"),
        ):
            words = {"%s_%s" % (kind, name): name.lower() for name in names.split()}
            check.replace_in(constants, **words)
        check.replace_in(constants, VALUE_GENERATE="generate")
        utils = importlib.import_module("ganeti.utils")
        check.replace_in(utils, FormatUnit=lambda size, unit: "%dM" % size)

    def carry_out(self, instance: Any, order: Any, listen: object) -> dict[str, Any]:
        self.orders.append(order)
        return dict(RESULT)


@pytest.fixture
def cluster(check: Entry, tmp_path: Path) -> Cluster:
    return Cluster(check, tmp_path)


WORDS = {
    "create": "vm1",
    "list": "vm1",
    "verify": "vm1",
    "restore": "vm1",
    "remove": "vm1 b",
    "prune": "",
}


def line(command: str, where: str, words: str | None = None) -> str:
    option = "--to" if command == "create" else "--from"
    return "backup %s %s=%s %s" % (
        command,
        option,
        where,
        WORDS[command] if words is None else words,
    )


@pytest.mark.parametrize("command", WORDS)
@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("relative", "Failure: repository 'relative': expected /DIRECTORY, gluster://"),
        ("/", "Failure: directory '/': it is the root of the file system\n"),
        ("/tmp/x", "Failure: repository /tmp/x: a backup cannot write below /tmp; use another"),
        ("/nowhere/x", "Failure: /nowhere/x is not a repository of backups, or is not mounted; "),
    ],
)
def test_a_place_that_is_no_repository(
    check: Entry, cluster: Cluster, command: str, where: str, said: str
) -> None:
    check.replace("core.backup.places", _HIDDEN=("/tmp",))
    check(line(command, where), 1, err=said)
    assert not cluster.orders


@pytest.mark.parametrize("command", WORDS)
def test_the_repository_is_named(check: Entry, cluster: Cluster, command: str) -> None:
    words = "backup %s %s" % (command, WORDS[command])
    check(words, 1, err=refused("Name the repository"))


def test_a_repository_is_made_once(check: Entry, tmp_path: Path) -> None:
    check.replace("core.backup.places", _HIDDEN=())
    check("backup init %s" % tmp_path, 0, out="Created repository %s\n" % tmp_path)
    check("backup init %s" % tmp_path, 1, err="already has a repository\n")


def test_a_backup_is_made_and_told(check: Entry, cluster: Cluster) -> None:
    out = "Backed up vm1 (disk/0) as b: 1M of data, 1M read, 0M added\n"
    check(line("create", cluster.where, "--name=c vm1"), 0, out=out)
    (order,) = cluster.orders
    assert (order.operation, order.name, order.backup.cluster) == ("back up", "c", "c")
    assert json.loads(order.backup.configuration)["disks"] == [{"size": 1}]
    assert (order.backup.freeze, order.backup.full) == (True, False)
    check(line("create", cluster.where, "--json --full --no-freeze vm1"), 0, out=None)
    assert (cluster.orders[1].backup.freeze, cluster.orders[1].backup.full) == (False, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--name=a/b vm1", "Failure: backup name 'a/b': "),
        ("--name=%s vm1" % ("x" * 65), "longer than"),
        ("--name=b vm1", "already has a backup b of instance vm1; choose another name\n"),
        ("--bandwidth-limit=0 vm1", "Failure: bandwidth limit 0: it must be at least"),
    ],
)
def test_what_no_backup_is_made_of(check: Entry, cluster: Cluster, words: str, said: str) -> None:
    check(line("create", cluster.where, words), 1, err=said)
    assert not cluster.orders


def test_one_that_fails_does_not_keep_the_others(check: Entry, cluster: Cluster) -> None:
    make = check.part("cmdlib.snapshots").Instance
    both = [cluster.instance, make("vm2", "u", "node1", False, (DISK,))]
    check.replace("cmdlib.snapshots", find=lambda names: both)
    done = cluster.carry_out

    def carry_out(instance: Any, order: Any, listen: object) -> dict[str, Any]:
        if instance.name == "vm1":
            raise GanetiGlusterError("another snapshot is under way", hint="wait")
        return done(instance, order, listen)

    check.replace("cmdlib.snapshots", carry_out=carry_out)
    said = "Failure: vm1: another snapshot is under way; wait\n"
    check(line("create", cluster.where, "vm1 vm2"), 1, out="Backed up vm2", err=said)


def test_a_dry_run_only_tells(check: Entry, cluster: Cluster) -> None:
    for command, out in {
        "create --name=c": "Would back up vm1 (disk/0) as c\n",
        "restore": "Would restore disk/0 of vm1 from ",
        "restore --new --as=vm2": "Would create instance vm2 from ",
        "remove": "Would remove backup b of vm1\n",
        "prune": "Would free 0M: removed 0 packs",
    }.items():
        verb, _, options = command.partition(" ")
        words = "--dry-run %s %s" % (options, WORDS[verb])
        check(line(verb, cluster.where, words), 0, out=out)
    assert not cluster.orders and not cluster.created
    assert cluster.repository.names("vm1") == ["b"]


def test_the_list(check: Entry, cluster: Cluster) -> None:
    cluster.repository.publish(backup("a", 2.0, live=False))
    out = check(line("list", cluster.where), 0, out="vm1 b ")
    assert [row.split()[1] for row in out.splitlines()] == ["b", "a"]
    listed = json.loads(check(line("list", cluster.where, "--json"), 0, out=None))
    assert [each["name"] for each in listed] == ["b", "a"]
    Path(cluster.where, manifest.path("vm1", "a")).write_text("{}")
    said = "Failure: the manifest of backup a of vm1 is damaged\n"
    check(line("list", cluster.where), 1, out="vm1 b ", err=said)
    check(line("verify", cluster.where), 1, out="1 of 2 backups are whole", err=said)


def test_a_verification(check: Entry, cluster: Cluster) -> None:
    check(line("verify", cluster.where), 0, out="1 of 1 backups are whole; 0M read\n")
    none = refused("There is no such backup", "unknown_entity")
    check(line("verify", cluster.where, "--backup=x vm1"), 1, err=none)


def test_a_restore(check: Entry, cluster: Cluster) -> None:
    check(line("restore", cluster.where, "--yes vm1"), 0, out="Restored disk/0 of vm1 from ")
    (order,) = cluster.orders
    assert (order.operation, order.name, order.backup.sources) == ("fill", "b", (0,))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("vm1 x", "has no backup x of instance vm1; gnt-gluster backup list shows"),
        ("vm2", "has no backup of instance vm2\n"),
        ("--disk=1 vm1", refused("Instance vm1 has no disk/1", "unknown_entity")),
        ("--as=x vm1", refused("--as requires --new or --test")),
        ("--new --disk=0 vm1", refused("All disks are restored then")),
        ("--test --disk=0 vm1", refused("All disks are restored then")),
        ("--test --new vm1", refused("Give --new or --test")),
        ("--test --expect=( vm1", "error details:\n--expect: "),
        ("vm1 a/b", "Failure: backup name 'a/b': "),
    ],
)
def test_what_is_not_restored(check: Entry, cluster: Cluster, words: str, said: str) -> None:
    check(line("restore", cluster.where, words), 1, err=said)
    assert not cluster.orders


@pytest.mark.parametrize(
    ("command", "question", "said"),
    [
        ("restore", "Restore disk/0 of vm1 from ", "Nothing was restored"),
        ("remove", "Remove backup b of vm1?", "No backup was removed"),
    ],
)
def test_nothing_is_done_if_the_answer_is_no(
    check: Entry, cluster: Cluster, command: str, question: str, said: str
) -> None:
    check.answer(False)
    err = "%s; use --yes to skip this question\n" % said
    check(line(command, cluster.where), 13, err=err)
    assert check.questions[0].startswith(question) and not cluster.orders
    assert cluster.repository.names("vm1") == ["b"]


def test_an_instance_that_runs_is_not_restored(check: Entry, cluster: Cluster) -> None:
    make = check.part("cmdlib.snapshots").Instance
    cluster.instance = make("vm1", "u", "node1", True, (DISK,))
    said = refused("Instance vm1 is running; stop it first", "wrong_state")
    check(line("restore", cluster.where, "--yes vm1"), 1, err=said)
    assert not cluster.orders


def test_a_lost_instance_is_made_again(check: Entry, cluster: Cluster) -> None:
    words = "--yes --new --node=node2 vm1"
    out = "  kernel_path: /boot/vmlinuz\n  kvm_extra: -nic user\nRestored vm1 from "
    check(line("restore", cluster.where, words), 0, out=out)
    (made,) = cluster.created
    assert made["disks"] == [{"size": 1, "mode": "rw", "name": "root"}]
    assert made["nics"] == [
        {"mac": "aa:00:00:11:22:33", "mode": "bridged", "link": "br0"},
        {"mac": "aa:00:00:11:22:34", "ip": "192.0.2.9", "network": "lan"},
    ]
    assert (made["no_install"], made["start"], made["pnode"]) == (True, False, "node2")
    assert len(cluster.orders) == 1
    check(line("restore", cluster.where, "--yes --new --as=vm3 vm1"), 0, out="Restored vm3 from ")
    assert [nic["mac"] for nic in cluster.created[1]["nics"]] == ["generate"] * 2


def test_one_that_could_not_be_filled_is_told(check: Entry, cluster: Cluster) -> None:
    error = GanetiGlusterError("pack 00 is missing")
    check.replace("cmdlib.snapshots", carry_out=raiser(error))
    said = (
        "Failure: instance vm1 was created, but its disks are empty: pack 00 is missing;"
        " restore them without --new, or remove the instance\n"
    )
    check(line("restore", cluster.where, "--yes --new vm1"), 1, out=None, err=said)


@pytest.mark.parametrize(
    "configuration",
    ["", "[]", "{}", '{"instance": 1, "disks": 2, "networks": {}}', "x" * 100]
    + [json.dumps({**CONFIGURATION, "disks": [{"size": 2, "mode": "rw"}]})],
)
def test_a_configuration_that_is_none_makes_no_instance(
    check: Entry, cluster: Cluster, configuration: str
) -> None:
    cluster.repository.publish(backup("z", 9.0, configuration=configuration))
    said = "The configuration in backup z is not understood: "
    check(line("restore", cluster.where, "--yes --new vm1"), 1, err=said)
    assert not cluster.created


def test_backups_are_removed(check: Entry, cluster: Cluster) -> None:
    cluster.repository.publish(backup("a"))
    check(line("remove", cluster.where, "--yes vm1 a b"), 0,
          out="Removed backup a of vm1\nRemoved backup b of vm1\n")  # fmt: skip
    assert cluster.repository.names("vm1") == []
    check(line("remove", cluster.where), 1, err="has no backup b of instance vm1; ")


def test_space_is_freed(check: Entry, cluster: Cluster) -> None:
    done = json.loads(check(line("prune", cluster.where, "--json"), 0, out=None))
    expected = {"removed": 0, "rewritten": 0, "freed": 0, "wasted": 0, "used": 0}
    assert done == {**expected, "backups": []}


DAYS = [1795000000.0 + n * 86400 for n in range(4)]


@pytest.fixture
def daily(cluster: Cluster) -> Cluster:
    """A backup on each of four days, and the one that is there, of 1970."""
    for number, taken in enumerate(DAYS):
        cluster.repository.publish(backup("d%d" % number, taken))
    return cluster


def test_backups_that_no_rule_keeps_are_removed(check: Entry, daily: Cluster) -> None:
    words = "--keep-last=1 --keep-daily=2 --keep-yearly=5 "
    out = check(line("prune", daily.where, words + "--dry-run"), 0, out="Would free 0M")
    said = [row.partition(" ")[2] for row in out.splitlines()[:5]]
    told = [(row.split()[0], row.rpartition(": ")[2]) for row in said]
    assert told == [
        ("b", "keep (yearly)"),
        ("d0", "remove"),
        ("d1", "keep (daily)"),
        ("d2", "keep (daily)"),
        ("d3", "keep (last)"),
    ]
    assert len(daily.repository.names("vm1")) == 5
    done = check(line("prune", daily.where, words + "--yes --json vm1"), 0, out=None)
    assert json.loads(done)["backups"] == [["vm1", "d0"]]
    assert daily.repository.names("vm1") == ["b", "d1", "d2", "d3"]


def test_the_rules_keep_of_each_cluster_what_it_has(check: Entry, daily: Cluster) -> None:
    daily.repository.publish(backup("other", DAYS[0], cluster="other"))
    check(line("prune", daily.where, "--yes --json --keep-last=1"), 0, out=None)
    assert daily.repository.names("vm1") == ["d3", "other"]


def test_none_is_removed_for_newer_ones_that_went_during_the_question(
    check: Entry, daily: Cluster
) -> None:
    check.answer(True)
    cli = importlib.import_module("ganeti.cli")
    check.replace_in(cli, AskUser=lambda text: daily.repository.remove("vm1", "d3") or True)
    said = "Failure: the backups have changed since the question; nothing was removed; try again\n"
    check(line("prune", daily.where, "--keep-last=1"), 1, out=None, err=said)
    assert daily.repository.names("vm1") == ["b", "d0", "d1", "d2"]


def test_they_are_not_if_the_answer_is_no(check: Entry, daily: Cluster) -> None:
    check.answer(False)
    err = "No backup was removed; use --yes to skip this question\n"
    check(line("prune", daily.where, "--keep-last=1"), 13, out=None, err=err)
    assert check.questions == ["Remove 4 backups?"]
    assert len(daily.repository.names("vm1")) == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("vm1", refused("Say which backups to keep, for example with --keep-daily")),
        ("--keep-daily=-1", refused("--keep-daily: not less than 0")),
        ("--keep-daily=1 vm2", "has no backup of instance vm2\n"),
    ],
)
def test_rules_that_are_none(check: Entry, daily: Cluster, words: str, said: str) -> None:
    check(line("prune", daily.where, words), 1, err=said)
    assert len(daily.repository.names("vm1")) == 5


def test_nothing_is_removed_where_one_cannot_be_read(check: Entry, daily: Cluster) -> None:
    Path(daily.where, manifest.path("vm1", "d1")).write_text("{}")
    said = "Failure: the manifest of backup d1 of vm1 is damaged; nothing was removed; remove this"
    check(line("prune", daily.where, "--yes --keep-last=1"), 1, err=said)
    assert len(daily.repository.names("vm1")) == 5


def test_a_backup_is_mounted_by_its_unit(check: Entry, cluster: Cluster) -> None:
    started: list[Any] = []
    mounts = check.part("core.backup.mounts")

    def start(mount: Any, words: Any, properties: Any) -> dict[int, str]:
        started.append((mount, words))
        return {0: "/dev/loop7"}

    check.replace_in(mounts.Mount, start=start)
    out = "disk/0 of b: /dev/loop7\n"
    check("backup mount --from=%s vm1" % cluster.where, 0, out=out)
    assert started[0][0] == mounts.Mount("vm1", "b")
    assert "--repository=%s" % cluster.where in started[0][1]
    check("backup mount --from=%s vm1 x" % cluster.where, 1, err="has no backup x of instance vm1")
    said = refused("Name a backup or a snapshot")
    check("backup mount --from=%s --snapshot=s vm1" % cluster.where, 1, err=said)

    check.replace_in(mounts, every=lambda: [mounts.Mount("vm1", "b"), mounts.Mount("vm2", "c")])
    stopped: list[Any] = []
    check.replace_in(mounts.Mount, stop=lambda mount: stopped.append(mount))
    check("backup umount vm1", 0, out="Unmounted b of vm1\n")
    check("backup umount vm2 c", 0, out="Unmounted c of vm2\n")
    check("backup umount", 0, out="Unmounted b of vm1\nUnmounted c of vm2\n")
    assert len(stopped) == 4
    none = refused("Nothing of this is mounted here", "unknown_entity")
    check("backup umount vm1 c", 1, err=none)


@pytest.mark.parametrize("failure", ["", "fill", "boot"])
def test_whether_a_backup_boots_is_tried_in_an_instance_that_goes_again(
    check: Entry, cluster: Cluster, failure: str
) -> None:
    done: list[Any] = []

    def boot(instance: Any, pattern: str, seconds: int) -> str:
        done.append((instance.name, instance.node, pattern, seconds))
        if failure == "boot":
            raise GanetiGlusterError("no boot was seen within 9 s")
        return "the console said 'login:'"

    check.replace(
        "cmdlib.backups", boot=boot, remove=lambda found: done.append((found.name, found.uuid))
    )
    constants = importlib.import_module("ganeti.constants")
    check.replace_in(constants, HV_SERIAL_CONSOLE="serial_console")
    if failure == "fill":
        failed = raiser(GanetiGlusterError("the volume is full"))
        check.replace("cmdlib.snapshots", carry_out=failed)
    check.replace(
        "cmdlib.snapshots", find=lambda names: [replace(cluster.instance, name=names[0])]
    )
    words = line("restore", cluster.where, "--test --yes --boot-timeout=9 vm1")
    out = None if failure else "Backup b of vm1 boots: the console said 'login:'\n"
    check(words, 1 if failure else 0, out=out, err="Failure: " if failure else "")
    (params,) = cluster.created
    assert (params["instance_name"], params["nics"]) == ("vm1-restore-test", [])
    assert params["hvparams"] == {"kernel_path": "/boot/vmlinuz", "serial_console": True}
    assert params["tags"] == []  # by which schedules would choose it
    tried = [] if failure == "fill" else [("vm1-restore-test", "node1", "login:", 9)]
    # By its UUID: another one that has the name by then, or begins with it, stays.
    assert done == [*tried, ("vm1-restore-test", "u")]
