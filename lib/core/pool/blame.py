"""Which bricks need a heal, as another brick of their set knows it.

A brick that is up while another one misses a write records that on the file, in an attribute for
the other brick (`trusted.afr.VOLUME-client-N`), and links the file in its index.  Unlike `heal
info` this shows which brick needs the heal.  Runs on the brick's node.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.gfapi import topology

#: Where glusterd keeps the graphs of its volumes.
VOLUMES = Path("/var/lib/glusterd/vols")
_GRAPHS = ("trusted-%s.tcp-fuse.vol", "%s.tcp-fuse.vol")
_PENDING = "trusted.afr."
_PENDING_OPTION = "afr-pending-xattr"
#: Files of the index that are examined: more show nothing new.
LIMIT = 20_000


def behind(brick: str, volume: str) -> dict[str, int]:
    """How many files each brick is behind with, by HOST:PATH, as the one at `brick` knows.

    Raises a `GanetiGlusterError` or OSError.
    """
    names = attributes(_graph(volume))
    counts: dict[str, int] = {}
    for gfid in itertools.islice(_index(brick), LIMIT):
        path = os.path.join(brick, ".glusterfs", gfid[:2], gfid[2:4], gfid)
        for name in _blamed(path):
            if name in names:
                counts[names[name]] = counts.get(names[name], 0) + 1
    return counts


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
