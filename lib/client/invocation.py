"""Who has called this command, and how long it has been running; for people to read."""

from __future__ import annotations

import os
import pwd
import time

#: The variable in which a program that runs a command for somebody else says for whom.
FOR = "GNT_GLUSTER_FOR"

# The number of no user: the process was not started from a login.
_NOBODY = 2**32 - 1


def caller() -> str:
    """The user who logged in, also if it became root later; else the user of this process.

    A user of the web page is named by the page.
    """
    named = os.environ.get(FOR) or os.environ.get("SUDO_USER")
    return named or _of(_login()) or _of(os.geteuid()) or str(os.geteuid())


def _login() -> int:
    """The user of the login that this process belongs to, as of audit(8); see proc(5)."""
    try:
        with open("/proc/self/loginuid", encoding="ascii") as stream:
            return int(stream.read())
    except (OSError, ValueError):  # a kernel without audit
        return _NOBODY


def _of(user: int) -> str:
    try:
        return "" if user == _NOBODY else pwd.getpwuid(user).pw_name
    except KeyError:
        return ""


def running_for() -> float:
    """The seconds since this process was started, to a hundredth; see proc(5)."""
    with open("/proc/self/stat", encoding="utf-8", errors="replace") as stream:
        # The name of the command, in brackets, may hold anything; "starttime" is field 22.
        fields = stream.read().rpartition(")")[2].split()
    started = int(fields[22 - 3]) / os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started)
