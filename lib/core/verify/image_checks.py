"""Checks of images against Ganeti's configuration."""

from __future__ import annotations

import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ganeti_gluster.core.copy.interface import PARTIAL
from ganeti_gluster.core.image import ImageInfo
from ganeti_gluster.core.verify.codes import WARNING
from ganeti_gluster.core.verify.facts import Disk, ImageFacts, NodeFacts
from ganeti_gluster.core.verify.finding import Finding
from ganeti_gluster.core.verify.volume_checks import duration
from ganeti_gluster.tools.names import BACKUP_SNAPSHOT, replaced_image, split_snapshot_path

#: Seconds for which an image without an instance may be one in the making.
YOUNG = 24 * 3600.0


@dataclass(frozen=True)
class Orphan:
    """An image that no disk in the configuration names; `leftover`: a copy or snapshot."""

    image: ImageInfo
    leftover: bool


def check_images(
    facts: ImageFacts,
    disks: Sequence[Disk],
    *,
    now: float,
    volume_whole: bool = True,
    elsewhere: Mapping[str, str] | None = None,
    detached: Collection[str] = (),
) -> Iterator[Finding]:
    """Images and disks of one volume laid side by side; `now` in seconds since the epoch.

    Where the volume is not whole an image that does not show is not missing.  `elsewhere`:
    the volumes on which images are that lack here, by their paths.  `detached`: the images of
    disks that Ganeti keeps without an instance.
    """
    other = elsewhere or {}
    there = {image.path: image for image in facts.images}
    wanted = {disk.path: disk for disk in disks if disk.volume == facts.volume}
    for path, disk in sorted(wanted.items()):
        image = there.get(path)
        if image is not None:
            yield from _check_image(image, disk, facts.root)
        elif path in other:
            text = "%s is on volume %s, not on %s" % (disk.title, other[path], facts.volume)
            yield Finding.of("IMAGE_ELSEWHERE", path, text, volume=other[path])
        elif volume_whole:
            text = "%s is not on volume %s" % (disk.title, facts.volume)
            yield Finding.of("IMAGE_MISSING", path, text)
    moved = {disk.path: disk for disk in disks if disk.volume != facts.volume}
    for orphan in orphans(facts, {*wanted, *detached}, owners=moved):
        if now - orphan.image.mtime < YOUNG:
            continue
        if orphan.leftover:
            yield Finding.of("LEFTOVER", orphan.image.path, _size_and_age(orphan.image, now))
        else:
            elsewhere_now = moved.get(orphan.image.path)
            why = (
                "%s is on volume %s" % (elsewhere_now.title, elsewhere_now.volume)
                if elsewhere_now is not None
                else "it belongs to no instance of this cluster"
            )
            text = "%s, %s" % (why, _size_and_age(orphan.image, now))
            yield Finding.of("IMAGE_ORPHAN", orphan.image.path, text)
    for name in facts.unreadable:
        yield Finding.of(
            "NAME_UNREADABLE", facts.volume, ascii(name.encode("utf-8", "surrogateescape"))
        )


def _check_image(image: ImageInfo, disk: Disk, root: tuple[int, int]) -> Iterator[Finding]:
    if image.size != disk.size:
        yield Finding.of(
            "IMAGE_SIZE",
            image.path,
            "%s has %d bytes, but %d in the configuration" % (disk.title, image.size, disk.size),
            severity=WARNING if image.size > disk.size else None,
        )
    if (image.uid, image.gid) != root:
        yield Finding.of(
            "IMAGE_OWNER",
            image.path,
            "%s belongs to %d:%d instead of %d:%d" % (disk.title, image.uid, image.gid, *root),
        )
    mode = stat.S_IMODE(image.mode)
    if mode & 0o077:
        yield Finding.of("IMAGE_MODE", image.path, "%s has mode %04o" % (disk.title, mode))


def _size_and_age(image: ImageInfo, now: float) -> str:
    return "%d MiB, last written %s ago" % (image.size >> 20, duration(now - image.mtime))


def orphans(
    facts: ImageFacts, wanted: Collection[str], *, owners: Collection[str] = ()
) -> list[Orphan]:
    """The images that no disk in the configuration names, snapshots of such included.

    A snapshot of an instance's disk belongs to the instance; but one that Ganeti
    made to take a backup, a copy that never became whole, and what a restoration
    that was cut short had beside the disk, are left over.  `owners` are the disks on other
    volumes, of which there may be snapshots here.
    """
    result = []
    for image in facts.images:
        if image.path in wanted:
            continue
        split = split_snapshot_path(image.path)
        leftover = (
            image.path.endswith(PARTIAL)
            or (split is not None and split[1] == BACKUP_SNAPSHOT)
            or replaced_image(image.path) in wanted
        )
        if leftover or split is None or (split[0] not in wanted and split[0] not in owners):
            result.append(Orphan(image, leftover))
    return result


def check_exports(nodes: Sequence[NodeFacts], expected: Collection[str]) -> Iterator[Finding]:
    """Block devices of the kernel that belong to no image of an instance.

    `expected` are the keys of the images of all instances; a device whose exporter has
    died is the node's own finding.
    """
    for node in nodes:
        for export in node.exports:
            if export.answers and export.key not in expected:
                yield Finding.of(
                    "EXPORT_STALE", node.node, "the export %s belongs to no instance" % export.key
                )
