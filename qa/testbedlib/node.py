"""One node: a container that boots its own systemd over an overlay of the tree."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from . import bricks, cgroup, command, layout, network
from .command import CompletedCommand
from .errors import TestbedError, tail
from .layout import Layout

BOOT_SECONDS = 90
LAUNCH = Path(__file__).with_name("launch.py")
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "LC_ALL": "C",
    "TERM": "dumb",
}
_counter = itertools.count()


def container_argv(node: str, directory: Path) -> list[str]:
    """The systemd-nspawn command of a node."""
    return [
        "systemd-nspawn",
        "--boot",
        "--directory=%s" % (directory / "root"),
        "--machine=" + node,
        "--hostname=" + node,
        "--register=no",
        "--keep-unit",
        "--settings=no",
        "--link-journal=no",
        "--resolv-conf=off",
        "--timezone=off",
        "--network-veth-extra=%s:eth0" % layout.host_interface(node),
        "--capability=all",
        "--bind=/dev/fuse",
        "--bind=/dev/loop-control",
        "--bind=/dev/net/tun",
        "--bind=%s:%s" % (directory / "bricks", layout.BRICK_IMAGES),
        "--bind-ro=%s:%s" % (layout.PROJECT, layout.SOURCE_MOUNT),
    ]


def enter_argv(leader: int, argv: Sequence[str]) -> list[str]:
    """The command that runs `argv` in the namespaces of the node's first process."""
    return [
        "/usr/bin/nsenter",
        "--target=%d" % leader,
        "--mount",
        "--uts",
        "--ipc",
        "--net",
        "--pid",
        "--cgroup",
        "--root",
        "--wd",
        "--",
        *argv,
    ]


def is_first_process(status: str) -> bool:
    """Whether /proc/PID/status is that of a container's process 1."""
    for line in status.splitlines():
        if line.startswith("NSpid:"):
            pids = line.split()[1:]
            return len(pids) > 1 and pids[-1] == "1"
    return False


