"""A real glusterd: the volume under test, and volumes and bricks of a test's own.

The tests run as root on a machine whose glusterd serves TEST_GLUSTER_VOLUME
(default gv0, replica 3 and sharded) and takes bricks of its own; they ask
TEST_GLUSTER_HOST (default: this machine).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR
from typing import Any, TypeVar

import pytest

from ganeti_gluster.core import image
from ganeti_gluster.core.serve.server import ImageServer
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.tools.gfapi import Volume

HOST = os.environ.get("TEST_GLUSTER_HOST", socket.gethostname())
VOLUME = os.environ.get("TEST_GLUSTER_VOLUME", "gv0")
ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20

#: What a program of a test begins with: the same package that the test imports.
PREAMBLE = """\
import importlib.util, os, sys
if os.environ.get("GANETI_GLUSTER_INSTALLED") != "1":
    root = %r
    spec = importlib.util.spec_from_file_location(
        "ganeti_gluster", root + "/lib/__init__.py",
        submodule_search_locations=[root + "/lib", root])
    sys.modules["ganeti_gluster"] = importlib.util.module_from_spec(spec)
from ganeti_gluster.core import image, volume
def connect(name):
    return volume.connect(volume.VolumeSpec.from_params({"host": %r, "volume": name}))
""" % (str(ROOT), HOST)

#: A program that is another node: it has an image's lock, and its word on it, until its
#: input ends.  Arguments: volume, path, the node's number, mode.
ANOTHER_NODE = """
import fcntl
from ganeti_gluster.core.serve import holder
connected = connect(sys.argv[1])
file = connected.open(sys.argv[2], write=True)
file.set_lock_owner(holder.new_owner())
kind = fcntl.F_WRLCK if sys.argv[4] == "exclusive" else fcntl.F_RDLCK
file.lock(kind, wait=len(sys.argv) > 5, pid=int(sys.argv[3]))
if sys.argv[4] == "exclusive":
    word = "%s %s" % (holder.new_word(), sys.argv[3])
    connected.setxattr(sys.argv[2], holder.WORD_ATTRIBUTE, word.encode())
print("locked", flush=True)
sys.stdin.read()
os._exit(0)
"""

T = TypeVar("T")


def wait_for(what: str, condition: Callable[[], T], *, seconds: float = 60) -> T:
    """The first true answer of `condition`; fails the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            pytest.fail("in %g s not seen: %s" % (seconds, what))
        time.sleep(0.05)


