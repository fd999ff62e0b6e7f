"""Who has called a command: for people to read, not to decide what is allowed."""

from __future__ import annotations

import os
import pwd

# The number of no user: the process was not started from a login.
_NOBODY = 2**32 - 1


def name() -> str:
    """The user who logged in, also if it became root later; else the user of this process."""
    return os.environ.get("SUDO_USER") or _of(_login()) or _of(os.geteuid()) or str(os.geteuid())


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
