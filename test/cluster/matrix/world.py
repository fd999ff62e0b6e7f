"""The cluster that the cells of the matrix share, and the guest that writes in all of them."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demolib import guest
from demolib.console import Boot
from testbedlib import CompletedCommand, cgroup, layout, wait_for
from testbedlib.errors import CommandTimeout, TestbedError

from ..conftest import SERVERS, Cluster, package, prepare
from ..pieces import Pieces

GUEST, OTHER = "fm1", "fm2"
MIB = 1 << 20
SIZE = 128 * MIB
#: The guest's records begin anew at its last; what was there before would hide a loss.
ENOUGH_RECORDS = 2000
#: Seconds for a command to end once a fault is undone, and for a guest to go on.
LIMIT = 600
PATIENCE = 240
MASTER = "node1"
FILES = "/srv/ganeti/file-storage"
#: Seconds between two orders to heal, and before the first.
HEAL_SECONDS = 30
LET_GO = "cluster.post-op-delay-secs"
_PATHS = "/etc/ganeti/file-storage-paths"
_QUEUE = "/var/lib/ganeti/queue"

# Bytes of a seed over both of an image's pieces.
_FILL = """
import hashlib, os, sys
from ganeti_gluster.core.volume import VolumeSpec, connect
with connect(VolumeSpec.from_params({"host": sys.argv[1], "volume": "gv0"})) as volume:
    with volume.open(sys.argv[2], write=True) as file:
        for number in [*range(24), *range(60, 76)]:
            seed = b"%s %d" % (sys.argv[3].encode(), number)
            file.pwrite(hashlib.shake_128(seed).digest(1 << 20), number << 20)
        file.fsync()