class Node:
    """A node of a testbed; all its state is in the kernel and in its directory."""

    def __init__(self, home: Layout, name: str, tree: str) -> None:
        self.layout = home
        self.name = name
        self.tree = tree

    @property
    def directory(self) -> Path:
        return self.layout.node_dir(self.name)

    @property
    def cgroup(self) -> Path:
        return self.layout.node_cgroup(self.name)

    @property
    def payload(self) -> Path:
        """The group that systemd-nspawn makes for what runs inside the node."""
        return self.cgroup / "payload"

    def leader(self) -> int | None:
        """The node's process 1 as this machine numbers it, None if it does not run."""
        for group in (self.payload / "init.scope", self.payload):
            for pid in cgroup.processes(group):
                with contextlib.suppress(OSError):
                    if is_first_process(Path("/proc/%d/status" % pid).read_text("ascii")):
                        return pid
        return None

    def inside(self, path: str) -> str:
        """The absolute path in the running node, as this machine reaches it."""
        leader = self.leader()
        if leader is None:
            raise TestbedError(
                "%s does not run" % self.name, hint="start it with: qa/testbed boot %s" % self.name
            )
        return "/proc/%d/root%s" % (leader, path)

    def prepare(self, brick_gib: int) -> None:
        """Make the node's own files and its empty brick; nothing may be there yet."""
        for name in ("root", "upper/etc", "work", "bricks"):
            (self.directory / name).mkdir(parents=True)
        etc = self.directory / "upper/etc"
        etc.chmod(0o755)
        (etc / "hostname").write_text(self.name + "\n")
        (etc / "machine-id").write_text(uuid.uuid4().hex + "\n")
        (etc / "testbed-network").write_text(
            "ADDRESS=%s/%d\n" % (layout.node_address(self.name), layout.PREFIX_BITS)
        )
        bricks.make_image(self.layout.brick_image(self.name), brick_gib)

    def start(self) -> None:
        """Power the node on; returns when its cable is plugged in, before it has booted."""
        if self.leader():
            raise TestbedError("%s runs already" % self.name)
        cgroup.destroy(self.cgroup)
        self.cgroup.mkdir(parents=True)
        argv = container_argv(self.name, self.directory)
        command.trace(argv)
        config = {
            "cgroup": str(self.cgroup),
            "netns": str(self.layout.netns_file),
            "tree": self.tree,
            "directory": str(self.directory),
            "argv": argv,
        }
        with open(self.directory / "console.log", "ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-I", str(LAUNCH), json.dumps(config)],
                env=command.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + BOOT_SECONDS
        wanted = layout.host_interface(self.name)
        while not (wanted in network.interfaces(self.layout) and self.leader()):
            if process.poll() is not None or time.monotonic() > end:
                raise TestbedError("%s does not start: %s" % (self.name, self.console_tail()))
            time.sleep(0.05)
        network.connect(self.layout, self.name, self.layout.cut_mark(self.name).exists())

    def wait_booted(self) -> None:
        """Wait until the node's systemd has started everything."""
        end = time.monotonic() + BOOT_SECONDS
        answer = ""
        while time.monotonic() < end:
            with contextlib.suppress(TestbedError):
                answer = self.run(
                    ["systemctl", "is-system-running"], timeout=10, check=False
                ).stdout.strip()
            if answer in ("running", "degraded"):
                return
            if not cgroup.is_populated(self.cgroup):
                break
            time.sleep(0.1)
        raise TestbedError(
            "%s has not booted (%s): %s" % (self.name, answer or "no answer", self.console_tail())
        )

    def console_tail(self) -> str:
        try:
            return tail((self.directory / "console.log").read_text("utf-8", "replace"), 800)
        except FileNotFoundError:
            return "no console"

    def enter(self, argv: Sequence[str]) -> tuple[list[str], Path]:
        """The argv that runs `argv` in the node, and a new group of its own for it."""
        leader = self.leader()
        if leader is None:
            raise TestbedError(
                "%s does not run" % self.name, hint="start it with: qa/testbed boot %s" % self.name
            )
        group = self.payload / "testbed.slice" / ("run-%d-%d" % (os.getpid(), next(_counter)))
        group.mkdir(parents=True)
        return enter_argv(leader, argv), group

    def run(
        self, argv: Sequence[str], *, timeout: float, check: bool = True, stdin: bytes = b""
    ) -> CompletedCommand:
        """Run a command in the node; when the time is over, all of it is killed."""
        entered, group = self.enter(argv)
        try:
            return command.run(
                entered,
                timeout=timeout,
                check=check,
                stdin=stdin,
                env=ENVIRONMENT,
                node=self.name,
                shown=argv,
                prepare=lambda: cgroup.join(group),
                kill=lambda: cgroup.send_kill(group),
            )
        finally:
            leave(group)

    def loops(self) -> list[str]:
        """The loop devices that the node uses; none where it does not run."""
        leader = self.leader()
        return bricks.node_loops(leader, cgroup.processes(self.payload)) if leader else []

    def power_off(self) -> None:
        """Power loss: everything stops at one instant, unsynced brick writes are lost."""
        leader = self.leader()
        loops = self.loops()
        if leader and self.payload.is_dir() and cgroup.freeze(self.payload):
            bricks.drop_unsynced(self.inside(layout.BRICK_MOUNT))
        cgroup.send_kill(self.payload)
        # systemd-nspawn, outside the payload, tidies up and ends by itself
        cgroup.wait_empty(self.cgroup, 10)
        cgroup.destroy(self.cgroup)
        bricks.wait_released(self.directory, loops)

    def push(self, source: Path, target: str) -> None:
        """Copy a file of this machine to the absolute path `target` in the node."""
        self.run(
            ["install", "-D", "-m", "%o" % (source.stat().st_mode & 0o777), "/dev/stdin", target],
            timeout=300,
            stdin=source.read_bytes(),
        )

    def pull(self, source: str, target: Path) -> None:
        """Copy the file at the absolute path `source` in the node to this machine."""
        inside = self.inside(source)
        try:
            target.write_bytes(Path(inside).read_bytes())
        except OSError as err:
            raise TestbedError("%s:%s: %s" % (self.name, source, err.strerror)) from err


def leave(group: Path) -> None:
    """Remove the group of a command, unless a child of it lives on."""
    with contextlib.suppress(OSError):
        os.rmdir(group)
