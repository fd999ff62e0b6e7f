"""Measure this node for the monitoring agent, cheaply and with a time limit.

What belongs to the cluster is measured on the master only: split-brain at most every ten minutes,
because that request is slow and has leaked memory in glusterd when used often, and a volume's
profile only if profiling is enabled.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ganeti_gluster import constants
from ganeti_gluster.core.backup.due import ScheduleEntry
from ganeti_gluster.core.pool.state import most
from ganeti_gluster.core.services import store
from ganeti_gluster.core.services.model import ServerService
from ganeti_gluster.core.verify.bounded import look
from ganeti_gluster.core.verify.facts import Disk, NodeFacts
from ganeti_gluster.core.verify.finding import Finding
from ganeti_gluster.core.verify.gather import LOCAL
from ganeti_gluster.core.verify.gather_volume import gather_images
from ganeti_gluster.core.verify.keep import SHORT, Keep
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.storage import operations
from ganeti_gluster.tools import private
from ganeti_gluster.tools.gfapi.stat import Space
from ganeti_gluster.tools.gluster_cli import Gluster, VolumeInfo
from ganeti_gluster.tools.gluster_cli.profile import BrickProfile
from ganeti_gluster.tools.names import split_snapshot_path

#: Seconds between two questions for split-brain.
HEAL_INTERVAL = 600.0
#: Seconds that what only the master asks may take altogether.
MASTER_SECONDS = 15.0

HEAL_STATE = constants.STATE_DIR + "/split-brain.json"

# glusterd keeps a file with the process of each brick here.
_PIDS = "/var/run/gluster/vols"
_PROFILED = "diagnostics.count-fop-hits"


@dataclass(frozen=True)
class VolumeUse:
    """What a volume holds, in bytes; `provisioned` is the size of all disks of instances on it.

    `total` and `free` are what its clients have, as in all commands.
    """

    volume: str
    total: int
    free: int
    provisioned: int
    snapshots: int
    snapshot_bytes: int


@dataclass(frozen=True)
class Collected:
    """What was seen at `time`, in `seconds`; the master alone fills the last fields.

    `bricks_up` is by a brick's name.  `verified` is when the cluster was verified
    last, `verified_findings` what was found then.
    """

    facts: NodeFacts
    findings: tuple[Finding, ...]
    time: float
    seconds: float
    bricks_up: Mapping[str, bool] = field(default_factory=dict)
    operations: tuple[operations.Operation, ...] = ()
    split_brain: Mapping[str, int] = field(default_factory=dict)
    profiles: Mapping[str, Sequence[BrickProfile]] = field(default_factory=dict)
    disks: tuple[Disk, ...] = ()
    verified: float | None = None
    verified_findings: tuple[Finding, ...] = ()
    cluster: str = ""
    volumes: tuple[VolumeUse, ...] = ()
    services: tuple[ServerService, ...] = ()
    backups: tuple[ScheduleEntry, ...] = ()


def volume_use(spec: VolumeSpec, disks: Sequence[Disk]) -> VolumeUse:
    """What a volume holds, by a list of its images; `disks` are all in the configuration.

    Raises a GanetiGlusterError or OSError.
    """
    found = gather_images(spec)
    snapshots = [each for each in found.images if split_snapshot_path(each.path) is not None]
    space = found.space or Space(0, 0)
    return VolumeUse(
        volume=spec.name,
        total=space.total,
        free=space.free,
        provisioned=sum(disk.size for disk in disks if disk.volume == spec.name),
        snapshots=len(snapshots),
        snapshot_bytes=sum(each.allocated for each in snapshots),
    )


def volumes_in_use(
    specs: Sequence[VolumeSpec], disks: Sequence[Disk], keep: Keep
) -> tuple[VolumeUse, ...]:
    """That of each volume, asked for every five minutes; without those that do not answer."""
    jobs: dict[str, Callable[[], Any]] = {
        spec.name: partial(
            keep.get, "use %r" % (spec,), disks, partial(volume_use, spec, disks), seconds=SHORT
        )
        for spec in specs
    }
    answers = look(jobs, seconds=MASTER_SECONDS)
    return tuple(answer.value for answer in answers.values() if answer.value is not None)


def services() -> tuple[ServerService, ...]:
    """The services of all nodes at the last sync."""
    try:
        with store.connect() as state:
            snapshot = state.snapshot()
    except (GanetiGlusterError, OSError):  # there was no sync yet
        return ()
    return snapshot.services if snapshot else ()


def bricks_up(facts: NodeFacts, directory: str = _PIDS) -> dict[str, bool]:
    """Whether each brick of this node has a process, by its file; asks nobody."""
    return {
        brick.name: _runs(os.path.join(directory, brick.volume, pid_file(brick.name)))
        for brick in facts.bricks
    }


def pid_file(brick: str) -> str:
    """The name of a brick's file, as glusterd makes it of `server:/path`."""
    server, _, path = brick.partition(":/")
    return "%s-%s.pid" % (server, path.strip("/").replace("/", "-"))


