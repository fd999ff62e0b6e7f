"""signal_qemu STOP|CONT|KILL UUID: signal the QEMU on this node that has a disk.

For the keeper of an image's lock, which imports nothing of Ganeti.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ganeti_gluster.lock.writers import SIGNALS


def main(argv: Sequence[str]) -> int:
    """Signal it, if there is one; 0, or 1 with what is wrong on standard error."""
    name, uuid = argv[1:]
    sys.path.insert(0, os.path.realpath("/usr/share/ganeti/default"))
    from ganeti import errors

    from ganeti_gluster.storage import running_disk

    try:
        pid = running_disk.find_process(uuid)
    except errors.GenericError as err:
        sys.stderr.write("%s\n" % err)
        return 1
    if pid is not None:
        os.kill(pid, SIGNALS[name])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
