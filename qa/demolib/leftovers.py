"""What a removed instance could have left on a node, seen from this machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from testbedlib import cgroup, layout
from testbedlib.node import Node

EXPORTS = "/run/ganeti-gluster/exports"
UNITS = "/run/systemd/transient"
UNIT_PREFIX = "ganeti-gluster-"
#: Beginnings of /proc/PID/comm, which has 15 characters.
PROCESSES = ("qemu-system", "qemu-storage", "qemu-nbd")
#: Gluster's own: the second names of all files, and removals under way.
INTERNAL = (".glusterfs", ".shard/.remove_me")


def mounts_of_gluster(mountinfo: str) -> list[str]:
    """Where a /proc/PID/mountinfo has a volume or an export mounted."""
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        point, kind = left.split()[4], right.split()[0]
        if kind == "fuse.glusterfs" or point.startswith(EXPORTS):
            found.append(point)
    return found


def node_mounts(node: Node) -> list[str]:
    """Where a volume or an export is mounted in a running node."""
    return mounts_of_gluster(
        Path("/proc/%d/mountinfo" % node.leader()).read_text(encoding="utf-8")
    )


def _names(directory: str, prefix: str = "") -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if name.startswith(prefix))
    except FileNotFoundError:
        return []


def _processes(node: Node) -> list[str]:
    found = []
    for pid in cgroup.processes(node.cgroup):
        with contextlib.suppress(OSError):
            name = Path("/proc/%d/comm" % pid).read_text(encoding="utf-8").strip()
            if name.startswith(PROCESSES):
                found.append(name)
    return found


def on_node(node: Node) -> list[str]:
    """Everything of instances that is left on a running node, in words."""
    return [
        *("%s: %s is mounted" % (node.name, point) for point in node_mounts(node)),
        *(
            "%s: the export %s is there" % (node.name, name)
            for name in _names(node.inside(EXPORTS))
        ),
        *(
            "%s: the unit %s is there" % (node.name, name)
            for name in _names(node.inside(UNITS), UNIT_PREFIX)
        ),
        *("%s: %s runs" % (node.name, name) for name in _processes(node)),
    ]


def files_on_brick(names: Iterable[str]) -> list[str]:
    """The files of users among all paths of a brick."""
    return sorted(
        name for name in names if not any((name + "/").startswith(own + "/") for own in INTERNAL)
    )


def on_brick(node: Node, volume: str) -> list[str]:
    """The files of users, pieces of them too, on a node's brick of the volume."""
    root = node.inside("%s/%s" % (layout.BRICK_MOUNT, volume))
    names = (
        os.path.relpath(os.path.join(directory, name), root)
        for directory, _, files in os.walk(root)
        for name in files
    )
    return files_on_brick(names)
