"""Points of an image, and what has changed since: the interface for backups."""

from __future__ import annotations

import re
from typing import NamedTuple

from ganeti_gluster import errors
from ganeti_gluster.core.copy.interface import Extent
from ganeti_gluster.core.volume import VolumeSpec

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
#: Points of an image at one time; each makes the server record more.
MOST_POINTS = 8


class PointRefused(errors.GanetiGlusterError):
    """An image cannot have a point now, as during a migration: its next backup copies all."""


class Changes(NamedTuple):
    """What may have changed since a point.

    `extents` are in order, without overlap, and within the image's present size; None if that
    is not known, for the `reason`, a clause like "there is no such point": copy all then.
    """

    extents: list[Extent] | None
    reason: str = ""


def check_name(point: str) -> str:
    """Raise `InvalidParameter` for what cannot name a point: [a-z0-9-], at most 63 characters."""
    if not _NAME.fullmatch(point):
        raise errors.InvalidParameter("%r cannot name a point of an image" % point)
    return point


def begin(spec: VolumeSpec, path: str, point: str) -> None:
    """Record from now on what changes in an image; raises `PointRefused` if that cannot be.

    To be called on the node that has the image open.  If no node has, the caller keeps its lock
    (`serve.hold.locked`, shared is enough).  A point of that name which is there begins anew.
    """
    del spec, path
    check_name(point)
    raise PointRefused("changes are not recorded")


def changed_since(spec: VolumeSpec, path: str, point: str) -> Changes:
    """What may have changed since a point; to be called as `begin`."""
    del spec, path
    check_name(point)
    return Changes(None, "there is no such point")


def drop(spec: VolumeSpec, path: str, point: str) -> None:
    """Record no more for a point; no-op if there is none.  To be called as `begin`."""
    del spec, path
    check_name(point)


def points(spec: VolumeSpec, path: str) -> list[str]:
    """The points of an image, by name; to be called on any node."""
    del spec, path
    return []
