"""Loop devices: losetup's argv, and which device has which file, from sysfs."""

from __future__ import annotations

import glob
import os

SYSFS = "/sys/block"


def attach_argv(path: str) -> list[str]:
    """Make `path` a block device and print its name; past the page cache."""
    return ["losetup", "--find", "--show", "--direct-io=on", path]


def detach_argv(device: str) -> list[str]:
    """Give a device back; one that is still open goes when it is closed."""
    return ["losetup", "--detach", device]


def refresh_argv(device: str) -> list[str]:
    """Have a device take its file's size over."""
    return ["losetup", "--set-capacity", device]


def find(path: str) -> str | None:
    """The device whose file was opened as `path`, None if there is none.

    The kernel keeps the path; losetup would ask the file itself, which may hang.
    """
    for backing in glob.glob(os.path.join(SYSFS, "loop*", "loop", "backing_file")):
        try:
            with open(backing, encoding="utf-8", errors="surrogateescape") as stream:
                found = stream.read().rstrip("\n")
        except OSError:  # detached meanwhile
            continue
        if found.removesuffix(" (deleted)") == path:
            return "/dev/%s" % backing.split(os.sep)[-3]
    return None
