"""The manifest of a backup: what it is of, and where the index of each disk is."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Any

from ganeti_gluster.core.backup import codec, index
from ganeti_gluster.core.backup.codec import DIGEST
from ganeti_gluster.core.backup.errors import Damaged
from ganeti_gluster.core.backup.index import Reference
from ganeti_gluster.core.backup.pack import BLOBS, ID, Place
from ganeti_gluster.errors import InvalidParameter
from ganeti_gluster.tools import decode, names
from ganeti_gluster.tools.decode import Between, Count, Matches, Moment, Name, NotUnderstood

FORMAT = 1
#: The directory of all manifests, and how they end.
DIRECTORY = "backups"
SUFFIX = ".json"
#: Characters of a backup's name, and bytes of a manifest.
NAME_LENGTH = 64
LONGEST = 4 << 20

Hex = Annotated[str, Matches(r"[0-9a-f]{32}")]


@dataclass(frozen=True)
class Root:
    """Where the root of a disk's index is."""

    pack: Hex
    number: Annotated[int, Between(0, BLOBS - 1)]
    digest: Hex

    @classmethod
    def of(cls, reference: Reference) -> Root:
        """The same as a `Reference`."""
        place = reference.place
        return cls(place.pack.hex(), place.number, reference.digest.hex())

    @property
    def reference(self) -> Reference:
        """As the index has it."""
        return Reference(Place(bytes.fromhex(self.pack), self.number), bytes.fromhex(self.digest))


@dataclass(frozen=True)
class DiskBackup:
    """A disk in a backup; sizes are bytes.

    `data` are those that are not zeroes, `new` those of them that are not in the backup before,
    `read` those that were read.  `point` is what the image's server was asked for when it was
    taken, "" if nothing.  `full` says why all was read, "" if not.
    """

    index: Count
    uuid: Name
    size: Annotated[int, Between(1, index.LARGEST)]
    root: Root | None
    data: Count
    new: Count
    read: Count
    point: Name = ""
    full: Annotated[str, decode.Longest(4096)] = ""


@dataclass(frozen=True)
class Manifest:
    """A backup; moments are seconds since the epoch.

    `live` tells that the guest ran, `frozen` that its agent had its file systems written and
    at rest.  `previous` is the backup that it was compared with, "" if none; `stored` are the
    bytes that it added to the repository.  `configuration` is what Ganeti knew of the instance.
    """

    format: Annotated[int, Between(FORMAT, FORMAT)]
    instance: Name
    instance_uuid: Name
    cluster: Name
    name: Name
    taken: Moment
    finished: Moment
    live: bool
    frozen: bool
    previous: Name
    stored: Count
    disks: tuple[DiskBackup, ...]
    configuration: Annotated[str, decode.Longest(LONGEST)] = field(default="{}", repr=False)

    @property
    def size(self) -> int:
        """The bytes of its disks."""
        return sum(disk.size for disk in self.disks)

    @property
    def data(self) -> int:
        """The bytes of its disks that are not zeroes."""
        return sum(disk.data for disk in self.disks)

    @property
    def new(self) -> int:
        """The bytes of its disks that are not in the backup before."""
        return sum(disk.new for disk in self.disks)

    @property
    def full(self) -> bool:
        """Whether all of its disks were read."""
        return all(disk.full for disk in self.disks)

    def disk(self, number: int) -> DiskBackup | None:
        """Its disk of that index."""
        return next((disk for disk in self.disks if disk.index == number), None)


def check_name(name: object) -> str:
    """A backup's name; raises `InvalidParameter`."""
    text = names.snapshot_name(name, "backup name")
    if len(text) > NAME_LENGTH:
        raise InvalidParameter(
            "backup name %.70s: it is longer than %d characters" % (text, NAME_LENGTH)
        )
    return text


def directory(instance: str) -> str:
    """Where the manifests of an instance are."""
    return "%s/%s" % (DIRECTORY, names.host(instance))


def path(instance: str, name: str) -> str:
    """Where a manifest is."""
    return "%s/%s%s" % (directory(instance), check_name(name), SUFFIX)


def dump(manifest: Manifest) -> bytes:
    """The manifest as it is stored."""
    body = decode.as_data(manifest)
    return json.dumps({"digest": _digest(body), "manifest": body}).encode()


def load(data: bytes, instance: str, name: str) -> Manifest:
    """A manifest that `dump` wrote for this backup; raises `Damaged`."""
    what = "the manifest of backup %s of %s" % (name, instance)
    try:
        whole = decode.plain(data, longest=LONGEST)
        body = whole["manifest"] if isinstance(whole, dict) else None
        if not isinstance(body, dict) or whole.get("digest") != _digest(body):
            raise Damaged("%s is damaged" % what)
        manifest = decode.build(Manifest, body)
    except NotUnderstood as err:
        raise Damaged("%s is not understood: %s" % (what, err.detail)) from err
    except KeyError as err:
        raise Damaged("%s is damaged" % what) from err
    if (manifest.instance, manifest.name) != (instance, name):
        raise Damaged("%s is that of another backup" % what)
    if len({disk.index for disk in manifest.disks}) != len(manifest.disks):
        raise Damaged("%s has a disk twice" % what)
    return manifest


def _digest(body: dict[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return codec.digest(text.encode()).hex()


assert DIGEST == ID == 16, "Hex is of both"
