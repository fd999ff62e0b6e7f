"""What is extended in Ganeti's commands on node groups (`ganeti.cmdlib.group`)."""

from __future__ import annotations

from typing import Any

from ganeti_gluster.patches import disk_states, places


def extend(module: Any) -> None:
    """Have `gnt-cluster verify-disks` warn of gluster disks, and keep disks where they are."""
    disk_states.check_group(module)
    places.extend_group(module)
    disk_states.extend_verify_disks(module)