os._exit(0)
"""


class Command(threading.Thread):
    """A command on the master that goes on while a fault comes and goes."""

    def __init__(self, cluster: Cluster, argv: list[str]) -> None:
        super().__init__(daemon=True)
        self.argv = argv
        self.result: CompletedCommand | None = None
        self._cluster = cluster
        self.start()

    def run(self) -> None:
        try:
            self.result = self._cluster.testbed.exec(MASTER, self.argv, timeout=LIMIT + 300)
        except (CommandTimeout, TestbedError) as err:
            self.result = CompletedCommand(tuple(self.argv), "", str(err), -1, 0.0, MASTER)

    def ended(self) -> CompletedCommand:
        """How it ended."""
        self.join(LIMIT)
        assert self.result is not None, "it hangs, all faults undone: %s" % " ".join(self.argv)
        return self.result


class World:
    """A cluster with a guest on it; `spoiled` once a cell has failed.

    `known` is a record that was acknowledged; `boots` are the guest's consoles since the
    cell began.
    """

    def __init__(self, cluster: Cluster, seed: str) -> None:
        self.cluster = cluster
        self.testbed = cluster.testbed
        self.seed = seed
        self.random = random.Random(seed)
        self.boots: list[Boot] = []
        self.known = 0
        self.home = ""
        self.image = ""
        self.spoiled = False
        self.notes: list[str] = []
        self.kept: dict[str, Any] = {}
        self._next_order, self._orders = 0.0, 0

    # Nodes

    @property
    def alive(self) -> list[str]:
        """The nodes that have power."""
        return [name for name in self.cluster.nodes if self.testbed.node(name).leader()]

    def inside(self, node: str, path: str) -> Path:
        """A path in a node, as this machine reaches it."""
        return Path(self.testbed.node(node).inside(path))

    @property
    def brick_nodes(self) -> list[str]:
        """The nodes of the volume's bricks that have power."""
        brick = "%s/gv0/.glusterfs" % layout.BRICK_MOUNT
        return [name for name in self.alive if self.inside(name, brick).is_dir()]

    def names(self, node: str, directory: str, prefix: str = "") -> list[str]:
        """What is in a directory of a node; empty where there is none."""
        try:
            found = os.listdir(self.inside(node, directory))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name for name in found if name.startswith(prefix))

    def on_brick(self, node: str) -> set[str]:
        """The images of which there is something on a node's brick."""
        return {"ganeti/" + n for n in self.names(node, layout.BRICK_MOUNT + "/gv0/ganeti")}

    def processes(self, node: str, *words: str) -> list[str]:
        """The command lines with all of these words that run in a node, without a shell's."""
        return [line for _, line in self.pids(node, *words)]

    def pids(self, node: str, *words: str) -> list[tuple[int, str]]:
        """The same with their numbers on this machine."""
        found = []
        for pid in cgroup.processes(self.testbed.node(node).cgroup):
            try:
                line = Path("/proc/%d/cmdline" % pid).read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            shell = line.startswith(("sh ", "bash ", "/bin/sh ", "nsenter", "/usr/bin/nsenter"))
            if line and not shell and all(word in line for word in words):
                found.append((pid, line))
        return found

    def jobs(self) -> list[tuple[int, str, str]]:
        """The numbers, opcodes and states of the jobs that have not ended."""
        found = []
        for name in self.names(MASTER, _QUEUE, "job-"):
            number = name.partition("-")[2]
            if not number.isdigit():  # it is just being written
                continue
            try:
                path = self.inside(MASTER, _QUEUE) / name
                ops = json.loads(path.read_text("utf-8"))["ops"]
            except (OSError, ValueError):  # it has been archived
                continue
            found += [
                (int(number), op["input"]["OP_ID"], op["status"])
                for op in ops
                if op["status"] in ("queued", "waiting", "canceling", "running")
            ]
        return found

    def until(self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
        """Wait for something that may fail on the way."""
        return wait_for(condition, seconds, what)

    def tries(self, *argv: str, seconds: float = PATIENCE) -> None:
        """Give a command again until it succeeds."""
        said = ""

        def good() -> bool:
            nonlocal said
            done = self.testbed.exec(MASTER, list(argv), timeout=180)
            said = done.describe()
            return done.exit_code == 0

        try:
            wait_for(good, seconds, " ".join(argv))
        except AssertionError as err:
            raise AssertionError("%s: %s" % (err, said)) from err

    def advice(self, code: str, subject: str) -> str:
        """What `gnt-gluster verify` advises about something, "" if it does not find this."""
        done = self.testbed.exec(MASTER, ["gnt-gluster", "verify", "--json"], timeout=180)
        found = json.loads(done.stdout)
        said = (each for each in found if (each["code"], each["object"]) == (code, subject))
        return next((str(each["remedy"]) for each in said), "")

    # Heals

    def help_heal(self) -> None:
        """Do what `gnt-gluster verify` advises where a heal takes long; to be called often.

        GlusterFS is told to heal: what was busy when a brick came back it tries again by
        itself after ten minutes (cluster.heal-timeout).  Self-heal daemons that refuse are
        started anew, and writers told to keep no locks, as `pool replace` does.
        """
        if time.monotonic() < self._next_order:
            return
        first, self._next_order = not self._next_order, time.monotonic() + HEAL_SECONDS
        if first:
            return
        self._orders += 1
        heal = self.testbed.exec(MASTER, ["gluster", "volume", "heal", "gv0"], timeout=60)
        if heal.exit_code != 0:
            self.notes.append("HEAL_BACKLOG")
            for node in self.alive:
                argv = ["pkill", "-9", "-f", "--", "--process-name glustershd"]
                self.testbed.exec(node, argv, timeout=30)
            self.tries("gluster", "--mode=script", "volume", "start", "gv0", "force")
        elif self._orders > 1 and LET_GO not in self.notes:
            self.tries("gluster", "volume", "set", "gv0", LET_GO, "0")
            self.notes.append(LET_GO)

    def end_help(self) -> None:
        """Undo what helped a heal."""
        if LET_GO in self.notes:
            self.tries("gluster", "volume", "reset", "gv0", LET_GO)
        self._next_order, self._orders = 0.0, 0

    # The guest

    def where(self) -> list[str]:
        """The nodes that have a QEMU of the guest's."""
        return [
            node for node in self.alive if self.processes(node, "-name %s " % GUEST, "-pidfile")
        ]

    @property
    def boot(self) -> Boot:
        return self.boots[-1]

    def attach(self, node: str) -> Boot:
        """Read the guest's console on a node, which may be about to have it.

        One that waits there for a guest that never came would take what belongs to this one.
        """
        for boot in self.boots:
            if boot.node == node:
                boot.close()
        self.boots.append(self.cluster.boot(GUEST, node))
        return self.boots[-1]

    def release(self) -> None:
        """Read its consoles no more."""
        self.acknowledged()
        for boot in self.boots:
            boot.close()
        self.boots = []

    def acknowledged(self) -> int:
        """The last record that the guest was told is written."""
        said = [guest.last_acknowledged(boot.events()) for boot in self.boots]
        self.known = max([self.known, *said])
        return self.known

    def goes_on(self, seconds: float = PATIENCE) -> None:
        """Wait for another record; one that is missing in between is an error."""
        before = self.acknowledged()
        self.until(lambda: self.acknowledged() > before, "another record of the guest", seconds)

    def say(self, what: str) -> None:
        """Tell in the test's output how far it is, and when."""
        print("%s %s" % (time.strftime("%H:%M:%S"), what), flush=True)

    def prepare(self, home: str) -> None:
        """Have the guest run on a node and write, with room for many records."""
        if self.spoiled:
            self.reset()
        self.notes = []
        self._next_order, self._orders = 0.0, 0
        running = self.where() if self.image and self.acknowledged() < ENOUGH_RECORDS else []
        if len(running) != 1:
            self._afresh(home)
        else:
            self.release()
            self.attach(home)
            if running != [home]:
                argv = ("gnt-instance", "migrate", "-f", "-n", home, GUEST)
                self.cluster.run(*argv, max_seconds=240)
        self.home = home
        self.goes_on()

    def _afresh(self, home: str) -> None:
        self.release()
        if self.image:
            self.cluster.remove(GUEST)
        self.known = 0
        self.attach(home)
        self.image = self.cluster.add(GUEST, node=home, disks=("size=128M",), max_seconds=240)

    def reset(self) -> None:
        """Nodes as they were, with the package and without any instance."""
        self.release()
        self.testbed.reset()
        self.testbed.install([package()])
        prepare(self.cluster)
        self.equip()
        self.known, self.home, self.image = 0, "", ""
        self.kept.clear()
        self.spoiled = False

    def equip(self) -> None:
        """Enable what instances are converted to."""
        line = "mkdir -p %s; grep -qx %s %s || echo %s >> %s"
        command = line % (FILES, FILES, _PATHS, FILES, _PATHS)
        for node in self.alive:
            self.cluster.run("sh", "-c", command, node=node)
        templates = "gluster,diskless,ext,file"
        self.cluster.run(
            *("gnt-cluster", "modify", "--enabled-disk-templates", templates),
            *("--ipolicy-disk-templates", templates, "--file-storage-dir", FILES),
        )

    def revive(self) -> None:
        """Start the guest where it has ended."""
        self._next_order, self._orders = 0.0, 0
        running = self.where()
        if not running:
            primary = self.cluster.run(
                *("gnt-instance", "list", "--no-headers", "-o", "pnode", GUEST)
            ).stdout.strip()
            self.home = primary
            self.attach(primary)
            self.tries("gnt-instance", "start", GUEST)
        elif len(running) == 1:
            self.home = running[0]

    # The other instance, which stands still

    def instances(self) -> dict[str, str]:
        """The instances and their templates."""
        argv = ("gnt-instance", "list", "--no-headers", "-o", "name,disk_template")
        lines = self.cluster.run(*argv).stdout.splitlines()
        return dict(line.split() for line in lines)

    def make_other(self) -> str:
        """The other instance on node2, stopped, without any bytes; returns its image."""
        if OTHER in self.instances():
            self.cluster.remove(OTHER)
        self.cluster.run(
            *("gnt-instance", "add", "-t", "gluster", "--disk", "0:size=128M"),
            *("-o", "guest+default", "--no-install", "--no-start", *self.shape(), OTHER),
            max_seconds=240,
        )
        self.cluster.run("gnt-instance", "deactivate-disks", OTHER)
        return self.cluster.image(OTHER)

    @staticmethod
    def shape(node: str = "node2") -> tuple[str, ...]:
        """How instances are made, but for their disks."""
        return (
            *("-B", "minmem=128,maxmem=128,vcpus=1", "--net", "0:mode=bridged"),
            *("--no-name-check", "--no-ip-check", "-n", node),
        )

    def fill(self, image: str, seed: str) -> str:
        """Write bytes of a seed over an image, and return its digest."""
        self.cluster.run(
            *("/usr/bin/python3", "-P", "-c", _FILL, SERVERS, image, seed), max_seconds=180
        )
        return self.digest(image)

    def digest(self, image: str) -> str:
        """The digest of an image, which all bricks have once all is healed."""
        found: dict[str, str] = {}

        def agreed() -> bool:
            self.help_heal()
            found.update({n: self.pieces(n, image).digest(SIZE) for n in self.brick_nodes})
            return len({found[node] for node in self.brick_nodes}) == 1

        try:
            wait_for(agreed, PATIENCE, "all copies of %s are the same" % image)
        except AssertionError as err:
            raise AssertionError("%s: %s" % (err, found)) from err
        return found[self.brick_nodes[0]]

    def pieces(self, node: str, image: str) -> Pieces:
        return Pieces(self.testbed.node(node), image)
