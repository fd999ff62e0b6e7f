"""The operations of the matrix: what is done, how one sees that it is under way, and its end."""

from __future__ import annotations

import configparser
import hashlib
import json
from pathlib import Path

from testbedlib import CompletedCommand, layout

from .checks import BASE, RECORD, missing, records_of
from .operation import Operation
from .world import FILES, GUEST, MASTER, OTHER, SIZE, World

_EXPORTS = "/var/lib/ganeti/export"
_SPARE = "node4"
_MIGRATION_PORT = ":8102"

# The administrator's command, as it is when what was left is a day old.
_A_DAY_LATER = """
import os, sys
sys.path.insert(0, os.path.realpath("/usr/share/ganeti/default"))
from ganeti_gluster.cmdlib import orphans
from ganeti_gluster.client.gnt_gluster import Main
orphans.YOUNG = 0
sys.argv = ["gnt-gluster", "disk", "remove-orphans", "--force"]
sys.exit(Main())
"""


def _remove_orphans(world: World, images: set[str]) -> None:
    """Remove what a job that was killed has left, as it is done where it is a day old."""
    if any(world.on_brick(node) - images for node in world.brick_nodes):
        world.cluster.run("/usr/bin/python3", "-P", "-c", _A_DAY_LATER, max_seconds=120)
        world.notes.append("disk remove-orphans")


def _is_other(world: World, template: str = "gluster") -> bool:
    return world.instances().get(OTHER) == template


def _forget_other(world: World) -> None:
    if OTHER in world.instances():
        world.cluster.remove(OTHER)


class _Makes(Operation):
    """Makes the other instance."""

    def prepare(self, world: World) -> None:
        _forget_other(world)

    def tidy(self, world: World) -> None:
        if OTHER in world.instances():
            world.tries("gnt-instance", "remove", "-f", "--shutdown-timeout=0", OTHER)
            world.notes.append("gnt-instance remove")
        _remove_orphans(world, self.images(world))

    def undo(self, world: World) -> None:
        _forget_other(world)


class Create(_Makes):
    name = "create"
    opcode = "OP_INSTANCE_CREATE"

    def argv(self, world: World) -> list[str]:
        return [
            *("gnt-instance", "add", "-t", "gluster", "--disk", "0:size=128M", "--no-start"),
            *("-o", "guest+default", *world.shape(), OTHER),
        ]

    def check(self, world: World) -> set[str]:
        assert _is_other(world), "no instance %s on gluster" % OTHER
        # Ganeti leaves the disks of what it has made open.
        world.cluster.run("gnt-instance", "deactivate-disks", OTHER)
        image = world.cluster.image(OTHER)
        world.digest(image)
        assert b"record" not in world.pieces("node1", image).read(RECORD, BASE + RECORD)
        return {*self.images(world), image}


class Remove(Operation):
    name = "remove"
    opcode = "OP_INSTANCE_REMOVE"
    spread = 1.5

    def prepare(self, world: World) -> None:
        self.image = world.make_other()
        world.fill(self.image, world.seed)

    def argv(self, world: World) -> list[str]:
        return ["gnt-instance", "remove", "-f", OTHER]

    def residue(self, world: World) -> set[str]:
        # An instance that is still there may have lost its image already.
        return set() if self.is_done(world) else {self.image} & world.on_brick(MASTER)

    def is_done(self, world: World) -> bool:
        return OTHER not in world.instances()

    def tidy(self, world: World) -> None:
        if self.is_done(world):
            _remove_orphans(world, self.images(world))

    def check(self, world: World) -> set[str]:
        assert OTHER not in world.instances(), "%s is still there" % OTHER
        return self.images(world)


class Grow(Operation):
    name = "grow"
    opcode = "OP_INSTANCE_GROW_DISK"
    spread = 1.5

    def prepare(self, world: World) -> None:
        self.before = world.cluster.disk_info(GUEST)[0]["size"]

    def argv(self, world: World) -> list[str]:
        return ["gnt-instance", "grow-disk", GUEST, "0", "32M"]

    def check(self, world: World) -> set[str]:
        (info,) = world.cluster.disk_info(GUEST)
        assert info["size"] == info["configured_size"] > self.before, info
        world.goes_on()
        seen = [event.size for event in world.boot.events() if event.size][-1]
        assert seen == info["size"], "the guest sees %d bytes of %d" % (seen, info["size"])
        return self.images(world)


