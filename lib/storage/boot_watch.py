"""What the master runs on a node: `python3 -m … INSTANCE SECONDS PATTERN`, for `core.backup.boot`.

The instance was started and does not run yet.
"""

from __future__ import annotations

import os
import re
import sys

from ganeti_gluster.core.backup import boot
from ganeti_gluster.errors import GanetiGlusterError

#: The command, to which the words are added.
PROGRAM = ("/usr/bin/python3", "-m", "ganeti_gluster.storage.boot_watch")
GANETI = "/usr/share/ganeti/default"


def main(argv: list[str]) -> int:
    """Print by what the boot was seen, or why it was not; the exit status."""
    sys.path.insert(0, os.path.realpath(GANETI))
    from ganeti.hypervisor import hv_kvm

    from ganeti_gluster.storage.guests import KvmGuests

    instance, seconds, pattern = argv
    guests = KvmGuests()

    def begin() -> None:
        with guests.connect(instance)() as monitor:
            monitor.execute("cont")

    console = hv_kvm.KVMHypervisor._InstanceSerial(instance)
    agent = guests.agent(instance)
    try:
        print(boot.watch(console, agent, re.compile(pattern), float(seconds), begin))
    except GanetiGlusterError as err:
        print(err)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
