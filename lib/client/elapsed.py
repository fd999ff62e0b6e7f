"""How long a command has been running, its own start included."""

from __future__ import annotations

import os
import time


def running_for() -> float:
    """The seconds since this process was started, to a hundredth; see proc(5)."""
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as stream:
        # The name of the command, in brackets, may hold anything; "starttime" is field 22.
        fields = stream.read().rpartition(")")[2].split()
    started = int(fields[22 - 3]) / os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started)
