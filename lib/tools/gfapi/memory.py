"""How a process that locks its memory locks what libgfapi adds to it.

Ganeti's node daemon, and again the child that it forks for each request, calls mlockall(2) for all
present and future memory.  The kernel then fills every new mapping at once, although a thread uses
only a few KiB of its 8 MiB stack.  With libgfapi's dozen threads this is 130 MiB and some 60 ms
for each request.
"""

from __future__ import annotations

import ctypes

MCL_CURRENT = 1
MCL_FUTURE = 2
MCL_ONFAULT = 4

# Whether `lock_all_as_used` was called; a child that locks nothing may say so as well.
_all_as_used = False

_STATUS = "/proc/self/status"
_FIELD = "VmLck:"


def lock_all_as_used() -> bool:
    """Lock this process's memory, present and future, each page when it is used.

    What `mlockall` does without this is to touch every page at once: in a process
    just forked that is a copy of most of its parent's.  Returns False, with nothing
    changed, where the kernel cannot do it (before 4.4) or forbids it.
    """
    global _all_as_used
    flags = MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT
    _all_as_used = bool(ctypes.CDLL(None).mlockall(flags) == 0)
    return _all_as_used


def lock_as_used() -> bool:
    """Have a process that locks its future memory lock each new page when it is used.

    What is used is locked as before, and what is locked already stays so.  A
    process that locks nothing, or only parts, is left alone.  Returns whether
    something was changed; a kernel that cannot do it (before 4.4) changes nothing.
    """
    if _all_as_used or not _locks_future():
        return False
    return bool(ctypes.CDLL(None).mlockall(MCL_FUTURE | MCL_ONFAULT) == 0)


def _locks_future() -> bool:
    # The kernel does not report it, but a new mapping shows it.
    before = _locked()
    if before == 0:
        return False
    import mmap  # late, as few processes lock their memory

    with mmap.mmap(-1, mmap.PAGESIZE):
        return _locked() > before


def _locked() -> int:
    """KiB of this process that are locked; 0 if that cannot be found out."""
    try:
        with open(_STATUS, encoding="ascii", errors="replace") as stream:
            return locked_kib(stream.read())
    except OSError:
        return 0


def locked_kib(status: str) -> int:
    """The KiB that are locked, from the text of /proc/PID/status."""
    for line in status.splitlines():
        if line.startswith(_FIELD):
            return int(line.split()[1])
    return 0
