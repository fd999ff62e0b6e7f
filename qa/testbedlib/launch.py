"""Become the container of one node; run as a program of its own.

Joins the node's cgroup and the testbed's network namespace, then makes a mount
namespace in which the node's overlay, a plain cgroup2 tree (which systemd 257
demands, whatever this machine has) and the container tool's own run directory
are mounted.  Nothing of that is seen outside, and all of it ends with the node.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import Any

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_REC = 0x4000
MS_SLAVE = 0x80000

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, "%s: %s" % (what, os.strerror(number)))


def _mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    _checked(
        _libc.mount(
            source.encode(),
            target.encode(),
            kind.encode() if kind else None,
            ctypes.c_ulong(flags),
            data.encode() or None,
        ),
        "mount " + target,
    )


def overlay_options(tree: str, directory: str) -> str:
    """The overlay's mount options: the tree below, the node's own files above."""
    return "lowerdir=%s,upperdir=%s/upper,workdir=%s/work" % (tree, directory, directory)


def main(config: dict[str, Any]) -> None:
    """Set up as `config` says and become config["argv"]."""
    with open(config["cgroup"] + "/cgroup.procs", "w", encoding="ascii") as procs:
        procs.write("0")
    with open(config["netns"], "rb") as netns:
        _checked(_libc.setns(netns.fileno(), CLONE_NEWNET), "setns " + config["netns"])
    _checked(_libc.unshare(CLONE_NEWNS), "unshare")
    _mount("none", "/", None, MS_REC | MS_SLAVE)
    _mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0)
    os.makedirs("/run/systemd/nspawn", exist_ok=True)
    _mount("tmpfs", "/run/systemd/nspawn", "tmpfs", 0, "mode=755")
    _mount(
        "overlay",
        config["directory"] + "/root",
        "overlay",
        0,
        overlay_options(config["tree"], config["directory"]),
    )
    os.execvp(config["argv"][0], config["argv"])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