class Snapshot(Operation):
    name = "snapshot"
    spread = 4.0
    worker = ("snapshot_worker run",)

    def prepare(self, world: World) -> None:
        self.before = world.acknowledged()

    def argv(self, world: World) -> list[str]:
        words = ("snapshot", "--bandwidth-limit=1", "--name=s1", GUEST)
        return ["gnt-gluster", "disk", *words]

    def under_way(self, world: World) -> bool:
        return world.image + ".snap.s1.partial" in world.on_brick(MASTER)

    def shown(self, world: World) -> dict[str, bool]:
        argv = ["gnt-gluster", "disk", "snapshots", "--json", GUEST]
        done = world.testbed.exec(MASTER, argv, timeout=90)
        return {each["name"]: each["complete"] for each in json.loads(done.stdout)}

    def tidy(self, world: World) -> None:
        shown = self.shown(world)
        if shown:
            world.tries("gnt-gluster", "disk", "remove-snapshot", "-f", GUEST, "s1")
            world.notes.append("disk remove-snapshot")

    def check(self, world: World) -> set[str]:
        shown = self.shown(world)
        assert shown == {"s1": True}, "snapshots, and whether they are whole: %s" % shown
        snapshot = world.image + ".snap.s1"
        records_of(world, snapshot, self.before)
        return {*self.images(world), snapshot}

    def undo(self, world: World) -> None:
        world.tries("gnt-gluster", "disk", "remove-snapshot", "-f", GUEST, "s1")


class Restore(Operation):
    name = "restore"
    spread = 6.0
    worker = ("snapshot_worker run",)

    def prepare(self, world: World) -> None:
        self.image = world.make_other()
        self.old = world.fill(self.image, world.seed + "old")
        words = ("gnt-gluster", "disk", "snapshot", "--name=one", OTHER)
        world.cluster.run(*words, max_seconds=120)
        self.new = world.fill(self.image, world.seed + "new")

    def images(self, world: World) -> set[str]:
        return {world.image, self.image, self.image + ".snap.one"}

    def argv(self, world: World) -> list[str]:
        return ["gnt-gluster", "disk", "restore", "--bandwidth-limit=3", "-f", OTHER, "one"]

    def under_way(self, world: World) -> bool:
        return self.image + ".restored.partial" in world.on_brick(MASTER)

    def check_failed(self, world: World) -> None:
        assert world.digest(self.image) in (self.new, self.old), "the disk is neither"

    def residue(self, world: World) -> set[str]:
        return {name for name in world.on_brick(MASTER) if name.startswith(self.image + ".re")}

    def check(self, world: World) -> set[str]:
        assert world.digest(self.image) == self.old, "the disk is not what the snapshot was"
        return self.images(world)

    def undo(self, world: World) -> None:
        world.tries("gnt-gluster", "disk", "remove-snapshot", "-f", OTHER, "one")
        _forget_other(world)


class Export(Operation):
    name = "export"
    opcode = "OP_BACKUP_EXPORT"
    spread = 4.0
    worker = ("snapshot_worker run",)

    def prepare(self, world: World) -> None:
        self.before = world.acknowledged()

    def argv(self, world: World) -> list[str]:
        return ["gnt-backup", "export", "--noshutdown", "-n", "node3", GUEST]

    def under_way(self, world: World) -> bool:
        return world.on_brick(MASTER) > self.images(world)

    def residue(self, world: World) -> set[str]:
        # The next backup replaces it (doc/backup.rst).
        snapshot = world.image + ".snap.ganeti-backup"
        return {name for name in world.on_brick(MASTER) if name.startswith(snapshot)}

    def check(self, world: World) -> set[str]:
        directory = world.inside("node3", "%s/%s" % (_EXPORTS, GUEST))
        settings = configparser.ConfigParser()
        settings.read_string((directory / "config.ini").read_text("utf-8"))
        with open(directory / settings["instance"]["disk0_dump"], "rb") as file:
            file.seek(BASE)
            lacking = missing(file.read(RECORD * (self.before + 1)), self.before)
        assert not lacking, "the backup lacks records: %s" % lacking[:20]
        return self.images(world)

    def undo(self, world: World) -> None:
        world.tries("gnt-backup", "remove", GUEST)


