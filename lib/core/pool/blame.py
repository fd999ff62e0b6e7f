"""Which bricks need a heal.  Unlike `heal info` this shows which of the bricks it is.

A brick that is up while another one misses a write links the file in its index.  In a replicated
set it also records on the file who missed the write, in an attribute for the other brick
(`trusted.afr.VOLUME-client-N`).  In a disperse set each brick has the version of the file that it
has (`trusted.ec.version`), which grows.  Runs on the brick's node.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.gfapi import topology

#: Where glusterd keeps the graphs of its volumes.
VOLUMES = Path("/var/lib/glusterd/vols")
_GRAPHS = ("trusted-%s.tcp-fuse.vol", "%s.tcp-fuse.vol")
_PENDING = "trusted.afr."
_PENDING_OPTION = "afr-pending-xattr"
#: Files whose versions are asked for at once, in what a command line can take.
PAGE = 2000
_VERSION = "trusted.ec.version"


def behind(brick: str, volume: str) -> dict[str, int]:
    """How many files each brick is behind with, by HOST:PATH, as the one at `brick` knows.

    Raises a `GanetiGlusterError` or OSError.
    """
    names = attributes(_graph(volume))
    counts: dict[str, int] = {}
    # All of it: where one brick was away for long, few files in it may be of another one.
    for gfid in _index(brick):
        for name in _blamed(_path(brick, gfid)):
            if name in names:
                counts[names[name]] = counts.get(names[name], 0) + 1
    return counts


def versions(
    brick: str, *, after: str = "", gfids: Sequence[str] | None = None
) -> dict[str, list[int]]:
    """The versions of files of a disperse set on the brick at `brick`, by GFID.

    Of `gfids`, or else of the next `PAGE` in the brick's index `after` one.  Each is of the data
    and of the attributes; files that the brick does not have are left out.  Raises OSError.
    """
    if gfids is None:
        gfids = sorted(gfid for gfid in _index(brick) if gfid > after)
    found: dict[str, list[int]] = {}
    for gfid in gfids:
        if len(found) == PAGE:
            break
        try:
            value = os.getxattr(_path(brick, gfid), _VERSION)
        except FileNotFoundError:
            continue
        except OSError as err:
            if err.errno != errno.ENODATA:
                raise
            value = bytes(16)  # made, and not written since
        found[gfid] = [int.from_bytes(value[:8], "big"), int.from_bytes(value[8:16], "big")]
    return found


def attributes(graph: str) -> dict[str, str]:
    """The attribute of each brick in a client's graph, with the brick as HOST:PATH."""
    brick_of = {}
    parsed = {translator.name: translator for translator in topology.translators(graph)}
    for translator in parsed.values():
        names = translator.options.get(_PENDING_OPTION)
        if translator.kind != topology.REPLICATE or not names:
            continue
        for name, child in zip(names.split(","), translator.children, strict=False):
            options = parsed[child].options
            place = "%s:%s" % (options.get("remote-host"), options.get("remote-subvolume"))
            brick_of[_PENDING + name.strip()] = place
    return brick_of


def _graph(volume: str) -> str:
    for name in _GRAPHS:
        path = VOLUMES / volume / (name % volume)
        if path.exists():
            return path.read_text(encoding="utf-8", errors="surrogateescape")
    raise GanetiGlusterError("glusterd has no graph of volume %s in %s" % (volume, VOLUMES))


def _path(brick: str, gfid: str) -> str:
    return os.path.join(brick, ".glusterfs", gfid[:2], gfid[2:4], gfid)


def _index(brick: str) -> Iterator[str]:
    with os.scandir(os.path.join(brick, ".glusterfs/indices/xattrop")) as entries:
        for entry in entries:
            if not entry.name.startswith("xattrop-"):
                yield entry.name


def _blamed(path: str) -> Iterator[str]:
    """The attributes of a file that are not zero."""
    try:
        for name in os.listxattr(path):
            if name.startswith(_PENDING) and any(os.getxattr(path, name)):
                yield name
    except FileNotFoundError:
        return  # removed since
