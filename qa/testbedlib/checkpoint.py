"""A copy of all nodes as `up` made them, for `reset` to go back to.

The nodes stand still while it is taken, their bricks' file systems too, so all
copies show one instant.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import bricks, cgroup, command, layout
from .errors import TestbedError
from .node import Node

COPY_SECONDS = 300
PARTS = ("upper", "bricks")


def copy_argv(source: Path, target: Path) -> list[str]:
    """The command that copies a part with all attributes, holes as holes."""
    return ["cp", "--archive", "--sparse=always", "--reflink=auto", str(source), str(target)]


def directory(node: Node) -> Path:
    """Where the copy of a node is kept."""
    return node.directory / "checkpoint"


@contextlib.contextmanager
def _standing_still(nodes: Sequence[Node]) -> Iterator[None]:
    """All processes stopped, then all bricks quiet; undone in the reverse order."""
    with contextlib.ExitStack() as stack:
        for node in nodes:
            stack.callback(cgroup.thaw, node.payload)
            if not cgroup.freeze(node.payload):
                raise TestbedError("%s does not stand still for a copy" % node.name)
        for node in nodes:
            stack.enter_context(bricks.quiet(node.inside(layout.BRICK_MOUNT)))
        yield


def take(nodes: Sequence[Node]) -> None:
    """Copy all nodes, which must run."""
    with _standing_still(nodes):
        for node in nodes:
            directory(node).mkdir()
            for part in PARTS:
                command.run(
                    copy_argv(node.directory / part, directory(node) / part), timeout=COPY_SECONDS
                )


def exists(nodes: Sequence[Node]) -> bool:
    """Whether there is a copy of every node."""
    return all((directory(node) / PARTS[-1]).is_dir() for node in nodes)


def restore(node: Node) -> None:
    """Make a node that is off what it was."""
    for part in (*PARTS, "work"):
        shutil.rmtree(node.directory / part)
    (node.directory / "work").mkdir()
    for part in PARTS:
        command.run(copy_argv(directory(node) / part, node.directory / part), timeout=COPY_SECONDS)