class Import(_Makes):
    name = "import"
    opcode = "OP_INSTANCE_CREATE"
    spread = 3.0
    worker = ("ganeti/import-export",)

    def prepare(self, world: World) -> None:
        _forget_other(world)
        if "exported" not in world.kept:
            digest = world.fill(world.make_other(), world.seed)
            world.cluster.run("gnt-backup", "export", "-n", "node3", OTHER, max_seconds=240)
            world.cluster.remove(OTHER)
            world.kept["exported"] = digest

    def argv(self, world: World) -> list[str]:
        return [
            *("gnt-backup", "import", "-t", "gluster", "--src-node", "node3"),
            *("--src-dir", "%s/%s" % (_EXPORTS, OTHER), *world.shape(), OTHER),
        ]

    def under_way(self, world: World) -> bool:
        return world.on_brick(MASTER) > self.images(world)

    def succeeded(self, done: CompletedCommand) -> bool:
        # A disk that could not be imported is but a warning of Ganeti's (doc/backup.rst).
        return super().succeeded(done) and "not imported successfully" not in done.stdout

    def check(self, world: World) -> set[str]:
        assert _is_other(world), "no instance %s on gluster" % OTHER
        # Ganeti leaves the disks of what it has made open.
        world.cluster.run("gnt-instance", "deactivate-disks", OTHER)
        image = world.cluster.image(OTHER)
        assert world.digest(image) == world.kept["exported"], "not what was exported"
        return {*self.images(world), image}


class Convert(Operation):
    name = "convert"
    opcode = "OP_INSTANCE_SET_PARAMS"
    spread = 1.5

    def prepare(self, world: World) -> None:
        self.image = world.make_other()
        self.before = world.fill(self.image, world.seed)
        self.kept: set[str] = set()

    def argv(self, world: World) -> list[str]:
        return ["gnt-instance", "modify", "-t", "file", OTHER]

    def residue(self, world: World) -> set[str]:
        # What was not converted is as it was.
        return self.kept if self.is_done(world) else {self.image}

    def _files(self, world: World) -> list[Path]:
        return list(world.inside("node2", "%s/%s" % (FILES, OTHER)).glob("*"))

    def under_way(self, world: World) -> bool:
        return bool(self._files(world))

    def check_failed(self, world: World) -> None:
        if _is_other(world):
            assert world.digest(self.image) == self.before, "the disk has changed"

    def tidy(self, world: World) -> None:
        if _is_other(world) and self._files(world):
            world.cluster.run("rm", "-r", "%s/%s" % (FILES, OTHER), node="node2")
            world.notes.append("rm of Ganeti's file")
        if self.is_done(world):
            self.done_after_all(world)

    def done_after_all(self, world: World) -> None:
        # An old image may stay until the instance is removed (doc/backup.rst).
        self.kept = {self.image} & world.on_brick(MASTER)

    def is_done(self, world: World) -> bool:
        return _is_other(world, "file")

    def check(self, world: World) -> set[str]:
        assert self.is_done(world), "%s is not in files" % OTHER
        (path,) = self._files(world)
        assert _digest_of(path) == self.before, "the file has other bytes than the image had"
        return {world.image, *self.kept}

    def undo(self, world: World) -> None:
        _forget_other(world)
        if self.kept:
            _remove_orphans(world, self.images(world))


def _digest_of(path: Path) -> str:
    """As `Pieces.digest` of a file."""
    whole = hashlib.sha256()
    chunk = 1 << 16
    with open(path, "rb") as file:
        for offset in range(0, SIZE, chunk):
            block = file.read(chunk).ljust(chunk, b"\0")
            if block.strip(b"\0"):
                whole.update(b"%d:" % offset + block)
    return whole.hexdigest()


