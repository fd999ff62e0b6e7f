"""A testbed as a whole: several nodes, their network, cluster and pool."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import bricks, cgroup, cluster, command, layout, network, pool, state
from .command import CompletedCommand
from .errors import TestbedError
from .layout import Layout
from .lifecycle import Lifecycle, each, nodes_of
from .node import Node
from .state import State

EXEC_SECONDS = 600
INSTALL_SECONDS = 300
FREEZE_SECONDS = 30
DEB_DIRECTORY = "/var/cache/testbed"


def silent(_line: str) -> None:
    """Say nothing of the steps."""


class Testbed:
    """The testbed called `name` (by default TESTBED_NAME, else "testbed").

    Stores a name only: what it is and whether it runs is asked from its
    directory and the kernel each time.
    """

    __test__ = False  # pytest takes classes named Test* for test cases

    def __init__(self, name: str | None = None, *, say: Callable[[str], None] = silent) -> None:
        self.layout = Layout(name or os.environ.get("TESTBED_NAME") or layout.DEFAULT_NAME)
        self.say = say

    # What there is

    @property
    def state(self) -> State:
        """What this testbed was asked to be; raises TestbedError if there is none."""
        return state.require(self.layout)

    @property
    def suite(self) -> str:
        return self.state.suite

    @property
    def nodes(self) -> list[str]:
        """The names of the nodes; the first one is the first master."""
        return layout.node_names(self.state.nodes)

    @property
    def master(self) -> str:
        return layout.node_names(1)[0]

    def node(self, name: str) -> Node:
        """The node called `name`; raises TestbedError if the testbed has none such."""
        found = self.state
        names = layout.node_names(found.nodes)
        if name not in names:
            raise TestbedError(
                "no node %r in testbed %r" % (name, self.layout.name),
                hint="its nodes are %s" % ", ".join(names),
            )
        return Node(self.layout, name, found.tree)

    def status(self) -> dict[str, Any]:
        """What runs, as plain data for a table or JSON."""
        found = state.load(self.layout)
        if found is None:
            return {"name": self.layout.name, "stage": "absent", "nodes": []}
        return {
            "name": self.layout.name,
            "stage": found.stage,
            "suite": found.suite,
            "bare": found.bare,
            "tree": found.tree,
            "network_namespace": self.layout.netns,
            "nodes": [
                {
                    "name": node.name,
                    "address": layout.node_address(node.name),
                    "running": node.leader() is not None,
                    "cut": self.layout.cut_mark(node.name).exists(),
                }
                for node in nodes_of(self.layout)
            ],
        }

    # Making and removing

    @property
    def _lifecycle(self) -> Lifecycle:
        return Lifecycle(self.layout, self.say)

    def up(
        self,
        *,
        nodes: int = layout.DEFAULT_NODES,
        suite: str | None = None,
        bare: bool = False,
        brick_gib: int = layout.DEFAULT_BRICK_GIB,
    ) -> None:
        """Make the testbed and return when all of it works.

        No-op if the same one is up.  Raises TestbedError if a different one is.
        What an interrupted run left is removed first; if this one fails or is
        interrupted, it leaves nothing.
        """
        self._lifecycle.up(nodes=nodes, suite=suite, bare=bare, brick_gib=brick_gib)

    def down(self) -> None:
        """Remove the testbed with everything of it; no-op if there is none."""
        self._lifecycle.down()

    def reset(self) -> None:
        """Fresh nodes, as `up` made them; all that was done since is gone."""
        self._lifecycle.reset()

    def clean(self) -> None:
        """`down`, and remove the cached trees that no other testbed uses."""
        self._lifecycle.clean()

    # Faults

    def cut(self, name: str) -> None:
        """Pull the node's network cable; stays so over `kill` and `boot`, until `heal`."""
        node = self.node(name)
        self.layout.cut_mark(name).touch()
        if node.leader():
            network.connect(self.layout, name, cut=True)

    def heal(self, name: str) -> None:
        """Plug the node's cable back in; no-op if it is plugged in."""
        node = self.node(name)
        self.layout.cut_mark(name).unlink(missing_ok=True)
        if node.leader():
            network.connect(self.layout, name, cut=False)

    def kill(self, name: str) -> None:
        """Power loss of a node: no process of it runs on, unsynced brick data is lost."""
        node = self.node(name)
        if node.leader() is None:
            raise TestbedError("%s does not run" % name)
        node.power_off()

    def freeze(self, name: str) -> None:
        """Stop every process of a node, as SIGSTOP does, until `thaw`; nothing in it answers."""
        if not cgroup.freeze(self.node(name).payload, FREEZE_SECONDS):
            raise TestbedError("%s does not stand still" % name)

    def thaw(self, name: str) -> None:
        """Let the processes of a node go on; no-op if they do."""
        cgroup.thaw(self.node(name).payload)

    def slow(self, name: str, kbit: int) -> None:
        """Let so many kbit/s through a node's cable, each way, until `quicken`."""
        for argv in network.slow_argvs(self.layout.netns, name, kbit):
            command.run(argv, timeout=15)
        self.exec(name, network.shape_argv("eth0", kbit), timeout=15, check=True)

    def quicken(self, name: str) -> None:
        """Undo `slow`; no-op if the cable is as fast as ever."""
        for argv in network.quicken_argvs(self.layout.netns, name):
            command.run(argv, timeout=15, check=False)
        if self.node(name).leader():
            self.exec(name, ["tc", "qdisc", "del", "dev", "eth0", "root"], timeout=15)

    def boot(self, name: str) -> None:
        """Power a node on and wait until it has booted; no-op if it runs."""
        node = self.node(name)
        if node.leader() is None:
            node.start()
        node.wait_booted()

    # Work in the nodes

    def exec(
        self,
        name: str,
        argv: Sequence[str],
        *,
        timeout: float = EXEC_SECONDS,
        check: bool = False,
        stdin: bytes = b"",
    ) -> CompletedCommand:
        """Run a command in a node; raises CommandTimeout when its time is over."""
        return self.node(name).run(argv, timeout=timeout, check=check, stdin=stdin)

    def host(
        self, argv: Sequence[str], *, timeout: float = EXEC_SECONDS, check: bool = False
    ) -> CompletedCommand:
        """Run a command of this machine in the testbed's network (a host outside the pool)."""
        return command.run(
            ["nsenter", "--net=%s" % self.layout.netns_file, "--", *argv],
            timeout=timeout,
            check=check,
            shown=argv,
            node="testbed",
        )

    def install(self, packages: Sequence[Path | str]) -> None:
        """Install package files on every node with apt-get, which must find all they need."""
        files = [Path(package) for package in packages]
        for path in files:
            if not path.is_file():
                raise TestbedError("no such package file: %s" % path)
        targets = ["%s/%s" % (DEB_DIRECTORY, path.name) for path in files]

        def install_on(node: Node) -> None:
            for path, target in zip(files, targets, strict=True):
                node.push(path, target)
            node.run(
                [
                    "env",
                    "DEBIAN_FRONTEND=noninteractive",
                    "apt-get",
                    "install",
                    "--yes",
                    "--quiet",
                    "--reinstall",
                    "--allow-downgrades",
                    *targets,
                ],
                timeout=INSTALL_SECONDS,
            )

        each(install_on, nodes_of(self.layout))

    def push(self, name: str, source: Path | str, target: str) -> None:
        """Copy a file into a node."""
        self.node(name).push(Path(source), target)

    def pull(self, name: str, source: str, target: Path | str) -> None:
        """Copy a file out of a node."""
        self.node(name).pull(source, Path(target))

    def make_volume(
        self, volume: str, servers: Sequence[str] | None = None, replica: int | None = None
    ) -> None:
        """Make and start a further volume, by default replicated over all (three) nodes."""
        names = list(servers or self.nodes[:3])
        pool.create_volume(
            [self.node(name) for name in names], volume, len(names) if replica is None else replica
        )

    def remove_volume(self, volume: str) -> None:
        """Stop and delete a volume and remove what its bricks hold."""
        pool.remove_volume(self.node(self.master), volume)
        for node in nodes_of(self.layout):
            if node.leader():
                node.run(["rm", "-rf", "--", "%s/%s" % (layout.BRICK_MOUNT, volume)], timeout=60)

    def wait_volume(self, volume: str = layout.VOLUME) -> None:
        """Wait until every brick of the volume is online."""
        pool.wait_online(self.node(self.master), volume)

    def allow_stock_gluster(self) -> None:
        """Write the file-storage-paths entry that Ganeti's own gluster template demands."""
        cluster.allow_stock_gluster(nodes_of(self.layout))

    def add_device(self, name: str, gib: int = layout.DEFAULT_BRICK_GIB) -> str:
        """Plug an empty disk into a node and return its device, there after `boot` as well."""
        image = "%s/spare.img" % layout.BRICK_IMAGES
        unit = bricks.device_unit(image, layout.SPARE_DEVICE)
        node = self.node(name)
        node.run(["truncate", "--size=%dG" % gib, image], timeout=15)
        node.run(
            ["install", "-m", "644", "/dev/stdin", "/etc/systemd/system/testbed-spare.service"],
            timeout=15,
            stdin=unit.encode(),
        )
        node.run(["systemctl", "enable", "--quiet", "--now", "testbed-spare.service"], timeout=30)
        return layout.SPARE_DEVICE

    def fail_brick(self, name: str) -> None:
        """Make every access to the node's brick file system fail, as a dead disk does."""
        self.node(name).run(["xfs_io", "-x", "-c", "shutdown", layout.BRICK_MOUNT], timeout=30)

    def free_of(self, name: str) -> int:
        """The bytes free on the node's brick file system."""
        return shutil.disk_usage(self.node(name).inside(layout.BRICK_MOUNT)).free
