"""The snapshots of instances, as images on a volume.

A snapshot of some disks of an instance consists of a snapshot of each one's image, with the same
name (`names.snapshot_path`).  It is complete once every image has the attribute that describes it,
which is written after all are copied.
"""

from __future__ import annotations

import contextlib
import errno
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from ganeti_gluster import constants
from ganeti_gluster.core import image
from ganeti_gluster.core.copy.interface import PARTIAL
from ganeti_gluster.core.serve.hold import locked
from ganeti_gluster.errors import GanetiGlusterError, InvalidParameter
from ganeti_gluster.tools import decode, names
from ganeti_gluster.tools.decode import Count, Moment, Name, NotUnderstood
from ganeti_gluster.tools.gfapi import Volume

#: The attribute of each image of a snapshot, a JSON object.
XATTR = "user.ganeti.snapshot"

#: Characters of a snapshot's name.
NAME_LENGTH = 64

# An image with the name that Ganeti gives it: UUID.INDEX.
_IMAGE = re.compile(r"(?P<uuid>[0-9a-f-]{36})\.(?P<index>\d{1,4})")


class NoSuchSnapshot(GanetiGlusterError):
    """The volume has no snapshot of that name of the instance."""


class SnapshotExists(GanetiGlusterError):
    """The instance has a snapshot of that name already."""


class IncompleteSnapshot(GanetiGlusterError):
    """The snapshot was cut short, or has lost an image."""


@dataclass(frozen=True)
class About:
    """The description of a snapshot, which each of its images carries.

    `taken` is in seconds since the epoch, `disks` are the indices of all its disks,
    `live` is whether the guest ran, `rotated` whether newer snapshots replace it.
    """

    instance: Name
    name: Name
    taken: Moment
    disks: tuple[Count, ...]
    live: bool = False
    rotated: bool = False


@dataclass(frozen=True)
class Snapshot:
    """A snapshot on a volume: `images` by disk index; `about` is None if none describes it.

    `leftovers` are the images that were never completed; `size` and `allocated` are in
    bytes.
    """

    instance_uuid: str
    name: str
    about: About | None
    images: dict[int, image.ImageInfo]
    leftovers: tuple[image.ImageInfo, ...]

    @property
    def complete(self) -> bool:
        return self.about is not None and set(self.about.disks) <= set(self.images)

    @property
    def allocated(self) -> int:
        return sum(info.allocated for info in self._all)

    @property
    def taken(self) -> float:
        if self.about is not None:
            return self.about.taken
        return min((info.mtime for info in self._all), default=0.0)

    @property
    def _all(self) -> list[image.ImageInfo]:
        return [*self.images.values(), *self.leftovers]


def check_name(name: object) -> str:
    """A snapshot's name, which is not Ganeti's own; raises `InvalidParameter`."""
    text = names.snapshot_name(name)
    if len(text) > NAME_LENGTH:
        raise InvalidParameter(
            "snapshot name %.70s: it is longer than %d characters" % (text, NAME_LENGTH)
        )
    if text == names.BACKUP_SNAPSHOT:
        raise InvalidParameter("snapshot name %s: it is reserved for Ganeti's backups" % text)
    if text.endswith(PARTIAL):
        raise InvalidParameter("snapshot name %s: it must not end with %s" % (text, PARTIAL))
    return text


def default_name(moment: float) -> str:
    """A name made from the time, which sorts by it: `20261121-090805`, in UTC."""
    return time.strftime("%Y%m%d-%H%M%S", time.gmtime(moment))


def find_all(volume: Volume, instance_uuid: str, disks: Mapping[int, str]) -> list[Snapshot]:
    """The snapshots of an instance, the oldest first; what is not whole is among them.

    `disks` are the paths of its images by index; snapshots of a disk that it has no
    more are found by its UUID.  Those that Ganeti makes for a backup are among them.
    """
    where = {path.rpartition("/")[0] for path in disks.values()} | {constants.IMAGE_DIRECTORY}
    images: list[image.ImageInfo] = []
    for directory in sorted(where - {""}):
        try:
            images += image.list_images(volume, directory).images
        except FileNotFoundError:
            continue
    return find_in(volume, images, instance_uuid, disks)


def find_in(
    volume: Volume,
    images: Sequence[image.ImageInfo],
    instance_uuid: str,
    disks: Mapping[int, str],
) -> list[Snapshot]:
    """As `find_all`, among images that were listed."""
    entries = {}
    for info in images:
        entry = _entry(info.path, instance_uuid, disks)
        if entry is not None:
            entries[info.path] = entry
    images = [info for info in images if info.path in entries]
    return group(
        instance_uuid,
        [(entries[info.path], info, _about(volume, info.path)) for info in images],
    )


