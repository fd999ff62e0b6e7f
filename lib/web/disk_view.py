"""The disks of instances as they are shown: of several sources, put together."""

from __future__ import annotations

from dataclasses import dataclass

from ganeti_gluster.web.facts import Known, ShownDisk, ShownHolder, ShownImage, ShownSnapshot
from ganeti_gluster.web.words import DEGRADED, HEALTHY, NOT_KNOWN, Word


@dataclass(frozen=True)
class DiskView:
    """A disk; `image` is None until its volume has answered, `holders` have it open."""

    disk: ShownDisk
    image: ShownImage | None
    holders: tuple[ShownHolder, ...]
    full: bool

    @property
    def health(self) -> Word:
        """How well it can be used."""
        if self.image is None or (self.image.size is not None and self.image.degraded is None):
            return SPLIT if self.image and self.image.split_brain else NOT_KNOWN
        if self.image.size is None:
            return MISSING
        if self.image.split_brain:
            return SPLIT
        if self.full or any(holder.why for holder in self.holders):
            return WAITS
        return DEGRADED if self.image.degraded else HEALTHY

    @property
    def notes(self) -> list[str]:
        """Why it is not healthy, and why its requests wait."""
        notes = [self.image.state] if self.image and self.image.state else []
        if self.full:
            notes.append("waits: the volume is full")
        elif any(holder.why for holder in self.holders):
            notes += ["waits: %s" % holder.why for holder in self.holders if holder.why]
        return notes


SPLIT = Word("Split-brain", "bad", "cross")
WAITS = Word("Waits", "warn", "half")
MISSING = Word("Missing", "bad", "cross")


def disks_of(
    known: Known, *, instance: str = "", volume: str = "", text: str = ""
) -> list[DiskView]:
    """All disks, or those of an instance or on a volume, or those with a text in their names."""
    images = {(image.volume, image.path): image for image in known.disks.images}
    holders: dict[str, list[ShownHolder]] = {}
    for holder in known.disks.holders:
        holders.setdefault(holder.image, []).append(holder)
    views = []
    for disk in known.cluster.disks:
        name = "%s/%s" % (disk.volume, disk.path)
        if instance not in ("", disk.instance) or volume not in ("", disk.volume):
            continue
        if text and text.lower() not in ("%s %s" % (disk.instance, name)).lower():
            continue
        views.append(
            DiskView(
                disk,
                images.get((disk.volume, disk.path)),
                tuple(holders.get(name, ())),
                name in known.pool.no_space,
            )
        )
    return views


def snapshots_of(known: Known, instance: str) -> list[ShownSnapshot]:
    """The snapshots of an instance, the newest first."""
    found = [one for one in known.disks.snapshots if one.instance == instance]
    return sorted(found, key=lambda one: one.taken, reverse=True)
