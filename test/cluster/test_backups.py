"""Backups of an instance with two disks, whose guest writes to both in lockstep."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from demolib import guest
from testbedlib import wait_for

from .conftest import SERVERS, Cluster
from .test_snapshot import Guest

# Four minutes: a guest, and each of its backups restored.
pytestmark = [pytest.mark.qemu, pytest.mark.slow]

NAME = "backed1"
# Not the master: the work is done on the instance's node.
NODE = "node2"
PLACE = "/srv/ganeti-backups"
ON_HOST, ON_VOLUME = "sftp://node3" + PLACE, "gluster://%s/gv0" % SERVERS
UNIT = "ganeti-gluster-snapshot-%s" % NAME

CLEAR = """
import os, sys
from ganeti_gluster.core import image
from ganeti_gluster.core.volume import VolumeSpec, connect
def clear(volume, path):
    for each in volume.scandir(path):
        place = "%s/%s" % (path, each.name)
        if each.stat.is_file:
            image.remove(volume, place)
        else:
            clear(volume, place)
    volume.rmdir(path)
with connect(VolumeSpec.from_params({"host": sys.argv[1], "volume": "gv0"})) as volume:
    clear(volume, "ganeti-backup")
os._exit(0)
"""


class Backups:
    """The instance, and what is done with its backups."""

    def __init__(self, cluster: Cluster, running: Guest) -> None:
        self.cluster = cluster
        self.running = running

    def __call__(self, verb: str, *words: str, place: str = ON_HOST, **options: Any) -> str:
        """Output of a `gnt-gluster backup` command."""
        where = "%s=%s" % ("--to" if verb == "create" else "--from", place)
        command = ("gnt-gluster", "backup", verb, where, *words)
        done = self.cluster.run(*command, **{"max_seconds": 120, **options})
        return done.stdout + done.stderr

    def create(self, name: str, *words: str, **options: Any) -> dict[str, Any]:
        """Back it up; what came of it."""
        said = self("create", "--json", "--name", name, *words, NAME, **options)
        (result,) = json.loads(said)
        return dict(result)

    def names(self, place: str = ON_HOST) -> list[str]:
        return [each["name"] for each in json.loads(self("list", "--json", NAME, place=place))]

    def restored(self, name: str, place: str = ON_HOST) -> tuple[int, int]:
        """The records on both disks after a restore, without a gap."""
        self("restore", "--yes", NAME, name, place=place)
        first, second = self.running.records(*self.images)
        return first, second

    @property
    def images(self) -> list[str]:
        image = self.cluster.image(NAME)
        return [image, image[:-1] + "1"]


@pytest.fixture(scope="module")
def backups(cluster: Cluster) -> Iterator[Backups]:
    cluster.run("mkdir", "-p", PLACE, node="node3")
    for place in (ON_HOST, ON_VOLUME):
        cluster.run("gnt-gluster", "backup", "init", place)
    boot = cluster.boot(NAME, NODE)
    cluster.add(NAME, node=NODE, disks=("size=256M", "size=64M"))
    boot.wait(lambda events: guest.last_acknowledged(events) > 5, 150, "records")
    found = Backups(cluster, Guest(cluster, boot, NAME, NODE))
    yield found
    found.running.boot.close()
    cluster.remove(NAME)
    cluster.run("rm", "-r", PLACE, node="node3")
    cluster.run("/usr/bin/python3", "-c", CLEAR, SERVERS)


def test_each_backup_is_of_one_instant_whatever_was_killed(
    cluster: Cluster, backups: Backups
) -> None:
    running = backups.running
    spans: dict[str, tuple[int, int]] = {}
    for name, place in (("one", ON_HOST), ("two", ON_HOST), ("vol", ON_VOLUME)):
        before = running.written()
        made = backups.create(name, place=place)
        spans[name] = (before, running.written())
        assert (made["live"], made["disks"]) == (True, [0, 1])
        running.check_untouched()
    # The second is of what was written meanwhile.
    listed = json.loads(backups("list", "--json", NAME))
    assert [each["previous"] for each in listed] == ["", "one"]
    assert listed[1]["stored"] < listed[0]["stored"] / 5

    # A worker that is killed leaves no backup, and the next goes on from the last whole one.
    slow = ("create", "--full", "--name=cut", "--bandwidth-limit=1", NAME)
    said: list[str] = []
    cut = threading.Thread(target=lambda: said.append(backups(*slow, fail=True)))
    cut.start()
    wait_for(
        lambda: any(name.startswith("gga.") for name in running.nodes()), 30, "it is under way"
    )
    assert "is used by a backup of instance %s on node2" % NAME in backups("prune", fail=True)
    cluster.run("systemctl", "kill", "--signal=SIGKILL", "--kill-whom=main", UNIT, node=NODE)
    cut.join(60)
    assert "the worker ended" in said[0]
    running.check_untouched()
    assert backups.names() == ["one", "two"]
    assert "2 of 2 backups are whole" in backups("verify")
    before = running.written()
    assert backups.create("three")["previous"] == "two"
    spans["three"] = (before, running.written())

    assert "is running; stop it first" in backups("restore", "--yes", NAME, fail=True)
    cluster.run("gnt-instance", "shutdown", NAME, max_seconds=150)
    for name, (first, last) in spans.items():
        place = ON_VOLUME if name == "vol" else ON_HOST
        records = backups.restored(name, place)
        assert first <= records[0] <= last
        assert records[0] - records[1] in (0, 1)  # a record goes to the first disk first


def test_old_backups_are_removed_and_the_others_stay(cluster: Cluster, backups: Backups) -> None:
    before = backups.restored("three")
    backups("remove", "--yes", NAME, "one", "two")
    # The lock of the worker that was killed on the other node still counts.
    cluster.run("find", PLACE + "/locks", "-type", "f", "-delete", node="node3")
    assert "Freed" in backups("prune")
    assert backups.restored("three") == before
    assert "1 of 1 backups are whole" in backups("verify")
    left = cluster.run("find", PLACE, "-name", ".*", node="node3").stdout
    assert left == ""


def test_a_lost_instance_is_made_again(cluster: Cluster, backups: Backups) -> None:
    before = backups.restored("three")
    cluster.remove(NAME)
    said = backups("restore", "--yes", "--new", "--node", NODE, NAME, max_seconds=150)
    assert "Restored %s from" % NAME in said
    assert tuple(backups.running.records(*backups.images)) == before
    backups.running.boot.close()
    backups.running.boot = cluster.boot(NAME, NODE)
    cluster.run("gnt-instance", "start", NAME, max_seconds=60)
    backups.running.boot.wait(
        lambda events: guest.last_acknowledged(events) > before[0], 150, "records"
    )


CONF = "/etc/ganeti/gluster-backup.conf"
SCHEDULES = """
[settings]
stagger = 0
[repository nas]
place = %s
[schedule often]
instances = tag:often
to = nas
times = %s
keep-last = 2
[schedule shots]
instances = %s
to = snapshots
times = %s
keep-last = 1
"""


def test_the_masters_agent_makes_what_is_due_and_keeps_what_rules_name(
    cluster: Cluster, backups: Backups
) -> None:
    def configure(times: str) -> None:
        text = SCHEDULES % (ON_HOST, times, NAME, times)
        cluster.testbed.exec("node1", ["tee", CONF], timeout=30, stdin=text.encode())

    def run(*words: str, **options: Any) -> str:
        done = cluster.run("gnt-gluster", "backup", "run", *words, max_seconds=120, **options)
        return done.stdout + done.stderr

    def snapshots() -> list[str]:
        listed = cluster.run("gnt-gluster", "disk", "snapshots", "--json", NAME).stdout
        return [each["name"] for each in json.loads(listed)]

    def findings() -> list[str]:
        done = cluster.testbed.exec("node1", ["gnt-gluster", "verify", "--json"], timeout=240)
        return [each["code"] for each in json.loads(done.stdout)]

    cluster.run("gnt-instance", "add-tags", NAME, "often")
    cluster.run("gnt-gluster", "disk", "snapshot", "--name=mine", NAME, max_seconds=60)
    own = backups.names()
    configure("*:*:0/5")
    wait_for(lambda: len(backups.names()) > len(own), 300, "the agent has a backup made")
    # From here on nothing is due by itself.
    configure("*-01-01")
    unit = ("systemctl", "is-active", "ganeti-gluster-backups")
    wait_for(lambda: cluster.testbed.exec("node1", unit).exit_code != 0, 60, "that is over")
    for _ in range(2):
        run("--now")
    said = run("--dry-run", "--now")
    assert said.count("keep (last)") == 3 and said.count(": remove\n") == 2
    made = [name for name in backups.names() if name not in own]
    assert len(made) == 2 and all(name.startswith("scheduled-often-") for name in made)
    assert set(own) <= set(backups.names())
    kept = [name for name in snapshots() if name != "mine"]
    assert len(kept) == 1 and kept[0].startswith("scheduled-shots-")
    assert "mine" in snapshots()
    assert not [code for code in findings() if code.startswith("BACKUP")]

    cluster.run("mv", PLACE, PLACE + ".away", node="node3")
    assert "is not a repository of backups, or is not mounted" in run("--now", "often", fail=True)
    assert "BACKUP_FAILED" in findings()
    cluster.run("mv", PLACE + ".away", PLACE, node="node3")
    run("--now", "often")
    assert "BACKUP_FAILED" not in findings()

    # The next master has the configuration, and learns the rest from the repository.
    last = max(name for name in backups.names() if name.startswith("scheduled-often-"))
    name_form = "scheduled-often-%Y%m%d-%H%M%S"
    cluster.run("gnt-cluster", "copyfile", CONF)
    cluster.run("gnt-cluster", "master-failover", node="node2", max_seconds=120)
    try:
        show = ("gnt-gluster", "backup", "schedule", "--json", "often")
        wait_for(
            lambda: any(
                each["last"] and time.strftime(name_form, time.gmtime(each["last"])) == last
                for each in json.loads(cluster.run(*show, node="node2").stdout)
            ),
            240,
            "the agent of the next master has asked",
        )
    finally:
        cluster.run("gnt-cluster", "master-failover", node="node1", max_seconds=120)
        cluster.everywhere("rm", "-f", CONF)
        cluster.run("gnt-gluster", "disk", "remove-snapshot", "--yes", NAME, *snapshots())
