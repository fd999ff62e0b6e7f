"""A volume as seen by a client without a connection to one of the bricks."""

from __future__ import annotations

import re

from ganeti_gluster.tools.gfapi.connection import BRICKS_TIMEOUT, CONNECT_TIMEOUT, pooled
from ganeti_gluster.tools.gfapi.volume import Volume

_CLIENT = re.compile(
    r"^volume +\S+\n\s*type +protocol/client\n.*?^end-volume$", re.MULTILINE | re.DOTALL
)
_HOST = re.compile(r"^\s*option +remote-host +(\S+)\s*$", re.MULTILINE)
_PATH = re.compile(r"^(\s*option +remote-subvolume +)(\S+)[ \t]*$", re.MULTILINE)
#: What no host calls a brick of its.
_NOWHERE = "/nowhere"


def without(volume: Volume, brick: str) -> Volume:
    """The volume without a brick, HOST:PATH, by a connection of its own."""
    graph = hide(volume.volfile(), brick)
    target = volume.target._replace(graph=graph + "\n")
    # The host of a brick that is given up is silent, as others may be.
    return Volume(pooled(target, timeout=CONNECT_TIMEOUT + BRICKS_TIMEOUT))


def hide(volfile: str, brick: str) -> str:
    """A client's graph in which one brick is looked for where there is none."""

    def changed(match: re.Match[str]) -> str:
        host, path = _HOST.search(match[0]), _PATH.search(match[0])
        if host is None or path is None or "%s:%s" % (host[1], path[2]) != brick:
            return match[0]
        return _PATH.sub(lambda line: line[1] + _NOWHERE, match[0])

    return _CLIENT.sub(changed, volfile)
