"""What a worker is asked to do, and how that goes over a pipe: JSON, a line each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NotRequired, TypedDict

from ganeti_gluster.core.volume import VolfileServer, VolumeSpec
from ganeti_gluster.errors import InvalidParameter
from ganeti_gluster.tools.decode import Count, Moment, Name, Sentence

TAKE, RESTORE, CLONE, REMOVE, COPY = "take", "restore", "clone", "remove", "copy"
MOVE = "move"
#: Of backups: to a repository, and from one.
BACK_UP, FILL = "back up", "fill"
OPERATIONS = (TAKE, RESTORE, CLONE, REMOVE, COPY, MOVE, BACK_UP, FILL)

# What a worker says, in the member "event" of each line.
READY, MESSAGE, PROGRESS, DONE, FAILED = "ready", "message", "progress", "done", "failed"


class Stamps(TypedDict):
    """The old and the new image of a disk, as `image.stamp` tells them."""

    old: Name
    new: Name


class SnapshotResult(TypedDict, total=False):
    """What came of an operation; each has some of it."""

    name: Name
    taken: Moment
    allocated: Count
    disks: list[Count]
    live: bool
    removed: list[Name]
    path: str
    size: Count
    data: Count
    new: Count
    read: Count
    stored: Count
    previous: str
    frozen: bool
    stamps: list[Stamps]


class Message(TypedDict):
    """A worker's message for people."""

    text: Sentence


class Failure(TypedDict):
    """What a worker says of its failure."""

    message: Sentence
    hint: NotRequired[Sentence]


class Moved(TypedDict):
    """A worker's progress: a disk, and the fields of `copy.Progress`."""

    disk: Count
    phase: Name
    done: Count
    total: Count | None
    data: Count
    elapsed: float
    rate: float
    remaining: float | None


@dataclass(frozen=True)
class DiskRequest:
    """A disk of the instance: `path` on the volume of the disks, Ganeti's index and UUID."""

    index: int
    uuid: str
    path: str


@dataclass(frozen=True)
class BackupRequest:
    """What operations on backups need besides.

    `repository` is where it is, as commands name it.  For a backup: `full` reads all and stores
    all again, `freeze` has the guest's agent take part, `cluster` and `configuration` are of the
    instance.  To fill disks: `instance` is what the backup is of, and `sources` are the indices
    in it of the disks of the request.
    """

    repository: str
    full: bool = False
    freeze: bool = True
    cluster: str = ""
    configuration: str = "{}"
    instance: str = ""
    sources: tuple[int, ...] = ()


@dataclass(frozen=True)
class SnapshotRequest:
    """One operation on an instance's snapshots, or on its backups.

    `disks_volume` has the instance's disks, `snapshots_volume` the snapshots, or gets the disks
    by "move".
    `running` is what the caller takes the instance for.  `keep` snapshots of the
    rotation stay, None: this one is not of it.  `limit` is in bytes a second.
    `target` is the path of the image that "clone" and "copy" make; "copy" copies
    one disk as it is now to the volume of the disks, and is no snapshot of ours.
    """

    operation: str
    instance: str
    instance_uuid: str
    name: str
    disks: tuple[DiskRequest, ...]
    disks_volume: VolumeSpec
    snapshots_volume: VolumeSpec
    running: bool
    keep: int | None = None
    limit: int | None = None
    checksum: bool = False
    target: str = ""
    backup: BackupRequest | None = None


def dump(request: SnapshotRequest) -> str:
    """The request as one line."""
    return json.dumps(asdict(request))


def load(line: str) -> SnapshotRequest:
    """A request that `dump` wrote; raises `InvalidParameter` for anything else."""
    try:
        data: dict[str, Any] = json.loads(line)
        data["disks"] = tuple(DiskRequest(**disk) for disk in data["disks"])
        for volume in ("disks_volume", "snapshots_volume"):
            data[volume] = _volume(data[volume])
        if data.get("backup") is not None:
            sources = tuple(data["backup"].pop("sources"))
            data["backup"] = BackupRequest(**data["backup"], sources=sources)
        request = SnapshotRequest(**data)
    except (ValueError, KeyError, TypeError) as err:
        raise InvalidParameter("not a request: %.200s (%s)" % (line, err)) from err
    if request.operation not in OPERATIONS:
        raise InvalidParameter("unknown operation %.80r" % request.operation)
    return request


def _volume(data: Sequence[Any]) -> VolumeSpec:
    name, servers = data
    servers = tuple(VolfileServer(str(host), int(port)) for host, port in servers)
    return VolumeSpec(str(name), servers)
