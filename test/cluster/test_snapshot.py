"""Snapshots of an instance with two disks, whose guest writes to both in lockstep."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from demolib import guest
from demolib.console import Boot
from testbedlib import wait_for

from . import evidence
from .conftest import SERVERS, Cluster
from .evidence import RecordsMissing

pytestmark = pytest.mark.qemu

MIB = 1 << 20
NAME = "snap1"
# Not the master: the work is done on the instance's node.
NODE = "node2"
FLEECING, MARKS = "/var/lib/ganeti-gluster/fleecing", "/run/ganeti-gluster/snapshots"
# Where qa/os/guest puts record 1 on each of its disks.
RECORDS = (133120 * 512 + 4096, 4096)

READ = """
import json, sys
from ganeti_gluster.core.volume import VolumeSpec, connect
with connect(VolumeSpec.from_params({"host": sys.argv[1], "volume": sys.argv[2]})) as volume:
    found = []
    for path, offset in json.loads(sys.argv[3]):
        with volume.open(path) as file:
            data = file.pread(4000 * 4096, offset)
        found.append([data[i : i + 40].split(b"\\n")[0].decode("ascii", "replace").strip("\\0")
                      for i in range(0, len(data), 4096)])
print(json.dumps(found))
"""
REMOVE = """
import os, sys
from ganeti_gluster.core import image
from ganeti_gluster.core.volume import VolumeSpec, connect
with connect(VolumeSpec.from_params({"host": sys.argv[1], "volume": "gv0"})) as volume:
    for path in sys.argv[2:]:
        image.remove(volume, path)
os._exit(0)
"""
COMMANDS = """
import contextlib, io, json, os, sys
sys.path.insert(0, os.path.realpath("/usr/share/ganeti/default"))
from ganeti_gluster.client.gnt_gluster import Main
answers = []
for words in json.loads(sys.argv[1]):
    sys.argv = ["gnt-gluster", "disk", *words]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            code = Main()
        except SystemExit as err:
            code = err.code
    answers.append((code, said.getvalue()))
print(json.dumps(answers), flush=True)
os._exit(0)
"""
NODES = """
import json, sys
sys.path.insert(0, "/usr/share/ganeti/default")
from ganeti_gluster.storage.guests import KvmGuests
with KvmGuests().connect(sys.argv[1])() as monitor:
    print(json.dumps([n["node-name"] for n in
                      monitor.execute("query-named-block-nodes", {"flat": True})]))
"""


def prefix(lines: list[str], torn: int = 0) -> int:
    """How many records there are; fails where one is missing before another, but for `torn`."""
    count = 0
    for number, line in enumerate(lines, start=1):
        if line == "record %d %d" % (number, (number * 7919 + 13) % 1000003):
            if count < number - 1 and not count == number - 2 == torn - 1:
                raise RecordsMissing("record %d is missing" % (count + 1), [count + 1])
            count = number
        elif line:
            raise RecordsMissing("record %d: %r" % (number, line), [number])
    return count


def test_a_record_is_missed_unless_the_snapshot_was_taken_within_it() -> None:
    lines = ["record %d %d" % (n, (n * 7919 + 13) % 1000003) for n in range(1, 6)]
    lines[2] = ""
    assert prefix(lines, torn=3) == 5
    for torn in (0, 2, 4):
        with pytest.raises(RecordsMissing, match="record 3 is missing"):
            prefix(lines, torn=torn)
    lines[3] = ""
    with pytest.raises(RecordsMissing):
        prefix(lines, torn=3)


@dataclass
class Guest:
    """The instance, and what is done with its snapshots."""

    cluster: Cluster
    boot: Boot
    name: str = NAME
    node: str = NODE

    def disk(self, *words: str, **options: Any) -> str:
        """Output of a `gnt-gluster disk` command."""
        done = self.cluster.run("gnt-gluster", "disk", *words, **{"max_seconds": 90, **options})
        return done.stdout + done.stderr

    def snapshots(self, *words: str, **options: Any) -> dict[str, dict[str, Any]]:
        """The instance's snapshots, by name."""
        command = ("gnt-gluster", "disk", "snapshots", "--json", *words, self.name)
        done = self.cluster.run(*command, **options)
        return {each["name"]: each for each in json.loads(done.stdout)}

    def records(self, *paths: str, volume: str = "gv0", torn: int = 0) -> list[int]:
        """The number of records in images of disk 0, 1, …, which have no gap.

        Record `torn` may be missing on the second disk: in a snapshot the last one may be on the
        first disk alone, and a guest that boots from it goes on after it.
        """
        places = json.dumps(list(zip(paths, RECORDS, strict=False)))
        done = self.cluster.run("/usr/bin/python3", "-c", READ, SERVERS, volume, places)
        found = zip(paths, RECORDS, json.loads(done.stdout), strict=False)
        return [
            self._prefix(path, place, lines, torn if number else 0)
            for number, (path, place, lines) in enumerate(found)
        ]

    def _prefix(self, path: str, place: int, lines: list[str], torn: int) -> int:
        try:
            return prefix(lines, torn)
        except RecordsMissing as err:
            where = evidence.keep(
                self.cluster,
                "snapshot %s" % self.name,
                why="%s of %s" % (err, path),
                boots=[self.boot],
                image=path,
                records=err.numbers,
                base=place - evidence.RECORD_BYTES,
            )
            err.add_note("evidence: %s" % where)
            raise

    def written(self, seconds: float = 60) -> int:
        """The number of a record that the guest writes from now on."""
        before = guest.last_acknowledged(self.boot.events())
        self.boot.wait(lambda e: guest.last_acknowledged(e) > before + 1, seconds, "records")
        return guest.last_acknowledged(self.boot.events())

    def nodes(self) -> list[str]:
        """QEMU's block nodes."""
        done = self.cluster.run("/usr/bin/python3", "-c", NODES, self.name, node=self.node)
        names: list[str] = json.loads(done.stdout)
        return names

    def check_untouched(self) -> None:
        """QEMU, the node and the guest are as if there had been no snapshot."""
        assert not [name for name in self.nodes() if name.startswith("gg")]
        assert self.cluster.run("ls", FLEECING, node=self.node).stdout == ""
        assert self.cluster.run("ls", MARKS, node=self.node).stdout == ""
        self.written()


