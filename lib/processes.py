"""The processes of this machine, from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator


def command_lines() -> Iterator[tuple[int, list[bytes]]]:
    """Each process's id and command line, a word each; one that ends meanwhile is left out."""
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            with open("/proc/%s/cmdline" % name, "rb") as stream:
                words = stream.read().split(b"\0")
        except OSError:  # it has ended
            continue
        yield int(name), words
