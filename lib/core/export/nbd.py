"""Network block devices of the kernel, served by qemu-nbd on this node.

/sys/block shows whether there are any: a kernel without the driver, or one that must not load it,
has none.

The kernel could be the client of the image server itself, but `nbd-client` of Debian 12 and 13
(nbd 3.24 and 3.26) does not keep a device when the server ends.  It has no timeout for dead
connections.  With netlink, its default, it ends once the device is created, and `-persist` has no
effect.  With ioctl the kernel has failed all requests before it would reconnect.  (From nbd 3.27
on `-persist` works with netlink.)  qemu-nbd's own client reconnects and repeats requests, as in a
guest's QEMU.
"""

from __future__ import annotations

import glob
import json
import os
import re

from ganeti_gluster.core.serve.server import qemu_blockdev, qemu_uri
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import command, systemd

SYSFS = "/sys/block"
LOAD_SECONDS = 10
_NAME = re.compile(r"nbd[0-9]+")
#: Of the unit.
PROPERTIES = ("Type=exec", *systemd.NBD_EXPORTER)


def is_nbd(name: str) -> bool:
    """Whether a name such as `nbd3` is that of an nbd device."""
    return bool(_NAME.fullmatch(name))


def devices() -> list[str]:
    """The nbd devices that the kernel has, by number."""
    names = [os.path.basename(path) for path in glob.glob(os.path.join(SYSFS, "nbd*"))]
    return ["/dev/%s" % name for name in sorted(filter(is_nbd, names), key=lambda n: int(n[3:]))]


def free_device(run: command.Run, *, after: str | None = None) -> str | None:
    """The first nbd device after `after` that nobody serves, None if there is none.

    Loads the driver if there is no device at all.  Another program may take the device at any
    time, so check afterwards who serves it.
    """
    candidates = devices()
    if not candidates and after is None:
        try:
            run(["modprobe", "--quiet", "nbd"], timeout=LOAD_SECONDS)
        except GanetiGlusterError:  # this kernel has none
            return None
        candidates = devices()
    if after in candidates:
        candidates = candidates[candidates.index(after) + 1 :]
    return next((device for device in candidates if not is_connected(device)), None)


def is_connected(device: str) -> bool:
    """Whether somebody serves a device."""
    return _server(os.path.basename(device)) is not None


def served_by(name: str, unit: str) -> str | None:
    """The device `name` if a process of the unit serves it, else None."""
    pid = _server(name)
    if pid is None:
        return None
    try:
        with open("/proc/%d/cgroup" % pid, encoding="utf-8", errors="replace") as stream:
            groups = stream.read().split()
    except OSError:  # it has ended
        return None
    ours = any(unit in group.split("/") for group in groups)
    return "/dev/%s" % name if ours else None


def _server(name: str) -> int | None:
    try:
        with open(os.path.join(SYSFS, name, "pid"), encoding="ascii") as stream:
            return int(stream.read())
    except (OSError, ValueError):  # there is no such file while nobody serves it
        return None


def server_argv(device: str, socket_path: str, patience: int) -> list[str]:
    """The program that serves an image at a device until it is disconnected.

    The image is its server's at a socket; `patience`, in seconds, is the server's.
    """
    blockdev = {"driver": "raw", "file": qemu_blockdev(qemu_uri(socket_path, patience))}
    return [
        "qemu-nbd",
        "--connect=%s" % device,
        "--persistent",
        "--cache=none",
        "--discard=unmap",
        "--detect-zeroes=off",
        "json:%s" % json.dumps(blockdev),
    ]


def detach_argv(device: str) -> list[str]:
    """End the service of a device."""
    return ["qemu-nbd", "--disconnect", device]
