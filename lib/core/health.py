"""The state of an image as this client sees it on its volume.

Which bricks answer is read from virtual attributes and compared with the
volume's topology.  Pending heals cannot be read through libgfapi; for these see
`gluster volume heal VOLUME info`.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ganeti_gluster.tools import names
from ganeti_gluster.tools.gfapi import Volume, topology
from ganeti_gluster.tools.gfapi.topology import Brick, Subvolume, Topology

#: Which bricks hold a file: `(<REPLICATE:gv0-replicate-0>
#: <POSIX(/srv/brick):node1:/srv/brick/ganeti/x> …)`, without those that are down.
PATHINFO = "trusted.glusterfs.pathinfo"
#: The nodes of a disperse set in the order of its bricks; zeroes for one down.
NODE_UUIDS = "trusted.glusterfs.list-node-uuids"
#: `data-split-brain:yes    metadata-split-brain:no    Choices:…`, or a sentence.
SPLIT_BRAIN = "replica.split-brain-status"

_POSIX = re.compile(r"<POSIX\((?P<path>.*?)\):(?P<host>[^:>]*):")
_SET = re.compile(r"<REPLICATE:(?P<name>[^>]*)>")
_NO_NODE = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True)
class ImageHealth:
    """The health of an image: `detail` describes it, and is empty if all is well.

    `degraded`: not all of its bricks answer; None if that is unknown.  `split_brain`: its
    copies contradict each other.  `healing`: whether a copy is still stale; None, because
    libgfapi does not report it.
    """

    degraded: bool | None
    split_brain: bool
    healing: bool | None
    detail: str


def check(volume: Volume, path: str) -> ImageHealth:
    """The health of one image; ENOENT if there is none.

    On a sharded volume that is also distributed an image lies on all bricks, so
    all count.  A split-brain shows for the image's first piece only.
    """
    names.image_path(path)
    shape = topology.parse(volume.volfile())
    everywhere = shape.sharded and shape.distributed
    try:
        volume.lstat(path)
        missing = _missing(volume, "/" if everywhere else path, shape)
        split = _is_split(volume, path)
    except OSError as err:
        if err.errno == errno.EIO:
            return ImageHealth(None, True, None, "the image cannot be read: split-brain")
        if err.errno == errno.ENOTCONN:
            return ImageHealth(True, False, None, "too few bricks answer")
        raise
    words = ["split-brain"] if split else []
    if missing:
        words.append(missing)
    elif missing is None:
        words.append("volume %s does not report which bricks answer" % volume.name)
    degraded = None if missing is None else bool(missing)
    return ImageHealth(degraded, split, None, "; ".join(words))


def _missing(volume: Volume, path: str, shape: Topology) -> str | None:
    """Which bricks do not answer, in words; None if this is unknown."""
    if shape.dispersed:
        if shape.distributed:
            return None  # in which order the sets come is not known
        return absent_nodes(_text(volume, path, NODE_UUIDS), shape.bricks)
    pathinfo = _text(volume, path, PATHINFO)
    return absent_bricks(pathinfo, tuple(_holders(pathinfo, shape, everywhere=path == "/")))


def _holders(pathinfo: str, shape: Topology, *, everywhere: bool) -> Iterator[Brick]:
    sets = {match["name"] for match in _SET.finditer(pathinfo)}
    for subvolume in shape.subvolumes:
        if everywhere or subvolume.name in sets or _holds_alone(pathinfo, subvolume):
            yield from subvolume.bricks


def _holds_alone(pathinfo: str, subvolume: Subvolume) -> bool:
    return subvolume.kind == "single" and not absent_bricks(pathinfo, subvolume.bricks)


def absent_bricks(pathinfo: str, expected: Sequence[Brick]) -> str:
    """Which of the expected bricks a pathinfo lacks, in words; empty if none."""
    bricks = [(match["path"], match["host"]) for match in _POSIX.finditer(pathinfo)]
    absent = list(expected)
    certain = True
    for path, host in bricks:
        same_path = [brick for brick in absent if brick.path == path]
        same_host = [brick for brick in same_path if _is_host(brick.host, host)]
        if same_host or same_path:
            # A brick named by address cannot be told from others of the same path.
            certain = certain and bool(same_host or len(same_path) == 1)
            absent.remove((same_host or same_path)[0])
    return _sentence(absent, expected, certain=certain)


def absent_nodes(uuids: str, expected: Sequence[Brick]) -> str | None:
    """Which of the expected bricks a list of node UUIDs marks as down."""
    listed = uuids.split()
    if len(listed) != len(expected):
        return None
    absent = [brick for uuid, brick in zip(listed, expected, strict=True) if uuid == _NO_NODE]
    return _sentence(absent, expected, certain=True)


def _sentence(absent: Sequence[Brick], expected: Sequence[Brick], *, certain: bool) -> str:
    if not absent:
        return ""
    if certain:
        which = ", ".join("%s:%s" % (brick.host, brick.path) for brick in absent)
    else:
        which = "%d of %d" % (len(absent), len(expected))
    return "bricks that do not answer: %s" % which


def _is_host(configured: str, reported: str) -> bool:
    return configured.split(".")[0] == reported.split(".")[0]


def _is_split(volume: Volume, path: str) -> bool:
    try:
        return "split-brain:yes" in _text(volume, path, SPLIT_BRAIN)
    except OSError as err:
        # Not replicated; or a replica is down, and then nothing contradicts.
        if err.errno in (errno.EOPNOTSUPP, errno.ENODATA, errno.EAGAIN):
            return False
        raise


def _text(volume: Volume, path: str, attribute: str) -> str:
    return volume.getxattr(path, attribute).decode("utf-8", "replace").rstrip("\0")
