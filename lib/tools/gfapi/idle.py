"""Wait until libgfapi's own threads have nothing left to do.

A call of libgfapi returns before the client has cleared its mark (the attribute
`trusted.afr.dirty`) on the bricks; one of its threads does that later.  If a sync or close
overtakes that thread, or the process ends before it, the mark remains, and with it an image that
waits for a heal it does not need.  This was seen on a quarter to a half of new images on a busy
machine (GlusterFS 11.1), and on one or two in a hundred with this module.
"""

from __future__ import annotations

import os
import time

#: Seconds after which waiting ends: what is left then is a needless heal.
LONGEST = 2.0
_PAUSE = 0.001
_TASKS = "/proc/self/task"
#: How libgfapi's threads are called.
_PREFIX = "(glfs_"
_SLEEPING = "S"


def wait_idle() -> None:
    """Return when every thread of libgfapi sleeps, in `LONGEST` seconds at most."""
    deadline = time.monotonic() + LONGEST
    while _anyone_works() and time.monotonic() < deadline:
        time.sleep(_PAUSE)


def _anyone_works() -> bool:
    for task in os.listdir(_TASKS):
        try:
            with open("%s/%s/stat" % (_TASKS, task), encoding="ascii", errors="replace") as file:
                if works(file.read()):
                    return True
        except OSError:  # it has ended
            continue
    return False


def works(stat: str) -> bool:
    """Whether the thread with this line of `/proc/PID/task/TID/stat` is libgfapi's and works."""
    before, _, after = stat.rpartition(")")
    return _PREFIX in before and after.split()[0] != _SLEEPING
