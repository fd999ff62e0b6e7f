"""Points of an image, and what has changed since: the interface for backups."""

from __future__ import annotations

import contextlib
import re
import time
from typing import NamedTuple

from ganeti_gluster import errors
from ganeti_gluster.core.changed.check import check
from ganeti_gluster.core.changed.record import (
    CLOSED,
    LARGEST,
    LOST,
    MOST_POINTS,
    PIECE,
    Head,
    directory_of,
    grown,
    new,
    ranges,
    records_in,
)
from ganeti_gluster.core.copy.interface import Extent
from ganeti_gluster.core.serve import control, files
from ganeti_gluster.core.serve.control import SERVING
from ganeti_gluster.core.serve.files import EXCLUSIVE
from ganeti_gluster.core.serve.server import CHANGE_SECONDS, ImageServer
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.tools.gfapi import Volume

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


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
    (`serve.hold.locked`, shared is enough).  A point of that name which is there starts again.
    """
    check_name(point)
    server = ImageServer(spec, path)
    if server.status() is not None:
        _ask(server, "point %s" % point)
        return
    with connect(spec) as volume:
        found = volume.lstat(path)
        if found.size > LARGEST:
            raise PointRefused("image %s is larger than 64 TiB" % path)
        directory = directory_of(found.inode)
        _drop(volume, directory, point)
        if len(records_in(volume, directory)) >= MOST_POINTS:
            raise PointRefused("image %s has %d points already" % (path, MOST_POINTS))
        new(volume, directory, point).make(Head(CLOSED, time.time(), found.size))


def changed_since(spec: VolumeSpec, path: str, point: str) -> Changes:
    """What may have changed since a point; to be called as `begin`."""
    check_name(point)
    server = ImageServer(spec, path)
    status = server.status()
    with connect(spec) as volume:
        found = volume.lstat(path)
        records = records_in(volume, directory_of(found.inode))
        record = next((one for one in records if one.point == point), None)
        if record is None:
            return Changes(None, "there is no such point")
        head = record.head() if status is not None else check(volume, path).get(point)
        if head is None:
            return Changes(None, "there is no such point")
        if head.state == LOST:
            return Changes(None, head.why)
        size = found.size
        if status is not None and status.state != SERVING:
            return Changes(None, "the storage of the image is unavailable")
        if status is not None and point not in status.points:
            return Changes(None, "the server of the image does not record changes since then")
        if status is None or status.mode != EXCLUSIVE:  # all is on the volume where it is shared
            bits = record.bits(head, size)
        else:
            size = status.size
            bits = _in_memory(server, point, size)
    if size < head.size:
        return Changes(None, "the image has become smaller")
    grown(bits, head.size, size)
    return Changes([Extent(*each) for each in ranges(bits, size)])


def drop(spec: VolumeSpec, path: str, point: str) -> None:
    """Record no more for a point; no-op if there is none.  To be called as `begin`.

    Raises `PointRefused` during a migration.
    """
    check_name(point)
    server = ImageServer(spec, path)
    if server.status() is not None:
        _ask(server, "drop %s" % point)
        return
    with connect(spec) as volume:
        directory = directory_of(volume.lstat(path).inode)
        _drop(volume, directory, point)
        if not records_in(volume, directory):
            with contextlib.suppress(OSError):  # what was cut short is there
                volume.rmdir(directory)


def points(spec: VolumeSpec, path: str) -> list[str]:
    """The points of an image, by name; to be called on any node."""
    with connect(spec) as volume:
        records = records_in(volume, directory_of(volume.lstat(path).inode))
    return sorted(record.point for record in records)


def _drop(volume: Volume, directory: str, point: str) -> None:
    for record in records_in(volume, directory):
        if record.point == point:
            record.drop()


def _ask(server: ImageServer, question: str) -> None:
    answer = control.ask(server.key, question, timeout=CHANGE_SECONDS)
    if "ok" not in answer:
        raise PointRefused(
            "changes of image %s cannot be recorded: %s"
            % (server.path, answer.get("error", "its server ended"))
        )


def _in_memory(server: ImageServer, point: str, size: int) -> bytearray:
    """The bits that a server has in its memory."""
    with open(files.path(server.key, "changed.%s" % point), "rb") as stream:
        return bytearray(stream.read(size // PIECE // 8 + 1))
