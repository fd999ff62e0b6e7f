"""A testbed as a whole: several nodes, their network, cluster and pool."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from . import (
    bricks,
    cgroup,
    checkpoint,
    cluster,
    command,
    image,
    layout,
    network,
    pool,
    requirements,
    state,
)
from .command import CompletedCommand
from .errors import TestbedError
from .layout import Layout
from .node import Node
from .state import State

EXEC_SECONDS = 600
INSTALL_SECONDS = 300
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
        found = state.load(self.layout)
        if found is None:
            raise TestbedError("there is no testbed %r" % self.layout.name,
                               hint="make one with: qa/testbed up")
        return found

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
            raise TestbedError("no node %r in testbed %r" % (name, self.layout.name),
                               hint="its nodes are %s" % ", ".join(names))
        return Node(self.layout, name, found.tree)

    def _all(self) -> list[Node]:
        found = self.state
        return [Node(self.layout, name, found.tree) for name in layout.node_names(found.nodes)]

    def status(self) -> dict:
        """What runs, as plain data for a table or JSON."""
        found = state.load(self.layout)
        if found is None:
            return {"name": self.layout.name, "stage": "absent", "nodes": []}
        return {
            "name": self.layout.name, "stage": found.stage, "suite": found.suite,
            "bare": found.bare, "tree": found.tree, "network_namespace": self.layout.netns,
            "nodes": [{
                "name": node.name, "address": layout.node_address(node.name),
                "running": node.leader() is not None,
                "cut": self.layout.cut_mark(node.name).exists(),
            } for node in self._all()]}

    # Making and removing

    @contextlib.contextmanager
    def _step(self, what: str) -> Iterator[None]:
        """Say a step and its seconds once it is done."""
        started = time.monotonic()
        yield
        self.say("%s: %.1f s" % (what, time.monotonic() - started))

    def _exclusive(self) -> contextlib.AbstractContextManager[None]:
        def busy() -> None:
            raise TestbedError("testbed %r is being changed by another command"
                               % self.layout.name, hint="wait for it to end")

        return state.exclusive(self.layout.lock_file, busy)

    def up(self, *, nodes: int = layout.DEFAULT_NODES, suite: str | None = None,
           bare: bool = False, brick_gib: int = layout.DEFAULT_BRICK_GIB) -> None:
        """Make the testbed and return when all of it works.

        No-op if the same one is up.  Raises TestbedError if a different one is.
        What an interrupted run left is removed first; if this one fails or is
        interrupted, it leaves nothing.
        """
        suite = suite or os.environ.get("SUITE") or layout.DEFAULT_SUITE
        if suite not in layout.SUITES:
            raise TestbedError("suite %r: it is one of %s" % (suite, ", ".join(layout.SUITES)))
        layout.node_names(nodes)
        requirements.require(self.say)
        with self._exclusive():
            if self._is_up(suite, nodes, bare):
                return
            self._build(State(suite, nodes, bare, brick_gib, str(image.tree_path(suite)),
                              str(layout.PROJECT)))

    def _is_up(self, suite: str, nodes: int, bare: bool) -> bool:
        """Whether the testbed asked for is there; removes a half-made one."""
        found = self._load_or_none()
        if found and found.stage == state.READY and any(node.leader() for node in self._all()):
            if (found.suite, found.nodes, found.bare) != (suite, nodes, bare):
                raise TestbedError("testbed %r is up with %s" % (
                    self.layout.name, found.describe()), hint="first run: qa/testbed down")
            if found.project != str(layout.PROJECT):
                raise TestbedError("testbed %r was made from %s" % (
                    self.layout.name, found.project), hint="use another --name, or `down` it")
            for node in self._all():
                if node.leader() is None:
                    self.say("%s is powered off; start it with: qa/testbed boot %s" % (
                        node.name, node.name))
            self.say("testbed %r is up already: %s" % (self.layout.name, found.describe()))
            return True
        if self.layout.directory.exists() or self.layout.netns_file.exists():
            with self._step("removed what an earlier run left"):
                self._destroy()
        return False

    def _load_or_none(self) -> State | None:
        try:
            return state.load(self.layout)
        except TestbedError:
            return None

    def _build(self, wish: State) -> None:
        try:
            state.save(self.layout, wish)  # from now on the tree is in use
            image.ensure(wish.suite, self._trees_in_use(), self.say)
            with self._step("%d nodes boot" % wish.nodes):
                cgroup.mount(self.layout.cgroup_mount)
                network.create(self.layout)
                all_nodes = self._all()
                self._together(lambda node: self._first_boot(node, wish.brick_gib), all_nodes)
            if not wish.bare:
                self._together(lambda work: work(), [
                    lambda: self._make_cluster(all_nodes), lambda: self._make_pool(all_nodes)])
                with self._step("copy of the nodes, to reset to"):
                    checkpoint.take(all_nodes)
            state.save(self.layout, dataclasses.replace(wish, stage=state.READY))
        except BaseException:
            self.say("removing the unfinished testbed")
            self._destroy()
            raise
        self.say("testbed %r is up: %s" % (self.layout.name, wish.describe()))

    @staticmethod
    def _first_boot(node: Node, brick_gib: int) -> None:
        node.prepare(brick_gib)
        node.start()
        node.wait_booted()

    def _make_cluster(self, nodes: Sequence[Node]) -> None:
        with self._step("Ganeti cluster"):
            cluster.create(nodes)

    def _make_pool(self, nodes: Sequence[Node]) -> None:
        with self._step("Gluster pool and volume %s" % layout.VOLUME):
            pool.join(nodes)
            members = nodes[:3]
            pool.create_volume(members, layout.VOLUME, len(members))

    @staticmethod
    def _each(work: Callable, items: Sequence) -> None:
        """Do `work` for all items at the same time and to its end; then raise an error."""
        with concurrent.futures.ThreadPoolExecutor(len(items)) as executor:
            futures = [executor.submit(work, item) for item in items]
        for future in futures:
            future.result()

    def _together(self, work: Callable, items: Sequence) -> None:
        """As `_each`, but the first error kills every process of the testbed."""
        executor = concurrent.futures.ThreadPoolExecutor(len(items))
        try:
            for future in concurrent.futures.as_completed(
                    [executor.submit(work, item) for item in items]):
                future.result()
        except BaseException:
            # Killing what the other threads wait for ends them soon.
            executor.shutdown(wait=False, cancel_futures=True)
            cgroup.send_kill(self.layout.cgroup)
            raise
        finally:
            executor.shutdown(wait=True)

    def down(self) -> None:
        """Remove the testbed with everything of it; no-op if there is none."""
        with self._exclusive():
            if not (self.layout.directory.exists() or self.layout.netns_file.exists()):
                self.say("there is no testbed %r" % self.layout.name)
                return
            with self._step("testbed %r is down" % self.layout.name):
                self._destroy()

    def _destroy(self) -> None:
        """Remove whatever of the testbed exists, found by name; may be repeated."""
        home = self.layout
        if home.directory.exists():
            cgroup.mount(home.cgroup_mount)
            loops = []
            for node_dir in home.directory.glob("node*"):
                node = Node(home, node_dir.name, "")
                leader = node.leader()
                if leader:
                    loops += bricks.node_loops(leader)
                    bricks.end_quiet(node.inside(layout.BRICK_MOUNT))
            # Payloads first: systemd-nspawn then tidies up and ends by itself.
            for payload in home.cgroup.glob("*/payload"):
                cgroup.send_kill(payload)
            cgroup.wait_empty(home.cgroup, 5)
            cgroup.destroy(home.cgroup)
            for node_dir in home.directory.glob("node*"):
                bricks.wait_released(node_dir, loops)
            with contextlib.suppress(OSError):  # other testbeds may be in it
                (home.cgroup_mount / layout.CGROUP).rmdir()
            cgroup.unmount(home.cgroup_mount)
        network.destroy(home)
        if home.directory.exists():
            image.remove_tree(home.directory)

    def reset(self) -> None:
        """Fresh nodes, as `up` made them; all that was done since is gone."""
        requirements.require(self.say)
        with self._exclusive():
            wish = self.state
            if wish.stage == state.READY and checkpoint.exists(self._all()):
                self._go_back(wish)
            else:
                self._destroy()
                self._build(dataclasses.replace(wish, tree=str(image.tree_path(wish.suite)),
                                                stage=state.BUILDING))

    def _go_back(self, wish: State) -> None:
        nodes = self._all()
        try:
            state.save(self.layout, dataclasses.replace(wish, stage=state.BUILDING))
            cgroup.mount(self.layout.cgroup_mount)
            with self._step("%d nodes are as `up` made them" % wish.nodes):
                self._together(self._restore, nodes)
            with self._step("cluster and pool"):
                cluster.wait_master(nodes)
                pool.wait_glusterd(nodes)
                pool.wait_online(nodes[0], layout.VOLUME)
            state.save(self.layout, wish)
        except BaseException:
            self.say("removing the unfinished testbed")
            self._destroy()
            raise
        self.say("testbed %r is reset: %s" % (self.layout.name, wish.describe()))

    def _restore(self, node: Node) -> None:
        if node.leader() is not None:
            node.power_off()
        self.layout.cut_mark(node.name).unlink(missing_ok=True)
        checkpoint.restore(node)
        node.start()
        node.wait_booted()

    def clean(self) -> None:
        """`down`, and remove the cached trees that no other testbed uses."""
        self.down()
        image.remove_unused(self._trees_in_use(), self.say)
        with self._exclusive():
            self.layout.lock_file.unlink()
        with contextlib.suppress(OSError):  # other testbeds may be in it
            layout.state_base().rmdir()

    @staticmethod
    def _trees_in_use() -> set[str]:
        """The trees of all testbeds on this machine, whatever their state."""
        used = set()
        for path in layout.state_base().glob("*/testbed.json"):
            with contextlib.suppress(FileNotFoundError, TestbedError):
                used.add(state.parse(path.read_text()).tree)
        return used

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

    def boot(self, name: str) -> None:
        """Power a node on and wait until it has booted; no-op if it runs."""
        node = self.node(name)
        if node.leader() is None:
            node.start()
        node.wait_booted()

    # Work in the nodes

    def exec(self, name: str, argv: Sequence[str], *, timeout: float = EXEC_SECONDS,
             check: bool = False, stdin: bytes = b"") -> CompletedCommand:
        """Run a command in a node; raises CommandTimeout when its time is over."""
        return self.node(name).run(argv, timeout=timeout, check=check, stdin=stdin)

    def host(self, argv: Sequence[str], *, timeout: float = EXEC_SECONDS,
             check: bool = False) -> CompletedCommand:
        """Run a command of this machine in the testbed's network (a host outside the pool)."""
        return command.run(["nsenter", "--net=%s" % self.layout.netns_file, "--", *argv],
                           timeout=timeout, check=check, shown=argv, node="testbed")

    def install(self, packages: Sequence[Path | str]) -> None:
        """Install package files on every node with apt-get, which must find all they need."""
        files = [Path(package) for package in packages]
        for path in files:
            if not path.is_file():
                raise TestbedError("no such package file: %s" % path)
        targets = ["%s/%s" % (DEB_DIRECTORY, path.name) for path in files]

        def install_on(node: Node) -> None:
            for path, target in zip(files, targets):
                node.push(path, target)
            node.run(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes",
                      "--quiet", "--reinstall", "--allow-downgrades", *targets],
                     timeout=INSTALL_SECONDS)

        self._each(install_on, self._all())

    def push(self, name: str, source: Path | str, target: str) -> None:
        """Copy a file into a node."""
        self.node(name).push(Path(source), target)

    def pull(self, name: str, source: str, target: Path | str) -> None:
        """Copy a file out of a node."""
        self.node(name).pull(source, Path(target))

    def make_volume(self, volume: str, servers: Sequence[str] | None = None,
                    replica: int | None = None) -> None:
        """Make and start a further volume, by default replicated over all (three) nodes."""
        names = list(servers or self.nodes[:3])
        pool.create_volume([self.node(name) for name in names], volume,
                           len(names) if replica is None else replica)

    def remove_volume(self, volume: str) -> None:
        """Stop and delete a volume and remove what its bricks hold."""
        pool.remove_volume(self.node(self.master), volume)
        for node in self._all():
            if node.leader():
                node.run(["rm", "-rf", "--", "%s/%s" % (layout.BRICK_MOUNT, volume)], timeout=60)

    def wait_volume(self, volume: str = layout.VOLUME) -> None:
        """Wait until every brick of the volume is online."""
        pool.wait_online(self.node(self.master), volume)

    def allow_stock_gluster(self) -> None:
        """Write the file-storage-paths entry that Ganeti's own gluster template demands."""
        cluster.allow_stock_gluster(self._all())

    def fail_brick(self, name: str) -> None:
        """Make every access to the node's brick file system fail, as a dead disk does."""
        self.node(name).run(["xfs_io", "-x", "-c", "shutdown", layout.BRICK_MOUNT], timeout=30)

    def free_of(self, name: str) -> int:
        """The bytes free on the node's brick file system."""
        return shutil.disk_usage(self.node(name).inside(layout.BRICK_MOUNT)).free
