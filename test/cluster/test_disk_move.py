"""The disks of an instance move to another volume, and the move is cut at each of its steps."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from testbedlib import wait_for

from .conftest import SERVERS, Cluster

pytestmark = pytest.mark.slow

NAME, NODE = "mover1", "node2"
OTHER = "gv9"
MOVE = ("gnt-gluster", "disk", "move", "--volume")
UNIT = "ganeti-gluster-snapshot-%s.service" % NAME

#: For each image on each volume a sum of its bytes and its mark, None where there is no image.
LOOK = """
import hashlib, json, os, sys
from ganeti_gluster.core.snapshot.move import origin
from ganeti_gluster.core.volume import VolumeSpec, connect
found = {}
for name in sys.argv[2].split(","):
    with connect(VolumeSpec.from_params({"host": sys.argv[1], "volume": name})) as volume:
        for path in sys.argv[3:]:
            try:
                mark = origin(volume, path)
            except FileNotFoundError:
                continue
            whole, size = hashlib.sha256(), volume.lstat(path).size
            with volume.open(path) as file:
                for offset in range(0, size, 1 << 20):
                    whole.update(file.pread(1 << 20, offset))
            found.setdefault(path, {})[name] = [whole.hexdigest(), mark]
print(json.dumps(found), flush=True)
os._exit(0)
"""
FILL = """
import os, sys
from ganeti_gluster.core.volume import VolumeSpec, connect
with connect(VolumeSpec.from_params({"host": sys.argv[1], "volume": "gv0"})) as volume:
    for path in sys.argv[2:]:
        with volume.open(path, write=True) as file:
            for offset in range(0, 96 << 20, 1 << 20):
                file.pwrite(os.urandom(1 << 20), offset)
            file.fsync()
os._exit(0)
"""
#: The command, whose process ends where a function begins.
CUT = """
import importlib, os, sys
sys.path.insert(0, os.path.realpath("/usr/share/ganeti/default"))
from ganeti_gluster.client.gnt_gluster import Main
module, name = sys.argv[1].rsplit(":", 1)
setattr(importlib.import_module(module), name, lambda *args, **kwargs: os._exit(9))
sys.argv = ["gnt-gluster", *sys.argv[2:]]
sys.exit(Main())
"""

#: The command, in which the instance runs for a moment before the configuration is changed.
MEANWHILE = """
import os, subprocess, sys
sys.path.insert(0, os.path.realpath("/usr/share/ganeti/default"))
from ganeti import opcodes
from ganeti_gluster.client.gnt_gluster import Main
volume, name = sys.argv[1:]
original = opcodes.OpInstanceSetParams
def meanwhile(**fields):
    for words in (["start", name], ["stop", "--timeout=0", name]):
        subprocess.run(["gnt-instance", *words], check=True, stdin=subprocess.DEVNULL)
    return original(**fields)
opcodes.OpInstanceSetParams = meanwhile
sys.argv = ["gnt-gluster", "disk", "move", "--volume", volume, name]
sys.exit(Main())
"""


@pytest.fixture(scope="module")
def other_volume(cluster: Cluster) -> Iterator[str]:
    bricks = ["%s:/srv/gluster/brick1/%s" % (node, OTHER) for node in cluster.nodes]
    cluster.run("gluster", "volume", "create", OTHER, "replica", "3", *bricks, "force")
    cluster.run("gluster", "volume", "set", OTHER, "group", "virt")
    cluster.run("gluster", "volume", "set", OTHER, "client.strict-locks", "on")
    cluster.run("gluster", "volume", "start", OTHER)
    yield OTHER
    cluster.run("gluster", "--mode=script", "volume", "stop", OTHER, "force")
    cluster.run("gluster", "--mode=script", "volume", "delete", OTHER)
    for node in cluster.nodes:
        cluster.run("rm", "-r", "/srv/gluster/brick1/%s" % OTHER, node=node)


class Disks:
    """The two disks of a stopped instance, with random bytes."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        first = cluster.add(NAME, node=NODE, start=False, disks=("size=128M", "size=128M"))
        cluster.run("gnt-instance", "deactivate-disks", NAME)
        self.paths = [first, first.removesuffix("0") + "1"]
        cluster.run("/usr/bin/python3", "-c", FILL, SERVERS, *self.paths, max_seconds=120)
        self.sums = {path: self.look()[path]["gv0"][0] for path in self.paths}

    def look(self) -> dict[str, dict[str, list[str]]]:
        volumes = "gv0,%s" % OTHER
        done = self.cluster.run(
            "/usr/bin/python3", "-c", LOOK, SERVERS, volumes, *self.paths, max_seconds=120
        )
        found: dict[str, dict[str, list[str]]] = json.loads(done.stdout)
        return found

    def are_on(self, volume: str) -> None:
        """Whole and unmarked on one volume, with nothing on the other, which Ganeti knows."""
        there = {path: {volume: [total, ""]} for path, total in self.sums.items()}
        assert self.look() == there
        assert [each["volume"] for each in self.cluster.disk_info(NAME)] == [volume, volume]

    def move(self, volume: str, *words: str, **options: object) -> str:
        done = self.cluster.run(*MOVE, volume, *words, NAME, **{"max_seconds": 180, **options})
        return done.stdout + done.stderr

    def cut(self, where: str, volume: str) -> None:
        argv = ("disk", "move", "--volume", volume, NAME)
        self.cluster.run("/usr/bin/python3", "-c", CUT, where, *argv, fail=9, max_seconds=180)
        self.settled()

    def settled(self) -> None:
        """Wait for the worker of a command that is gone."""
        wait_for(
            lambda: (
                "inactive"
                in self.cluster.testbed.exec(NODE, ["systemctl", "is-active", UNIT]).stdout
            ),
            60,
            "the worker has ended",
        )