@pytest.fixture(scope="module")
def running(cluster: Cluster) -> Iterator[Guest]:
    boot = cluster.boot(NAME, NODE)
    cluster.add(NAME, node=NODE, disks=("size=256M", "size=64M"))
    boot.wait(lambda events: guest.last_acknowledged(events) > 5, 150, "records")
    found = Guest(cluster, boot)
    yield found
    found.boot.close()
    made = [path for path in cluster.images() if ".snap." in path or path.endswith("cloned")]
    cluster.run("/usr/bin/python3", "-c", REMOVE, SERVERS, *made)
    cluster.remove(NAME)


@pytest.fixture(scope="module")
def one(running: Guest) -> str:
    """A snapshot of both disks."""
    return running.disk("snapshot", "--name=one", NAME)


def images(cluster: Cluster, snapshot: dict[str, Any]) -> list[str]:
    return [disk["path"] for _, disk in sorted(snapshot["disks"].items())]


def test_all_disks_of_a_running_guest_have_one_instant(
    cluster: Cluster, running: Guest, request: pytest.FixtureRequest
) -> None:
    before = running.written()
    said = request.getfixturevalue("one")
    assert "Took snapshot one of %s (disk/0, disk/1)" % NAME in said
    after = running.written()
    found = running.snapshots()["one"]
    first, second = running.records(*images(cluster, found))
    assert before <= first <= after
    assert first - second in (0, 1)  # a record goes to the first disk first
    assert found["live"] and found["complete"]
    running.check_untouched()
    sizes = [disk["size"] for _, disk in sorted(found["disks"].items())]
    assert sizes == [256 * MIB, 64 * MIB]
    allocated = sum(disk["allocated"] for disk in cluster.disk_info(NAME))
    assert found["allocated"] <= allocated + 4 * MIB


SOCKET = """
import sys
from ganeti_gluster.core.serve.server import ImageServer
from ganeti_gluster.core.volume import VolumeSpec
spec = VolumeSpec.from_params({"host": "node1", "volume": "gv0"})
print(ImageServer(spec, sys.argv[1]).socket_path)
"""


def in_unused_part(cluster: Cluster, command: str) -> None:
    """Let another client of the image's server work where the guest writes nothing."""
    argv = ("/usr/bin/python3", "-c", SOCKET, cluster.image(NAME))
    uri = "nbd+unix:///?socket=%s" % cluster.run(*argv, node=NODE).stdout.strip()
    cluster.run("qemu-io", "-f", "raw", "-c", command, uri, node=NODE)


def test_what_would_disturb_a_snapshot_is_refused(cluster: Cluster, running: Guest) -> None:
    # Holes are not copied, and the copy is to take longer than what is tried meanwhile.
    in_unused_part(cluster, "write -P 7 128M 112M")
    slow = ("snapshot", "--bandwidth-limit=1", "--name=cut", NAME)
    said: list[str] = []
    cut = threading.Thread(target=lambda: said.append(running.disk(*slow, fail=True)))
    cut.start()
    wait_for(
        lambda: any(name.startswith("gga.") for name in running.nodes()), 30, "it is under way"
    )
    why = "a snapshot of instance %s is being taken" % NAME
    for words in (
        ("migrate", "-f", "-n", "node1", NAME),
        ("shutdown", NAME),
        ("grow-disk", NAME, "1", "64M"),
    ):
        done = cluster.run("gnt-instance", *words, fail=True, max_seconds=60)
        assert why in done.stdout + done.stderr
    assert "is already running" in running.disk("snapshot", NAME, fail=True)
    # The worker is killed, and with it goes what it had in QEMU.
    cluster.run(
        *("systemctl", "kill", "--signal=SIGKILL", "--kill-whom=main"),
        "ganeti-gluster-snapshot-%s" % NAME,
        node=NODE,
    )
    cut.join(60)
    assert "the worker ended" in said[0]
    running.check_untouched()
    left = running.snapshots(fail=1)["cut"]
    assert not left["complete"]
    assert left["leftovers"] == [cluster.image(NAME) + ".snap.cut.partial"]
    assert "is incomplete" in running.disk("restore", "-f", NAME, "cut", fail=True)
    running.disk("remove-snapshot", "-f", NAME, "cut")
    in_unused_part(cluster, "discard 128M 112M")


