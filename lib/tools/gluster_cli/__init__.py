"""The `gluster` command, asked for XML: build the words, run, parse.

`Gluster` runs; the modules beside it hold what each answer says and the pure
function that reads it (tested on answers of GlusterFS 10.3 and 11.1).
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