@dataclass(frozen=True)
class Entry:
    """What a snapshot's path says: of which disk it is, its name, whether it is whole."""

    index: int
    name: str
    whole: bool


def _entry(path: str, instance_uuid: str, disks: Mapping[int, str]) -> Entry | None:
    whole = not path.endswith(PARTIAL)
    parts = names.split_snapshot_path(path if whole else path[: -len(PARTIAL)])
    if parts is None:
        return None
    for index, disk in disks.items():
        if disk == parts[0]:
            return Entry(index, parts[1], whole)
    match = _IMAGE.fullmatch(parts[0].rpartition("/")[2])
    if match is None or match["uuid"] != instance_uuid:
        return None
    return Entry(int(match["index"]), parts[1], whole)


def group(
    instance_uuid: str, images: Sequence[tuple[Entry, image.ImageInfo, About | None]]
) -> list[Snapshot]:
    """Put images together to snapshots, the oldest first."""
    snapshots: dict[str, Snapshot] = {}
    for entry, info, about in images:
        name = entry.name
        old = snapshots.get(name) or Snapshot(instance_uuid, name, None, {}, ())
        if not entry.whole or about is None or about.name != name:
            new = replace(old, leftovers=(*old.leftovers, info))
        else:
            new = replace(old, about=about, images={**old.images, entry.index: info})
        snapshots[name] = new
    return sorted(snapshots.values(), key=lambda each: (each.taken, each.name))


def find(volume: Volume, instance_uuid: str, disks: Mapping[int, str], name: str) -> Snapshot:
    """One snapshot; raises `NoSuchSnapshot`."""
    for snapshot in find_all(volume, instance_uuid, disks):
        if snapshot.name == name:
            return snapshot
    raise NoSuchSnapshot(
        "volume %s has no snapshot %s of this instance" % (volume.name, name),
        hint="gnt-gluster disk snapshots lists the existing ones",
    )


def find_complete(
    volume: Volume, instance_uuid: str, disks: Mapping[int, str], name: str
) -> Snapshot:
    """One snapshot that is whole; raises `NoSuchSnapshot` or `IncompleteSnapshot`."""
    snapshot = find(volume, instance_uuid, disks, name)
    if not snapshot.complete:
        raise IncompleteSnapshot(
            "snapshot %s is incomplete: it was interrupted, or one of its images was removed"
            % name,
            hint="remove it with gnt-gluster disk remove-snapshot",
        )
    return snapshot


def check_free(volume: Volume, instance_uuid: str, disks: Mapping[int, str], name: str) -> None:
    """Raise `SnapshotExists` where there is something of that name."""
    if any(snapshot.name == name for snapshot in find_all(volume, instance_uuid, disks)):
        raise SnapshotExists(
            "volume %s already has a snapshot %s of this instance" % (volume.name, name),
            hint="choose another name, or remove it with gnt-gluster disk remove-snapshot",
        )


def complete(volume: Volume, disks: Mapping[int, str], about: About) -> None:
    """Tell of a snapshot whose images are all there, which makes it whole."""
    text = json.dumps(asdict(about)).encode()
    paths = [names.snapshot_path(disks[index], about.name) for index in about.disks]
    for path in paths:
        volume.setxattr(path, XATTR, text)
    for path in paths:
        image.settle(volume, path)


def remove(volume: Volume, snapshot: Snapshot, *, node: str) -> None:
    """Remove a snapshot; cut short, the rest of it is not whole and can be removed.

    Raises `OpenElsewhere` if an image of it is being read, or written still; for `node` see
    `hold.locked`.
    """
    every = (*snapshot.images.values(), *snapshot.leftovers)
    with contextlib.ExitStack() as stack:
        # All of them first, so that one that is refused leaves the snapshot whole.
        for info in every:
            with contextlib.suppress(FileNotFoundError):
                stack.enter_context(locked(volume, info.path, node=node))
        for info in every:
            image.remove(volume, info.path)


def outdated(snapshots: Sequence[Snapshot], keep: int) -> list[Snapshot]:
    """Those of the rotation that give way when `keep` of it stay, the oldest first."""
    if keep < 1:
        raise InvalidParameter(
            "cannot keep %d snapshots: at least one snapshot must be kept" % keep
        )
    rotated = [each for each in snapshots if each.complete and each.about and each.about.rotated]
    return rotated[:-keep]


def _about(volume: Volume, path: str) -> About | None:
    try:
        return parse(volume.getxattr(path, XATTR))
    except OSError as err:
        if err.errno in (errno.ENODATA, errno.ENOENT):
            return None
        raise


def parse(value: bytes) -> About | None:
    """The description in an image's attribute; None if this version cannot read it."""
    try:
        return decode.build(About, decode.plain(value.rstrip(b"\0")))
    except NotUnderstood:
        return None
