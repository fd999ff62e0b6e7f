"""Loop devices: losetup's argv, and which device belongs to which file, from sysfs.

A device is identified by its name and the sequence number that the kernel assigns each time it
gets a file (`diskseq`, from Linux 5.15 on).  Another container of the machine may have a device
with a file of the same path, and a device whose exporter was killed has lost the path of its file.
"""

from __future__ import annotations

import os

SYSFS = "/sys/block"


def attach_argv(path: str, *, read_only: bool = False) -> list[str]:
    """Make `path` a block device and print its name; past the page cache.

    One that is read by people has its partitions shown.
    """
    more = ["--read-only", "--partscan"] if read_only else []
    return ["losetup", "--find", "--show", "--direct-io=on", *more, path]


def detach_argv(device: str) -> list[str]:
    """Give a device back; one that is still open goes when it is closed."""
    return ["losetup", "--detach", device]


def refresh_argv(device: str) -> list[str]:
    """Have a device take its file's size over."""
    return ["losetup", "--set-capacity", device]


def identity(device: str) -> str:
    """A text that identifies this use of a device: `loop5 1234`."""
    name = os.path.basename(device)
    return "%s %s" % (name, _read(name, "diskseq") or "-")


def find(identity: str, path: str) -> str | None:
    """The device with an identity, whose file was opened as `path`, if it is still that."""
    name, _, sequence = identity.strip().partition(" ")
    if not sequence:
        return None
    file = _read(name, "loop/backing_file")
    # "/": the exporter's namespace, which had the path, is gone.
    if file is None or file.removesuffix(" (deleted)") not in (path, "/"):
        return None
    return "/dev/%s" % name if (_read(name, "diskseq") or "-") == sequence else None


def _read(name: str, attribute: str) -> str | None:
    try:
        with open(
            os.path.join(SYSFS, name, attribute), encoding="utf-8", errors="surrogateescape"
        ) as stream:
            return stream.read().rstrip("\n")
    except OSError:  # it has no file, or the kernel no such attribute
        return None
