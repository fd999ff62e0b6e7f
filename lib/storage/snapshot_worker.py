"""The worker's entry point: `python3 -m … run|undo INSTANCE`, as systemd starts it."""

from __future__ import annotations

import logging
import os
import sys

from ganeti_gluster.tools.processes import leave

#: The command, to which mode and instance are added.
PROGRAM = ("/usr/bin/python3", "-m", "ganeti_gluster.storage.snapshot_worker")
GANETI = "/usr/share/ganeti/default"


def main(argv: list[str]) -> int:
    """Run the worker, or undo what one left; the exit status."""
    if len(argv) != 2 or argv[0] not in ("run", "undo"):
        print("usage: snapshot_worker run|undo INSTANCE", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    sys.path.insert(0, os.path.realpath(GANETI))
    import ganeti_gluster.core.whole  # noqa: F401
    from ganeti_gluster.core.snapshot import worker
    from ganeti_gluster.storage.guests import KvmGuests

    mode, instance = argv
    return {"run": worker.run, "undo": worker.undo}[mode](instance, KvmGuests())


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
