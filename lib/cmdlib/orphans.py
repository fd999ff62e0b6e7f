"""Which images belong to no instance and may be removed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ganeti import cli, constants

from ganeti_gluster.cmdlib.cluster_config import ClusterConfig
from ganeti_gluster.core import image
from ganeti_gluster.core.serve.hold import locked
from ganeti_gluster.core.serve.holder import OpenElsewhere
from ganeti_gluster.core.snapshot.replace import remove_remains
from ganeti_gluster.core.verify.gather_volume import gather_images
from ganeti_gluster.core.verify.image_checks import YOUNG, orphans
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.storage import node_names
from ganeti_gluster.tools import names
from ganeti_gluster.tools.gfapi import Volume

#: The kinds of jobs that make, copy or take away disks.
_WORDS = ("INSTANCE_", "BACKUP_", "GROUP_", "NODE_EVACUATE", "NODE_MIGRATE")
#: Opcodes of these words that only look.
_HARMLESS = ("INSTANCE_QUERY", "INSTANCE_CONSOLE", "GROUP_VERIFY_DISKS", "GROUP_QUERY")
_UNFINISHED = frozenset(constants.JOBS_PENDING | {constants.JOB_STATUS_RUNNING})


@dataclass(frozen=True)
class Candidate:
    """An image that may be removed, `origin` is what Ganeti wrote beside it when it was made."""

    spec: VolumeSpec
    image: image.ImageInfo
    leftover: bool
    origin: str


def find(config: ClusterConfig, client: Any = None) -> tuple[list[Candidate], int]:
    """The images that may be removed, and how many others belong to nobody but must stay.

    These stay: images written within a day, or since the start of the oldest unfinished job
    that may create disks; and images with the UUID of an instance that the master daemon
    knows.  The image of a detached disk is not among them.  Raises a `GanetiGlusterError` or
    OSError if a volume does not answer: not to know an image is no reason to remove it.
    """
    client = client or cli.GetClient()
    known = {uuid for (uuid,) in client.QueryInstances([], ["uuid"], False)} | config.instances
    before = min([time.time() - YOUNG, *oldest_job(client)])
    result, kept = [], 0
    every = {disk.path for disk in config.disks}
    for spec in config.specs:
        wanted = {disk.path for disk in config.disks if disk.volume == spec.name}
        wanted |= config.detached
        facts = gather_images(spec)
        with connect(spec) as volume:
            for orphan in orphans(facts, wanted, owners=every):
                if not removable(orphan.image, known, before=before, leftover=orphan.leftover):
                    kept += 1
                    continue
                origin = image.get_info(volume, orphan.image.path)
                result.append(Candidate(spec, orphan.image, orphan.leftover, origin))
    return result, kept


def removable(
    info: image.ImageInfo, known: Iterable[str], *, before: float, leftover: bool
) -> bool:
    """Whether an image that no disk names may go; `before` is when it must be older than."""
    if info.mtime >= before:
        return False
    name = info.path.rpartition("/")[2]
    return leftover or not any(name.startswith(uuid) for uuid in known)


def oldest_job(client: Any) -> list[float]:
    """When the oldest unfinished job that may make disks was submitted; empty if none."""
    jobs = client.QueryJobs([], ["status", "summary", "received_ts"])
    times = [
        received[0] + received[1] / 1e6
        for status, summary, received in jobs
        if status in _UNFINISHED and any(map(makes_disks, summary)) and received
    ]
    return [min(times)] if times else []


def makes_disks(summary: str) -> bool:
    """Whether an opcode, by its summary, may make, copy or take away disks."""
    return summary.startswith(_WORDS) and not summary.startswith(_HARMLESS)


def remove(candidate: Candidate) -> bool:
    """Remove an image, if it is as it was found and no node has it open; False if not.

    Raises a `GanetiGlusterError` or OSError.
    """
    path, own = candidate.image.path, node_names.own()
    with connect(candidate.spec) as volume, contextlib.ExitStack() as stack:
        instead = names.replaced_image(path)
        if candidate.leftover and instead is not None:
            return _is_still(volume, candidate) and remove_remains(
                volume, path, instead, node=own, nodes=node_names.every()
            )
        try:
            stack.enter_context(locked(volume, path, node=own))
        except (FileNotFoundError, OpenElsewhere):
            return False
        return _is_still(volume, candidate) and image.remove(volume, path)


def _is_still(volume: Volume, candidate: Candidate) -> bool:
    try:
        now = image.stat(volume, candidate.image.path)
    except FileNotFoundError:
        return False
    return (now.mtime, now.size) == (candidate.image.mtime, candidate.image.size)