@pytest.fixture(scope="module")
def disks(cluster: Cluster, other_volume: str) -> Iterator[Disks]:
    yield Disks(cluster)
    cluster.remove(NAME)


def test_disks_move_there_and_back(cluster: Cluster, disks: Disks) -> None:
    said = disks.move(OTHER)
    assert "Moved disk/1 of %s from volume gv0 to %s" % (NAME, OTHER) in said
    disks.are_on(OTHER)
    assert "All disks of %s are on volume %s" % (NAME, OTHER) in disks.move(OTHER)
    said = disks.move("gv0")
    assert "from volume %s to gv0" % OTHER in said
    disks.are_on("gv0")


def test_what_is_refused(cluster: Cluster, disks: Disks) -> None:
    assert "no volume nowhere" in disks.move("nowhere", fail=1)
    done = cluster.run(
        "gnt-instance", "modify", "--disk", "0:modify,volume=%s" % OTHER, NAME, fail=1
    )
    assert "is changed by gnt-gluster disk move" in done.stderr
    disks.are_on("gv0")


def test_a_command_that_is_interrupted_leaves_the_disks(cluster: Cluster, disks: Disks) -> None:
    argv = ("timeout", "-s", "INT", "8", *MOVE, OTHER, "--bandwidth-limit=8", NAME)
    cluster.run(*argv, fail=124, max_seconds=120)
    disks.settled()
    disks.are_on("gv0")
    assert not [path for path in cluster.images() if path.endswith(".partial")]


def test_a_worker_that_is_killed_leaves_the_disks(cluster: Cluster, disks: Disks) -> None:
    kill = "sleep 8; systemctl kill -s KILL %s" % UNIT
    cluster.run("systemd-run", "--quiet", "sh", "-c", kill, node=NODE)
    said = disks.move(OTHER, "--bandwidth-limit=8", fail=1)
    assert "the worker ended" in said
    disks.settled()
    disks.are_on("gv0")
    disks.move(OTHER)
    disks.are_on(OTHER)
    disks.move("gv0")


#: Where a command is cut, and the volume that has the images then, as Ganeti has them.
CUTS = {
    "ganeti.opcodes:OpInstanceSetParams": "gv0",
    "ganeti_gluster.core.serve.hold:remove": OTHER,
    "ganeti_gluster.core.snapshot.move:forget_origin": OTHER,
}


@pytest.mark.parametrize("where", CUTS)
def test_a_command_that_dies_is_completed_by_the_next_one(disks: Disks, where: str) -> None:
    disks.cut(where, OTHER)
    found = disks.look()
    valid = [each["volume"] for each in disks.cluster.disk_info(NAME)]
    assert valid == [CUTS[where]] * 2
    assert {path: found[path][CUTS[where]][0] for path in found} == disks.sums
    disks.move(OTHER)
    disks.are_on(OTHER)
    disks.move("gv0")
    disks.are_on("gv0")


@pytest.mark.qemu
def test_a_guest_that_ran_since_the_copy_keeps_its_disks(cluster: Cluster, disks: Disks) -> None:
    said = cluster.run("/usr/bin/python3", "-c", MEANWHILE, OTHER, NAME, fail=1, max_seconds=300)
    assert "has been changed since its disks were copied" in said.stderr
    found = disks.look()
    assert [sorted(found[path]) for path in disks.paths] == [["gv0"], ["gv0"]]
    disks.sums = {path: found[path]["gv0"][0] for path in disks.paths}
    disks.move(OTHER)
    disks.are_on(OTHER)
    cluster.run("gnt-instance", "start", NAME, max_seconds=120)
    assert "is running; stop it first" in disks.move("gv0", fail=1)
    cluster.run("gnt-instance", "migrate", "-f", "-n", "node3", NAME, max_seconds=180)
    cluster.run("gnt-instance", "stop", "--timeout=0", NAME, max_seconds=120)