class _Moves(Operation):
    """Moves the guest to the other of two nodes."""

    home, hit = "node2", "node3"

    def target(self, world: World) -> str:
        return "node3" if world.home == "node2" else "node2"

    def prepare(self, world: World) -> None:
        self.wanted = self.target(world)
        world.attach(self.wanted)

    def tidy(self, world: World) -> None:
        if not self.is_done(world):
            world.attach(self.wanted)

    def is_done(self, world: World) -> bool:
        # QEMU moves a guest by itself where the job has ended, and Ganeti does not know it then.
        argv = ("gnt-instance", "list", "--no-headers", "-o", "pnode", GUEST)
        known = world.cluster.run(*argv).stdout.strip()
        return world.where() == [self.wanted] == [known]

    def check(self, world: World) -> set[str]:
        running = world.where()
        assert running == [self.wanted], "the guest is on %s, not %s" % (running, self.wanted)
        assert self.is_done(world), "Ganeti does not know that the guest is on %s" % self.wanted
        world.home = self.wanted
        return self.images(world)


class Migrate(_Moves):
    name = "migrate"
    opcode = "OP_INSTANCE_MIGRATE"
    spread = 6.0

    def prepare(self, world: World) -> None:
        super().prepare(world)
        world.cluster.run("gnt-cluster", "modify", "-H", "kvm:migration_bandwidth=4")

    def argv(self, world: World) -> list[str]:
        return ["gnt-instance", "migrate", "-f", "-n", self.wanted, GUEST]

    def under_way(self, world: World) -> bool:
        argv = ["ss", "-Htn", "state", "established", "sport", "=", _MIGRATION_PORT]
        return bool(world.testbed.exec(self.wanted, argv, timeout=30).stdout.strip())

    def let_go_on(self, world: World) -> None:
        # So slowly as it began, a guest that writes much would never be there.
        for node in world.where():
            world.cluster.monitor(GUEST, "migrate_set_parameter max-bandwidth 1000M", node=node)

    def tidy(self, world: World) -> None:
        world.tries("gnt-instance", "migrate", "-f", "--cleanup", GUEST)
        world.notes.append("migrate --cleanup")
        world.cluster.run("gnt-cluster", "modify", "-H", "kvm:migration_bandwidth=1000")
        world.revive()
        super().tidy(world)

    def undo(self, world: World) -> None:
        world.cluster.run("gnt-cluster", "modify", "-H", "kvm:migration_bandwidth=1000")


class Failover(_Moves):
    name = "failover"
    opcode = "OP_INSTANCE_FAILOVER"
    spread = 6.0

    def argv(self, world: World) -> list[str]:
        timeout = "--shutdown-timeout=20"
        return ["gnt-instance", "failover", "-f", timeout, "-n", self.wanted, GUEST]


class Replace(Operation):
    """A dead node gives way to a spare; what is left is no cluster for another cell."""

    name = "pool replace"
    home = MASTER
    hit = _SPARE
    spread = 3.0
    spoils = True
    nodes = 4

    def prepare(self, world: World) -> None:
        world.testbed.kill("node2")
        world.cluster.run("gnt-node", "modify", "--offline=yes", "node2", max_seconds=240)

    def argv(self, world: World) -> list[str]:
        return ["gnt-gluster", "pool", "replace", "--yes", "node2", _SPARE]

    def under_way(self, world: World) -> bool:
        return bool(world.names(_SPARE, layout.BRICK_MOUNT + "/gv0"))

    def check(self, world: World) -> set[str]:
        done = world.cluster.run("gnt-gluster", "pool", "status", "--json", max_seconds=120)
        (volume,) = json.loads(done.stdout)["volumes"]
        hosts = sorted(brick.partition(":")[0] for brick in volume["bricks"])
        assert hosts == ["node1", "node3", _SPARE]
        return self.images(world)


OPERATIONS: dict[str, Operation] = {
    each.name: each
    for each in (
        Create(),
        Remove(),
        Grow(),
        Snapshot(),
        Restore(),
        Export(),
        Import(),
        Convert(),
        Migrate(),
        Failover(),
        Replace(),
    )
}
