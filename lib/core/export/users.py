"""Who has a block device in use, and how large it is; asks only /proc and /sys."""

from __future__ import annotations

import os
import sys

SYSFS = "/sys/class/block"
PROC = "/proc"
#: A sector of sysfs, whatever the device's own.
SECTOR = 512
_FLUSH = """\
import os, sys
try:
    os.fsync(os.open(sys.argv[1], os.O_RDWR | os.O_EXCL))
except OSError as err:
    print(os.strerror(err.errno), file=sys.stderr)
    sys.exit(err.errno)
"""


def size(device: str) -> int:
    """Bytes of a block device."""
    with open(os.path.join(SYSFS, os.path.basename(device), "size"), encoding="ascii") as stream:
        return int(stream.read()) * SECTOR


def flush_argv(device: str) -> list[str]:
    """A program that has all that was written to a device stored by the volume.

    Its exit status is the errno of what went wrong, which it prints; EBUSY is a
    device that the kernel uses: a mount that cannot be seen from here, a
    Xen guest, a device on top of it.
    """
    return [sys.executable or "/usr/bin/python3", "-I", "-S", "-c", _FLUSH, device]


def of(device: str) -> list[str]:
    """What uses a block device: processes, mounts and devices on top of it.

    Processes and mounts are those that this one can see.
    """
    return [*_processes(device), *_mounts(device), *_holders(device)]


def _processes(device: str) -> list[str]:
    processes = []
    for pid in filter(str.isdecimal, os.listdir(PROC)):
        directory = os.path.join(PROC, pid)
        try:
            descriptors = os.listdir(os.path.join(directory, "fd"))
            # The link's text alone: to follow it could hang.
            if any(_target(directory, number) == device for number in descriptors):
                with open(os.path.join(directory, "comm"), encoding="utf-8") as stream:
                    processes.append("%s (process %s)" % (stream.read().strip(), pid))
        except OSError:  # it has ended
            continue
    return processes


def _target(directory: str, number: str) -> str:
    try:
        return os.readlink(os.path.join(directory, "fd", number))
    except OSError:  # closed meanwhile
        return ""


def _mounts(device: str) -> list[str]:
    try:
        with open(os.path.join(SYSFS, os.path.basename(device), "dev"), encoding="ascii") as file:
            number = file.read().strip()
    except OSError:
        return []
    with open(os.path.join(PROC, "self/mountinfo"), encoding="utf-8", errors="replace") as mounts:
        fields = [line.split(" ") for line in mounts]
    return ["the mount at %s" % line[4] for line in fields if line[2] == number]


def _holders(device: str) -> list[str]:
    try:
        holders = os.listdir(os.path.join(SYSFS, os.path.basename(device), "holders"))
    except OSError:
        return []
    return ["the device %s" % name for name in sorted(holders)]
