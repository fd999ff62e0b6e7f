"""The steps of the demonstration, in their order.

Instances are handled by Ganeti's own commands alone; what a step is to show is
seen from outside: on the guest's console, on the volume, in the kernel.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from testbedlib import CompletedCommand, Testbed, UnexpectedExit, command, layout, pool
from testbedlib.node import Node

from . import guest, leftovers
from .console import Boot
from .errors import DemoFailed
from .report import DemoReport

INSTANCE = "vm1"
VOLUME = layout.VOLUME
GIB = 1 << 30
SIZE = 1 * GIB
GROWN = 2 * GIB
OS_DIRECTORY = "/srv/ganeti/os"
OS_SOURCE = layout.SOURCE_MOUNT + "/qa/os/guest"
LIST_VOLUME = layout.SOURCE_MOUNT + "/qa/demolib/list_volume.py"
IMAGE_DIRECTORY = "ganeti"
TEMPLATE = "ganeti-gluster"

BUILD_SECONDS = 300
COMMAND_SECONDS = 60
MIGRATE_SECONDS = 120
# A guest that does not listen is given two minutes by Ganeti.
STOP_SECONDS = 180
BOOT_SECONDS = 60
RECORD_SECONDS = 30
CONSOLE_SECONDS = 15
#: So many records make a guest one that writes.
ENOUGH = 5

PACKAGES = {
    "ganeti": "Ganeti",
    "glusterfs-server": "GlusterFS",
    "qemu-system-x86": "QEMU",
    "python3": "Python",
}


def disk_parameters(servers: Sequence[str]) -> str:
    """The value for `gnt-cluster modify -D`, in which a comma of ours is escaped."""
    return "gluster:access=userspace,volume=%s,host=%s" % (VOLUME, "\\,".join(servers))


def upstream(version: str) -> str:
    """The upstream part of a Debian version: of 1:10.0.2+ds-2+b1 it is 10.0.2."""
    return version.rpartition(":")[2].partition("-")[0].partition("+")[0]


def versions(listing: str) -> str:
    """What the nodes run, from lines of a package and its version."""
    found = dict(line.split() for line in listing.splitlines())
    return ", ".join(
        "%s %s" % (name, upstream(found[package])) for package, name in PACKAGES.items()
    )


def pause_text(events: Sequence[guest.GuestEvent]) -> str:
    """From which record to which, and how long the guest waited for one at most."""
    wrote = [event.number for event in events if event.kind == guest.WROTE]
    return "records %d to %d without a gap, longest pause %.1f s" % (
        wrote[0],
        wrote[-1],
        guest.longest_pause(events),
    )


class Demo:
    """One run on a testbed that nobody else uses."""

    def __init__(self, testbed: Testbed, report: DemoReport, suite: str) -> None:
        self.testbed = testbed
        self.report = report
        self.suite = suite
        self.last: CompletedCommand | None = None
        self.boot: Boot | None = None

    def run(self) -> None:
        """All steps; raises a `TestbedError` at the first that fails."""
        try:
            deb = self._build()
            self._up()
            self._install(deb)
            self._show_volume()
            self._register()
            self._add("node1")
            self._start("node1")
            self._migrate("node1", "node2")
            self._fail_over("node2", "node3")
            self._grow()
            self._stop()
            self._remove()
            self._show_empty()
        finally:
            if self.boot:
                self.boot.close()

    # Up to a cluster that knows the template

    def _build(self) -> Path:
        with self.report.step("build the package") as step:
            # The make that may have started us has its own jobs and flags.
            env = {
                name: value
                for name, value in command.environment().items()
                if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
            }
            self._done(
                command.run(
                    ["make", "--no-print-directory", "--directory=%s" % layout.PROJECT, "deb"],
                    timeout=BUILD_SECONDS,
                    check=False,
                    env=env,
                )
            )
            found = sorted(
                (layout.PROJECT / "build").glob("ganeti-gluster_*.deb"),
                key=lambda path: path.stat().st_mtime,
            )
            if not found:
                raise DemoFailed("there is no package in %s/build" % layout.PROJECT)
            step.seen = found[-1].name
        return found[-1]

    def _up(self) -> None:
        with self.report.step("three nodes, a cluster and a pool") as step:
            self.testbed.up(nodes=3, suite=self.suite)
            listing = self._done(
                self._node("node1").run(
                    ["dpkg-query", "--show", "--showformat=${Package} ${Version}\n", *PACKAGES],
                    timeout=COMMAND_SECONDS,
                    check=False,
                )
            ).stdout
            step.seen = "%s: %s" % (self.suite, versions(listing))

    def _install(self, deb: Path) -> None:
        with self.report.step("install the package on every node") as step:
            self.testbed.install([deb])
            step.seen = "apt-get install ./%s" % deb.name

    def _show_volume(self) -> None:
        with self.report.step("look at the volume") as step:
            answer = pool.gluster(
                self._node(self.testbed.master), "volume", "info", VOLUME, timeout=COMMAND_SECONDS
            )
            servers = [
                brick.findtext("name", "").partition(":")[0] for brick in answer.iter("brick")
            ]
            copies = answer.findtext(".//replicaCount")
            if (copies, answer.findtext(".//statusStr")) != ("3", "Started"):
                raise DemoFailed("%s is not a started volume with 3 copies" % VOLUME)
            step.seen = "%s: replica %s on %s" % (VOLUME, copies, " ".join(servers))

    def _register(self) -> None:
        with self.report.step("register the template and a guest OS") as step:
            self._everywhere(["install", "-d", OS_DIRECTORY])
            self._everywhere(["ln", "-sfn", OS_SOURCE, OS_DIRECTORY + "/guest"])
            templates = "gluster,diskless,ext"
            self._ganeti(
                "gnt-cluster",
                "modify",
                "--enabled-disk-templates",
                templates,
                "--ipolicy-disk-templates",
                templates,
                "-D",
                disk_parameters(self.testbed.nodes),
            )
            states = json.loads(self._ganeti("gnt-gluster", "plugin", "status", "--json").stdout)
            ours = [
                node
                for node, state in states.items()
                if state["template"] == state.get("noded") == TEMPLATE
            ]
            if sorted(ours) != sorted(self.testbed.nodes):
                raise DemoFailed("the gluster template is not this package's on every node")
            step.seen = "gluster is %s's on %s" % (TEMPLATE, " ".join(sorted(ours)))

    # The life of an instance

    def _add(self, node: str) -> None:
        with self.report.step("add an instance with -t gluster") as step:
            self._ganeti(
                "gnt-instance",
                "add",
                "-t",
                "gluster",
                "-o",
                "guest+default",
                "--disk",
                "0:size=%dG" % (SIZE // GIB),
                "-B",
                "minmem=128,maxmem=128,vcpus=1",
                "--net",
                "0:mode=bridged",
                "-n",
                node,
                "--no-start",
                "--no-name-check",
                "--no-ip-check",
                INSTANCE,
            )
            images = self._images()
            if len(images) != 1:
                raise DemoFailed("one image was expected on the volume", evidence=str(images))
            step.seen = "on %s, image %s" % (node, images[0])

    def _start(self, node: str) -> None:
        self.boot = Boot(self._node(node), INSTANCE)
        with self.report.step("start it") as step:
            self._ganeti("gnt-instance", "startup", INSTANCE)
            mounts = [point for each in self._nodes() for point in leftovers.node_mounts(each)]
            if mounts:
                raise DemoFailed("the volume is mounted: %s" % " ".join(mounts))
            step.seen = "nothing is mounted for it"
        with self.report.step("the guest boots from that disk") as step:
            booted = self._wait_booted(self.boot)
            self._expect_size(booted, SIZE)
            self._wait_records(self.boot)
            step.seen = "its console: from=vda token=%s size=%d" % (booted.token, booted.size)

    def _migrate(self, source: str, target: str) -> None:
        boot = self._running()
        with self.report.step("migrate it live, writing") as step:
            step.progress = lambda: "record %d" % guest.last_acknowledged(boot.events())
            before = len(boot.events())
            boot.follow_to(self._node(target))
            self._ganeti(
                "gnt-instance", "migrate", "-f", "-n", target, INSTANCE, timeout=MIGRATE_SECONDS
            )
            self._wait_records(boot)
            self._expect_primary(target)
            boot.check()
            # one record from before the command makes the first step from record to record
            step.seen = "%s to %s: %s" % (
                source,
                target,
                pause_text(boot.events()[max(before - 1, 0) :]),
            )

    def _fail_over(self, source: str, target: str) -> None:
        old = self._running()
        with self.report.step("fail it over") as step:
            self.boot = new = Boot(self._node(target), INSTANCE)
            try:
                self._ganeti(
                    "gnt-instance", "failover", "-f", "-n", target, INSTANCE, timeout=STOP_SECONDS
                )
                old.wait_end(CONSOLE_SECONDS)
                old.check()
            finally:
                old.close()
            self._wait_booted(new)
            self._wait_records(new)
            guest.check_reboot(old.events(), new.events())
            self._expect_primary(target)
            found = next(event for event in new.events() if event.kind == guest.RECORDS)
            step.seen = "%s to %s: %d records acknowledged, %d found" % (
                source,
                target,
                guest.last_acknowledged(old.events()),
                found.number,
            )

    def _grow(self) -> None:
        boot = self._running()
        with self.report.step("grow its disk, running") as step:
            self._ganeti(
                "gnt-instance", "grow-disk", INSTANCE, "0", "%dG" % ((GROWN - SIZE) // GIB)
            )
            event = boot.wait(
                lambda events: next((e for e in events if e.size > SIZE), None),
                RECORD_SECONDS,
                "that its disk has grown",
            )
            self._expect_size(event, GROWN)
            step.seen = "the guest sees %d bytes at record %d" % (event.size, event.number)

    def _stop(self) -> None:
        boot = self._running()
        with self.report.step("stop it") as step:
            self._ganeti("gnt-instance", "shutdown", INSTANCE, timeout=STOP_SECONDS)
            boot.wait_end(CONSOLE_SECONDS)
            boot.check()
            step.seen = "%d records in all" % guest.last_acknowledged(boot.events())

    def _remove(self) -> None:
        with self.report.step("remove it"):
            self._ganeti("gnt-instance", "remove", "-f", INSTANCE)
            if self._ganeti("gnt-instance", "list", "--no-headers").stdout.strip():
                raise DemoFailed("Ganeti still knows an instance")

    def _show_empty(self) -> None:
        with self.report.step("the volume and the nodes are as before") as step:
            left = ["on the volume: " + path for path in self._images()]
            for node in self._nodes():
                left += [
                    "%s, on the brick: %s" % (node.name, path)
                    for path in leftovers.on_brick(node, VOLUME)
                ]
                left += leftovers.on_node(node)
            if left:
                raise DemoFailed("something of the instance is left", evidence="\n".join(left))
            step.seen = "no image, mount, export, unit or process is left"

    # Commands

    def _node(self, name: str) -> Node:
        return self.testbed.node(name)

    def _nodes(self) -> list[Node]:
        return [self._node(name) for name in self.testbed.nodes]

    def _done(self, completed: CompletedCommand) -> CompletedCommand:
        """Keep a command for the case that it proves nothing; raises if it failed."""
        self.last = completed
        if completed.exit_code:
            raise UnexpectedExit(completed)
        return completed

    def _ganeti(self, *argv: str, timeout: float = COMMAND_SECONDS) -> CompletedCommand:
        """Run a command on the master."""
        return self._done(self._node(self.testbed.master).run(argv, timeout=timeout, check=False))

    def _everywhere(self, argv: Sequence[str]) -> None:
        nodes = self._nodes()
        with ThreadPoolExecutor(len(nodes)) as executor:
            for done in executor.map(
                lambda node: node.run(argv, timeout=COMMAND_SECONDS, check=False), nodes
            ):
                self._done(done)

    def _images(self) -> list[str]:
        """The files on the volume, as the installed package lists them."""
        listing = self._ganeti(
            "/usr/bin/python3", LIST_VOLUME, VOLUME, ",".join(self.testbed.nodes), IMAGE_DIRECTORY
        )
        images: list[str] = json.loads(listing.stdout)
        return images

    # The guest

    def _running(self) -> Boot:
        assert self.boot is not None, "no instance was started"
        return self.boot

    @staticmethod
    def _wait_booted(boot: Boot) -> guest.GuestEvent:
        """Wait until the guest has booted and found its records."""
        boot.wait(
            lambda events: any(e.kind == guest.RECORDS for e in events),
            BOOT_SECONDS,
            "that it has booted",
        )
        booted = [event for event in boot.events() if event.kind == guest.BOOTED]
        if not booted:
            raise DemoFailed("the guest did not say what it booted from", evidence=boot.evidence())
        return booted[0]

    @staticmethod
    def _wait_records(boot: Boot) -> None:
        """Wait until the guest has written enough where it runs now."""
        boot.wait(
            lambda _: sum(e.kind == guest.WROTE for e in boot.here()) >= ENOUGH,
            RECORD_SECONDS,
            "that it writes on",
        )

    def _expect_primary(self, node: str) -> None:
        listing = self._ganeti(
            "gnt-instance", "list", "--no-headers", "-o", "pnode,status", INSTANCE
        ).stdout.split()
        if listing != [node, "running"]:
            raise DemoFailed("Ganeti does not see the instance running on %s" % node)

    @staticmethod
    def _expect_size(event: guest.GuestEvent, size: int) -> None:
        if event.size != size:
            raise DemoFailed("the guest sees a disk of %d bytes, not %d" % (event.size, size))
