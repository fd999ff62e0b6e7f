"""Making, removing and resetting a testbed, and the order in which that is done."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from . import (
    bricks,
    cgroup,
    checkpoint,
    cluster,
    image,
    layout,
    network,
    pool,
    requirements,
    state,
)
from .errors import TestbedError
from .layout import Layout
from .node import Node
from .state import State

Item = TypeVar("Item")


def each(work: Callable[[Item], None], items: Sequence[Item]) -> None:
    """Do `work` for all items at the same time and to its end; then raise an error."""
    with concurrent.futures.ThreadPoolExecutor(len(items)) as executor:
        futures = [executor.submit(work, item) for item in items]
    for future in futures:
        future.result()


def nodes_of(home: Layout) -> list[Node]:
    """All nodes of the testbed, which must exist."""
    found = state.require(home)
    return [Node(home, name, found.tree) for name in layout.node_names(found.nodes)]


class Lifecycle:
    """The life of the testbed with this layout; `say` takes a line per step."""

    def __init__(self, home: Layout, say: Callable[[str], None]) -> None:
        self.layout = home
        self.say = say

    @contextlib.contextmanager
    def _step(self, what: str) -> Iterator[None]:
        """Say a step and its seconds once it is done."""
        started = time.monotonic()
        yield
        self.say("%s: %.1f s" % (what, time.monotonic() - started))

    def _exclusive(self) -> contextlib.AbstractContextManager[None]:
        def busy() -> None:
            raise TestbedError(
                "testbed %r is being changed by another command" % self.layout.name,
                hint="wait for it to end",
            )

        return state.exclusive(self.layout.lock_file, busy)

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
        suite = suite or layout.chosen_suite()
        layout.node_names(nodes)
        requirements.require(self.say)
        with self._exclusive():
            if self._is_up(suite, nodes, bare):
                return
            self._build(
                State(
                    suite, nodes, bare, brick_gib, str(image.tree_path(suite)), str(layout.PROJECT)
                )
            )

    def _is_up(self, suite: str, nodes: int, bare: bool) -> bool:
        """Whether the testbed asked for is there; removes a half-made one."""
        found = self._load_or_none()
        if (
            found
            and found.stage == state.READY
            and any(node.leader() for node in nodes_of(self.layout))
        ):
            if (found.suite, found.nodes, found.bare) != (suite, nodes, bare):
                raise TestbedError(
                    "testbed %r is up with %s" % (self.layout.name, found.describe()),
                    hint="first run: qa/testbed down",
                )
            if found.project != str(layout.PROJECT):
                raise TestbedError(
                    "testbed %r was made from %s" % (self.layout.name, found.project),
                    hint="use another --name, or `down` it",
                )
            for node in nodes_of(self.layout):
                if node.leader() is None:
                    self.say(
                        "%s is powered off; start it with: qa/testbed boot %s"
                        % (node.name, node.name)
                    )
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
                all_nodes = nodes_of(self.layout)
                self._together(lambda node: self._first_boot(node, wish.brick_gib), all_nodes)
            if not wish.bare:
                makers = [self._make_cluster, self._make_pool]
                self._together(lambda make: make(all_nodes), makers)
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

    def _together(self, work: Callable[[Item], None], items: Sequence[Item]) -> None:
        """As `each`, but the first error kills every process of the testbed."""
        executor = concurrent.futures.ThreadPoolExecutor(len(items))
        try:
            for future in concurrent.futures.as_completed(
                [executor.submit(work, item) for item in items]
            ):
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
                if node.leader():
                    with contextlib.suppress(OSError, TestbedError):  # it may be dying
                        loops += node.loops()
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
            wish = state.require(self.layout)
            if wish.stage == state.READY and checkpoint.exists(nodes_of(self.layout)):
                self._go_back(wish)
            else:
                self._destroy()
                self._build(
                    dataclasses.replace(
                        wish, tree=str(image.tree_path(wish.suite)), stage=state.BUILDING
                    )
                )

    def _go_back(self, wish: State) -> None:
        nodes = nodes_of(self.layout)
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
