"""Files that an image server and the programs that start it exchange (src/state.c).

KEY.conf says what to serve, KEY.held describes the lock, KEY.unflushed what was written since the
last flush, KEY.changed.POINT what was changed since a point, and KEY.error why a first start
failed.  KEY.nbd, in a directory of its own, and
KEY.ctl are the server's sockets.  None of them survives a boot: the directories are in memory.
"""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass

from ganeti_gluster import constants
from ganeti_gluster.core.volume import VolfileServer, VolumeSpec
from ganeti_gluster.tools import private

EXCLUSIVE = "exclusive"
SHARED = "shared"


@dataclass(frozen=True)
class Wanted:
    """What a server is to serve.

    `number` is the node's (`holder.node_number`); `word` is unlike any other's and stays on
    the image for as long as it is open; `take` is a word of another use that counts no more.
    `patience` is in seconds.
    """

    spec: VolumeSpec
    path: str
    number: int
    word: str
    mode: str = EXCLUSIVE
    locking: bool = True
    patience: int = 0
    take: str = ""

    def lines(self) -> str:
        """As the server reads it."""
        values: list[tuple[str, object]] = [
            ("volume", self.spec.name),
            ("image", self.path),
            *(("server", "%s %d" % server) for server in self.spec.servers),
            ("number", self.number),
            ("word", self.word),
            ("take", self.take),
            ("mode", self.mode),
            ("locking", "on" if self.locking else "off"),
            ("patience", self.patience),
        ]
        return "".join("%s=%s\n" % value for value in values)


def path(key: str, suffix: str) -> str:
    """The file of a server with this suffix: `conf`, `held`, `error`, `nbd` or `ctl`."""
    directory = constants.IMAGE_SOCKET_DIR if suffix == "nbd" else constants.IMAGE_SERVER_DIR
    return os.path.join(directory, "%s.%s" % (key, suffix))


def make_directories() -> None:
    """Make the directories, where they are missing."""
    private.directory(constants.IMAGE_SERVER_DIR)
    private.directory(constants.IMAGE_SOCKET_DIR)


def write(key: str, wanted: Wanted) -> None:
    """Leave for a server that starts for the first time what it shall serve."""
    make_directories()
    forget(key)
    private.write(path(key, "conf"), wanted.lines())


def read(key: str, suffix: str) -> dict[str, str]:
    """Names and values of a file; empty if there is none."""
    try:
        with open(path(key, suffix), encoding="utf-8", errors="replace") as stream:
            return parse(stream.read())
    except FileNotFoundError:
        return {}


def configured(key: str) -> tuple[VolumeSpec, str]:
    """The volume and the image of a server, from what it was started with."""
    with open(path(key, "conf"), encoding="utf-8") as stream:
        pairs = list(_pairs(stream.read()))
    values = dict(pairs)
    servers = [value.rpartition(" ") for name, value in pairs if name == "server"]
    places = tuple(VolfileServer(host, int(port)) for host, _, port in servers)
    return VolumeSpec(values["volume"], places), values["image"]


def parse(text: str) -> dict[str, str]:
    """Lines of NAME=VALUE; the last one counts, as for `server`, of which there are several."""
    return dict(_pairs(text))


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, sign, value = line.partition("=")
        if sign:
            yield name, value


def forget(key: str) -> None:
    """Remove what there is of a server that has ended."""
    recorded = glob.glob(path(glob.escape(key), "changed.*"))
    suffixes = ("conf", "held", "unflushed", "error", "nbd", "ctl")
    for name in [*(path(key, suffix) for suffix in suffixes), *recorded]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def served() -> list[str]:
    """The servers of this node that have been started, by key, in order."""
    try:
        names = os.listdir(constants.IMAGE_SERVER_DIR)
    except FileNotFoundError:
        return []
    return sorted(name.removesuffix(".conf") for name in names if name.endswith(".conf"))