@pytest.mark.one_suite
def test_snapshots_that_are_rotated_give_way(cluster: Cluster, running: Guest, one: str) -> None:
    for name in ("r1", "r2"):
        output = running.disk("snapshot", "--keep=1", "--disk=1", "--name", name, NAME)
    assert "Removed snapshot r1" in output
    found = running.snapshots()
    assert set(found) == {"one", "r2"}
    assert list(found["r2"]["disks"]) == ["1"]


@pytest.mark.one_suite
def test_bad_requests_change_nothing(cluster: Cluster, running: Guest, one: str) -> None:
    before = cluster.images()
    wrong = []
    for words, why in (
        (("snapshot", "--name=one", NAME), "already has a snapshot one of this instance"),
        (("snapshot", "--name=a/b", NAME), "only letters, digits"),
        (("snapshot", "--name=ganeti-backup", NAME), "reserved for Ganeti's backups"),
        (("snapshot", "--disk=7", NAME), "has no disk/7"),
        (("snapshot", "--keep=0", NAME), "at least one snapshot must be kept"),
        (("snapshot", "--volume=absent", NAME), "there is no volume absent"),
        (("snapshot", "nobody"), "nobody"),
        (("restore", "-f", NAME, "one"), "is running; stop it first"),
        (("restore", "-f", NAME, "absent"), "no snapshot absent of this instance"),
        (("clone", NAME, "one", "../x"), "empty, '.' or '..' component"),
        (
            ("clone", NAME, "one", cluster.image(NAME)),
            "already exists; remove it or choose another name",
        ),
        (("remove-snapshot", "-f", NAME, "absent"), "no snapshot absent"),
    ):
        wrong.append((words, why))
    # One process for all, since each takes a second to load Ganeti.
    calls = [*(words for words, _ in wrong), ("snapshot", "--dry-run", "--name=new", NAME)]
    done = cluster.run("/usr/bin/python3", "-c", COMMANDS, json.dumps(calls), max_seconds=90)
    *refused, (code, said) = json.loads(done.stdout)
    for (words, why), (status, text) in zip(wrong, refused, strict=True):
        assert status != 0 and why in text, words
    assert code == 0 and "Would take snapshot new" in said
    assert cluster.images() == before
    running.check_untouched()


def test_a_snapshot_is_cloned_and_restored(cluster: Cluster, running: Guest, one: str) -> None:
    counts = running.records(*images(cluster, running.snapshots()["one"]))
    running.disk("clone", "--disk=1", NAME, "one", "cloned")
    assert running.records("ganeti/cloned", "ganeti/cloned")[1:] == counts[1:]
    last = running.written()
    cluster.run("gnt-instance", "shutdown", "--timeout=0", NAME, max_seconds=60)
    running.boot.close()
    running.disk("snapshot", "--name=stopped", NAME)
    assert not running.snapshots()["stopped"]["live"]
    running.disk("restore", "-f", NAME, "one")
    path = cluster.image(NAME)
    paths = [path, path[:-1] + "1"]
    assert running.records(*paths) == counts
    assert not [each for each in cluster.images() if each.startswith(path + ".re")]
    running.disk("restore", "-f", NAME, "stopped")
    assert running.records(*paths)[0] >= last
    running.disk("restore", "-f", NAME, "one")
    running.boot = cluster.boot(NAME, NODE)
    cluster.run("gnt-instance", "start", NAME, max_seconds=60)
    found = running.boot.wait(
        lambda events: [event.number for event in events if event.kind == guest.RECORDS],
        60,
        "boot",
    )
    assert found == counts[:1]
    last = running.written()
    guest.check_unbroken(running.boot.events())
    cluster.run("gnt-instance", "shutdown", "--timeout=0", NAME, max_seconds=60)
    cluster.run("gnt-instance", "grow-disk", NAME, "1", "64M", max_seconds=60)
    grown = running.disk("restore", "-f", NAME, "one", fail=True)
    assert "disk/1 has %d bytes, but its snapshot has %d" % (128 * MIB, 64 * MIB) in grown
    torn = counts[0] if counts[1] < counts[0] else 0
    assert running.records(*paths, torn=torn)[0] >= last  # disk/0 was not touched either
