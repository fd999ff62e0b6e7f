"""The `gluster` command with XML output: build the arguments, run, parse.

`Gluster` runs it; the other modules define the content of each answer and the pure function that
parses it (tested on answers of GlusterFS 10.3 and 11.1).
"""

from ganeti_gluster.tools.gluster_cli.heal import BrickHeal, HealEntries
from ganeti_gluster.tools.gluster_cli.peers import Peer
from ganeti_gluster.tools.gluster_cli.runner import (
    Gluster,
    GlusterBusy,
    GlusterdDown,
    GlusterFailed,
)
from ganeti_gluster.tools.gluster_cli.status import BrickStatus, Daemon, VolumeStatus
from ganeti_gluster.tools.gluster_cli.volumes import VolumeBrick, VolumeInfo

__all__ = [
    "BrickHeal",
    "BrickStatus",
    "Daemon",
    "Gluster",
    "GlusterBusy",
    "GlusterFailed",
    "GlusterdDown",
    "HealEntries",
    "Peer",
    "VolumeBrick",
    "VolumeInfo",
    "VolumeStatus",
]
