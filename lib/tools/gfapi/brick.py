"""The bricks of a volume one by one, without the translators that combine them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import names
from ganeti_gluster.tools.gfapi.connection import pooled
from ganeti_gluster.tools.gfapi.probe import PROBE_TIMEOUT
from ganeti_gluster.tools.gfapi.volume import Volume

_AT_ONCE = 8

# Without the parser of `topology`, which takes long to load.
_CLIENT = re.compile(
    r"^volume +\S+\n\s*type +protocol/client\n.*?^end-volume$", re.MULTILINE | re.DOTALL
)
_HOST = re.compile(r"^\s*option +remote-host +(\S+)\s*$", re.MULTILINE)

T = TypeVar("T")


def clients(volfile: str) -> dict[str, list[str]]:
    """The translators of a client's graph that each connect to a brick, by its host."""
    by_host: dict[str, list[str]] = {}
    for match in _CLIENT.finditer(volfile):
        host = _HOST.search(match[0])
        if host is not None:
            by_host.setdefault(host[1], []).append(match[0])
    return by_host


def ask_each(volume: Volume, question: Callable[[Volume], T]) -> list[T]:
    """What each of a volume's bricks answers, asked as a volume of its own.

    A brick has the names of the volume, of a sharded file the first piece.  One that
    cannot be connected within `PROBE_TIMEOUT` seconds, or answers with an error, is
    left out.
    """

    def ask(host: str, graph: str) -> list[T]:
        target = volume.target._replace(servers=((host, names.DEFAULT_PORT),), graph=graph + "\n")
        try:
            brick = Volume(pooled(target, timeout=PROBE_TIMEOUT))
            return [question(brick)]
        except (GanetiGlusterError, OSError):
            return []

    # Late, since few get here, and not for nothing.
    from concurrent.futures import ThreadPoolExecutor

    pairs = [(host, text) for host, texts in clients(volume.volfile()).items() for text in texts]
    with ThreadPoolExecutor(_AT_ONCE) as executor:
        return [answer for answers in executor.map(lambda p: ask(*p), pairs) for answer in answers]