def _runs(path: str) -> bool:
    try:
        with open(path, encoding="ascii") as stream:
            pid = int(stream.read())
        with open("/proc/%d/comm" % pid, encoding="utf-8") as stream:
            return stream.read().strip().startswith("glusterfs")
    except (OSError, ValueError):
        return False


def of_master(
    gluster: Gluster = LOCAL, *, volumes: Sequence[VolumeInfo] | None = None
) -> tuple[dict[str, int], dict[str, list[BrickProfile]]]:
    """Split-brain by volume, and the profiles; what is not available in time is left out.

    `volumes` are those of the pool, where that is known.
    """
    try:
        known = gluster.volumes() if volumes is None else volumes
        started = [volume for volume in known if volume.started]
    except GanetiGlusterError:
        return {}, {}
    jobs: dict[str, Callable[[], Any]] = {
        "profile %s" % volume.name: _profile(gluster, volume.name)
        for volume in started
        if is_profiled(volume)
    }
    jobs["split"] = lambda: split_brain(gluster, started, now=time.time())
    answers = look(jobs, seconds=MASTER_SECONDS)
    profiles = {
        name.removeprefix("profile "): answer.value
        for name, answer in answers.items()
        if name != "split" and answer.value
    }
    return answers["split"].value or {}, profiles


def _profile(gluster: Gluster, volume: str) -> Callable[[], Any]:
    return lambda: gluster.profile(volume)


def is_profiled(volume: VolumeInfo) -> bool:
    """Whether `gluster volume profile` is on, by the option that it sets."""
    return volume.options.get(_PROFILED, "off") in ("on", "yes", "enable", "true", "1")


def split_brain(
    gluster: Gluster, volumes: Sequence[VolumeInfo], *, now: float, path: str = HEAL_STATE
) -> dict[str, int]:
    """The largest number of entries in split-brain that a brick of each volume knows.

    Asked at most every `HEAL_INTERVAL` seconds, also if the question failed; in
    between, the last answer.
    """
    kept = _load(path)
    if 0 <= now - kept["time"] < HEAL_INTERVAL:
        return dict(kept["counts"])
    # Before the question: one that hangs is not asked again at once.
    private.write_json(path, {"time": now, "counts": kept["counts"]})
    counts = {}
    for volume in volumes:
        if volume.replica < 2:
            continue
        try:
            bricks = gluster.heal_counts(volume.name)
        except GanetiGlusterError:
            continue
        counts[volume.name] = most(brick.split_brain for brick in bricks) or 0
    private.write_json(path, {"time": now, "counts": counts})
    return counts


def _load(path: str) -> dict[str, Any]:

    try:
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
        return {"time": float(data["time"]), "counts": dict(data["counts"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"time": 0.0, "counts": {}}