def gluster(*args: str) -> ET.Element:
    """The XML answer of a gluster command; glusterd refuses while it is busy."""

    def attempt() -> list[ET.Element]:
        done = subprocess.run(
            ["gluster", "--mode=script", "--xml", *args],
            capture_output=True,
            text=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
        if "Another transaction" in done.stdout or "Locking failed" in done.stdout:
            return []
        answer = ET.fromstring(done.stdout)
        assert answer.findtext("opRet") == "0", "gluster %s: %s" % (
            " ".join(args),
            answer.findtext("opErrstr"),
        )
        return [answer]

    return wait_for("gluster %s is accepted" % " ".join(args), attempt)[0]


@dataclass
class GlusterVolume:
    """A volume whose bricks are directories of this machine."""

    name: str
    bricks: list[Path]
    spec: VolumeSpec = field(init=False)

    def __post_init__(self) -> None:
        self.spec = VolumeSpec.from_params({"host": HOST, "volume": self.name})

    def set(self, option: str, value: str) -> None:
        gluster("volume", "set", self.name, option, value)

    def pids(self) -> list[int]:
        """The bricks' processes in their order, 0 for one that is down."""
        status = gluster("volume", "status", self.name)
        pid = {
            node.findtext("path"): int(node.findtext("pid") or 0)
            for node in status.iter("node")
            if node.findtext("status") == "1"
        }
        return [max(0, pid.get(str(brick), 0)) for brick in self.bricks]

    def kill(self, *indices: int) -> None:
        """Kill bricks as a power loss does, and wait until glusterd knows."""
        pids = self.pids()
        for index in indices:
            os.kill(pids[index], signal.SIGKILL)
        wait_for("the bricks are down", lambda: not any(self.pids()[i] for i in indices))
        left = len(self.bricks) - len(indices)
        with connect(self.spec) as volume:
            wait_for("the client notices", lambda: self.seen(volume) <= left)

    def revive(self) -> None:
        """Start what is down, and wait until this process's client sees it."""

        def all_up() -> bool:
            if not all(self.pids()):
                gluster("volume", "start", self.name, "force")
            return all(self.pids())

        wait_for("all bricks of %s are up" % self.name, all_up)
        with connect(self.spec) as volume:
            wait_for("the client sees them", lambda: self.seen(volume) == len(self.bricks))

    def seen(self, volume: Volume) -> int:
        """How many bricks a client has a connection to."""
        try:
            return volume.getxattr("/", "trusted.glusterfs.pathinfo").count(b"POSIX(")
        except OSError:
            return 0

    def shards(self) -> list[Path]:
        """The pieces of images on the first brick, beyond each image's first."""
        return [p for p in self.bricks[0].glob(".shard/*") if p.name != ".remove_me"]


@pytest.fixture(scope="session")
def spec() -> VolumeSpec:
    """The volume under test."""
    return VolumeSpec.from_params({"host": HOST, "volume": VOLUME})


@pytest.fixture
def directory(spec: VolumeSpec) -> Iterator[str]:
    """A name for a directory of the test's own on the volume, removed with its files."""
    name = "test-%d-%d" % (os.getpid(), time.monotonic_ns())
    yield name
    with connect(spec) as volume:
        _remove_tree(volume, name)


def _remove_tree(volume: Volume, path: str) -> None:
    if not volume.access(path):
        return
    for entry in volume.scandir(path):
        below = "%s/%s" % (path, entry.name)
        if S_ISDIR(entry.stat.mode):
            _remove_tree(volume, below)
        else:
            volume.unlink(below)
    volume.rmdir(path)


@pytest.fixture
def volume(spec: VolumeSpec) -> Iterator[Volume]:
    """A connection to the volume under test."""
    with connect(spec) as connected:
        yield connected


@pytest.fixture(scope="module")
def undo() -> Iterator[contextlib.ExitStack]:
    """What has to be undone after the volumes are deleted, the last first."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def brick_root(undo: contextlib.ExitStack) -> Path:
    """A disk for bricks: GlusterFS confuses files on a container's overlay."""
    root = Path(tempfile.mkdtemp(prefix="gfapi-test-", dir="/var/tmp"))
    undo.callback(shutil.rmtree, root)
    return _mount_disk(root, 4096 * MIB, undo)


@pytest.fixture(scope="module")
def make_volume(brick_root: Path) -> Iterator[Callable[..., GlusterVolume]]:
    """Make and start a volume: `make_volume(name, bricks, *shape, under=…, **options)`."""
    made: list[str] = []

    def make(
        name: str, bricks: int, *shape: str, under: Path | None = None, **options: str
    ) -> GlusterVolume:
        unique = "%s_%d" % (name, os.getpid())
        paths = [(under or brick_root) / unique / str(i) for i in range(bricks)]
        for path in paths:
            path.mkdir(parents=True)
        new = GlusterVolume(unique, paths)
        targets = ["%s:%s" % (socket.gethostname(), path) for path in paths]
        gluster("volume", "create", unique, *shape, *targets, "force")
        made.append(unique)
        for option, value in options.items():
            new.set(option.replace("__", ".").replace("_", "-"), value)
        gluster("volume", "start", unique)
        wait_for("all bricks of %s are up" % unique, lambda: all(new.pids()))
        return new

    yield make
    for name in made:
        with contextlib.suppress(AssertionError):  # a test may have stopped it
            gluster("volume", "stop", name, "force")
        gluster("volume", "delete", name)


@pytest.fixture(scope="module")
def small_disk(brick_root: Path, undo: contextlib.ExitStack) -> Path:
    """A file system of 512 MiB, which can fill up."""
    return _mount_disk(brick_root, 512 * MIB, undo)


def _mount_disk(folder: Path, size: int, undo: contextlib.ExitStack) -> Path:
    disk, mount = folder / "disk.img", folder / "disk"
    mount.mkdir()
    with disk.open("wb") as file:
        file.truncate(size)
    subprocess.run(["mkfs.xfs", "-q", str(disk)], check=True, timeout=60)
    subprocess.run(["mount", "-o", "loop", str(disk), str(mount)], check=True, timeout=60)
    undo.callback(subprocess.run, ["umount", str(mount)], check=True, timeout=60)
    return mount


@pytest.fixture
def run_program() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python text in a process of its own, with `image`, `volume` and `connect`."""

    def run(text: str, *args: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", PREAMBLE + text, *args],
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
            check=False,
            **options,
        )

    return run


@pytest.fixture
def start_program() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """As `run_program`, without waiting; killed at the end of the test."""
    started: list[subprocess.Popen[str]] = []

    def start(text: str, *args: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", PREAMBLE + text, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def wait() -> Callable[..., Any]:
    """`wait(what, condition, seconds=…)`: the condition's first true answer."""
    return wait_for


@pytest.fixture(scope="session")
def gluster_command() -> Callable[..., ET.Element]:
    """Run a gluster command, for its XML answer."""
    return gluster


@pytest.fixture
def path(directory: str, volume: Volume) -> str:
    made = "%s/disk.0" % directory
    image.create(volume, made, 256 * MIB)
    return made


@pytest.fixture
def opened() -> Iterator[Callable[..., ImageServer]]:
    """Open an image by a server that is gone after the test."""
    servers: list[ImageServer] = []

    def open_it(spec: VolumeSpec, path: str, **options: Any) -> ImageServer:
        server = ImageServer(spec, path)
        servers.append(server)
        server.open(**{"number": 1177, "patience": 120, **options})
        return server

    yield open_it
    for server in servers:
        with contextlib.suppress(Exception):
            server.close(force=True)
