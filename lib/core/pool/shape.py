"""The shape of a volume: how many bricks belong together, and what a loss costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ganeti_gluster.errors import InvalidParameter
from ganeti_gluster.tools.gluster_cli import VolumeInfo


@dataclass(frozen=True)
class Shape:
    """`replica` counts all copies; with an arbiter the last of three holds names alone.

    A dispersed volume has `disperse` bricks in a set, of which any `redundancy` may
    be lost; `replica` is 1 then.
    """

    replica: int = 3
    arbiter: int = 0
    disperse: int = 0
    redundancy: int = 0

    @classmethod
    def of(cls, volume: VolumeInfo) -> Shape:
        """The shape of a volume that there is."""
        return cls(volume.replica, volume.arbiter, volume.disperse, volume.redundancy)

    @classmethod
    def wanted(
        cls,
        *,
        replica: int | None = None,
        arbiter: int | None = None,
        disperse: int | None = None,
        redundancy: int | None = None,
    ) -> Shape:
        """From options of which most are left out; raises `InvalidParameter`."""
        if disperse is None:
            if redundancy is not None:
                raise InvalidParameter("redundancy belongs to a dispersed volume")
            return cls._replicated(3 if replica is None else replica, arbiter or 0)
        if replica is not None or arbiter:
            raise InvalidParameter("a volume is either replicated or dispersed")
        if redundancy is None:
            redundancy = (disperse - 1) // 2
        if disperse < 3 or not 1 <= redundancy <= (disperse - 1) // 2:
            raise InvalidParameter(
                "disperse %d with redundancy %d: it needs at least 3 bricks, and a redundancy of"
                " at least 1 and less than half of them" % (disperse, redundancy)
            )
        return cls(1, 0, disperse, redundancy)

    @classmethod
    def _replicated(cls, replica: int, arbiter: int) -> Shape:
        if replica < 1:
            raise InvalidParameter("replica %d: it must be a number of copies" % replica)
        if arbiter not in (0, 1) or (arbiter and replica != 3):
            raise InvalidParameter(
                "arbiter %d with replica %d: only one arbiter, with replica 3, is possible"
                % (arbiter, replica)
            )
        return cls(replica, arbiter)

    @property
    def set_size(self) -> int:
        """The number of bricks that belong together."""
        return self.disperse or self.replica

    @property
    def replicated(self) -> bool:
        """Whether files have copies."""
        return self.replica > 1

    def words(self) -> list[str]:
        """The shape as `gluster volume create` expects it."""
        if self.disperse:
            return ["disperse", str(self.disperse), "redundancy", str(self.redundancy)]
        if not self.replicated:
            return []
        return ["replica", str(self.replica), *(["arbiter", "1"] if self.arbiter else [])]

    def dangers(self) -> list[str]:
        """Why images should not be kept on such a volume, for which one has to force it."""
        if self.disperse:
            return []
        if self.replica == 1:
            return ["each image is on a single brick and is lost if its disk fails"]
        if self.replica == 2:
            return [
                "with two copies, the failure of one server either stops all writes or leads to a"
                " split-brain; use replica 3, or replica 3 with arbiter 1"
            ]
        return []

    def remarks(self) -> list[str]:
        """What to know of the shape."""
        if self.disperse:
            return [
                "small writes to a dispersed volume read and write all bricks of a set: virtual"
                " machines will be slow"
            ]
        return []

    def __str__(self) -> str:
        return " ".join(self.words()) or "distributed, without copies"


def whole_sets(nodes: Sequence[str], shape: Shape) -> tuple[list[str], list[str]]:
    """The nodes that make whole sets, in order, and those that are left over."""
    usable = len(nodes) - len(nodes) % shape.set_size
    return list(nodes[:usable]), list(nodes[usable:])
