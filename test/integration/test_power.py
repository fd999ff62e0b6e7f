"""What was told is done is still so when all bricks lose their power the next moment."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

nbd = pytest.importorskip("nbd")

from ganeti_gluster.core import image  # noqa: E402
from ganeti_gluster.core.changed import record  # noqa: E402
from ganeti_gluster.core.changed.points import begin, drop  # noqa: E402
from ganeti_gluster.core.copy import copy  # noqa: E402
from ganeti_gluster.core.copy.images import ImageSource, NewImage  # noqa: E402
from ganeti_gluster.core.serve.hold import locked  # noqa: E402
from ganeti_gluster.core.serve.holder import WORD_ATTRIBUTE  # noqa: E402
from ganeti_gluster.core.serve.server import ImageServer  # noqa: E402
from ganeti_gluster.core.snapshot import catalogue  # noqa: E402
from ganeti_gluster.core.snapshot.catalogue import About  # noqa: E402
from ganeti_gluster.core.snapshot.replace import Replacement, replace_all  # noqa: E402
from ganeti_gluster.core.volume import connect  # noqa: E402
from ganeti_gluster.tools.gfapi import Volume  # noqa: E402

from .conftest import MIB, GlusterVolume, gluster, wait_for  # noqa: E402

PIECE = 4 * MIB
SIZE = 3 * PIECE
NODE = 1177
PATH = "0f1e-2d3c.0"
OTHER = "0f1e-2d3c.1"


class Bricks:
    """A volume whose bricks are on one disk."""

    def __init__(self, made: GlusterVolume, mount: Path) -> None:
        self.made = made
        self._mount = mount

    def store(self) -> None:
        """Have all that is there so far stored."""
        subprocess.run(["sync", "--file-system", self._mount], check=True, timeout=60)

    def lose_power(self) -> None:
        """What is not stored is gone, as are the bricks' processes; and power is back."""
        argv = ["xfs_io", "-x", "-c", "shutdown", self._mount]
        subprocess.run(argv, check=True, timeout=60)
        pids = self.made.pids()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_for(
            "the bricks are dead", lambda: not any(os.path.exists("/proc/%d" % p) for p in pids)
        )
        device = subprocess.run(
            ["findmnt", "--noheadings", "--output", "SOURCE", self._mount],
            check=True, capture_output=True, text=True, timeout=60,
        ).stdout.strip()  # fmt: skip
        backing = subprocess.run(
            ["losetup", "--noheadings", "--output", "BACK-FILE", device],
            check=True, capture_output=True, text=True, timeout=60,
        ).stdout.strip()  # fmt: skip
        subprocess.run(["umount", self._mount], check=True, timeout=60)
        argv = ["mount", "-o", "loop", backing, self._mount]
        subprocess.run(argv, check=True, timeout=60)

    def everywhere(self, found: Callable[[Path], Any]) -> Any:
        """What is found on each brick, past GlusterFS, if that is the same on all."""
        first, *others = [found(brick) for brick in self.made.bricks]
        assert others == [first] * len(others)
        return first

    def names(self) -> list[str]:
        """The images, and how many other pieces there are of all of them."""

        def look(brick: Path) -> list[str]:
            shards = [path for path in brick.glob(".shard/*") if path.is_file()]
            images = sorted(path.name for path in brick.iterdir() if path.is_file())
            return [*images, "%d pieces" % len(shards)]

        found: list[str] = self.everywhere(look)
        return found

    def attribute(self, path: str, name: str) -> bytes | None:
        """An image's attribute."""

        def look(brick: Path) -> bytes | None:
            with contextlib.suppress(OSError):
                return os.getxattr(brick / path, name)
            return None

        found: bytes | None = self.everywhere(look)
        return found

    def gfid(self, path: str) -> bytes | None:
        """By which the bricks know an image, whatever it is called."""
        return self.attribute(path, "trusted.gfid")


@pytest.fixture
def bricks(make_volume: Callable[..., GlusterVolume], small_disk: Path) -> Iterator[Bricks]:
    shape = ("replica", "3")
    options = {"features__shard": "on", "features__shard_block_size": "4MB"}
    healer = {"cluster__self_heal_daemon": "off", "storage__health_check_interval": "0"}
    locks = {"client__strict_locks": "on", "performance__strict_o_direct": "on"}
    name = "power%d" % time.monotonic_ns()
    made = make_volume(name, 3, *shape, under=small_disk, **options, **healer, **locks)
    yield Bricks(made, small_disk)
    gluster("volume", "stop", made.name, "force")  # else it keeps the disk busy


@pytest.fixture
def own(bricks: Bricks) -> Iterator[Volume]:
    """A connection to the volume, which has one image with bytes in all its pieces."""
    with connect(bricks.made.spec) as volume:
        image.create(volume, PATH, SIZE)
        _write(volume, PATH, b"old")
        bricks.store()
        yield volume


def _write(volume: Volume, path: str, word: bytes) -> None:
    with volume.open(path, write=True) as file:
        for offset in range(0, SIZE, PIECE):
            file.pwrite(word, offset)
        file.fsync()


def test_an_image_that_was_removed(bricks: Bricks, own: Volume) -> None:
    image.remove(own, PATH)
    bricks.lose_power()
    assert bricks.names() == ["0 pieces"]


def test_an_image_that_was_removed_while_it_was_locked(bricks: Bricks, own: Volume) -> None:
    with locked(own, PATH, node="node1"):
        image.remove(own, PATH)
    bricks.lose_power()
    assert bricks.names() == ["0 pieces"]


def test_an_image_that_was_made(bricks: Bricks, own: Volume) -> None:
    image.create(own, OTHER, SIZE)
    bricks.lose_power()
    assert bricks.names() == [PATH, OTHER, "2 pieces"]


def test_an_image_that_was_renamed(bricks: Bricks, own: Volume) -> None:
    image.rename(own, PATH, OTHER)
    bricks.lose_power()
    assert bricks.names() == [OTHER, "2 pieces"]


def test_an_image_that_was_copied(bricks: Bricks, own: Volume) -> None:
    with ImageSource(own, PATH) as source:
        copy(source, NewImage(own, OTHER))
    bricks.lose_power()
    assert bricks.names() == [PATH, OTHER, "4 pieces"]


def test_a_snapshot_that_is_whole(bricks: Bricks, own: Volume) -> None:
    about = About(instance="web", name="s1", taken=1.0, disks=(0,))
    snapshot = PATH + ".snap.s1"
    image.create(own, snapshot, SIZE)
    bricks.store()
    catalogue.complete(own, {0: PATH}, about)
    bricks.lose_power()
    said = bricks.attribute(snapshot, catalogue.XATTR)
    assert said is not None
    assert catalogue.parse(said) == about


def test_an_image_that_was_restored(bricks: Bricks, own: Volume) -> None:
    with locked(own, PATH, node="node1") as lock:
        replacement = Replacement(own, PATH, lock)
        image.create(own, replacement.restored, SIZE)
        _write(own, replacement.restored, b"new")
        replacement.made = own.lstat(replacement.restored).inode
        new = bricks.gfid(replacement.restored)
        bricks.store()
        replace_all([replacement], "node1")
    bricks.lose_power()
    assert bricks.names() == [PATH, "2 pieces"]
    assert bricks.gfid(PATH) == new


@pytest.fixture
def server(bricks: Bricks, own: Volume) -> Iterator[ImageServer]:
    served = ImageServer(bricks.made.spec, PATH)
    yield served
    served.close(force=True)


def test_who_has_an_image(bricks: Bricks, own: Volume, server: ImageServer) -> None:
    server.open(number=NODE)
    bricks.lose_power()
    word = bricks.attribute(PATH, WORD_ATTRIBUTE)
    assert word is not None
    assert word.split()[1] == b"%d" % NODE


def test_the_size_of_an_image_that_grew_while_it_was_served(
    bricks: Bricks, own: Volume, server: ImageServer
) -> None:
    server.open(number=NODE)
    bricks.store()
    before = bricks.attribute(PATH, "trusted.glusterfs.shard.file-size")
    server.grow(2 * SIZE)
    bricks.lose_power()
    after = bricks.attribute(PATH, "trusted.glusterfs.shard.file-size")
    assert before is not None
    assert after is not None
    assert int.from_bytes(before[:8], "big") == SIZE
    assert int.from_bytes(after[:8], "big") == 2 * SIZE


def test_what_changed_in_an_image_that_is_served(
    bricks: Bricks, own: Volume, server: ImageServer
) -> None:
    """The mark of a write is stored before the write, which nobody has flushed."""
    server.open(number=NODE)
    begin(bricks.made.spec, PATH, "p")
    bricks.store()
    guest = nbd.NBD()
    guest.connect_unix(server.socket_path)
    guest.pwrite(b"x" * 4096, 2 * PIECE)
    bricks.lose_power()
    directory = record.directory_of(int.from_bytes((bricks.gfid(PATH) or b"")[-8:], "big"))

    def marks(brick: Path) -> tuple[str, bytes]:
        [file] = (brick / directory[1:]).iterdir()
        with file.open("rb") as stream:
            head = record.parse(stream.read(4096))
            return head.state, stream.read(4096)

    assert bricks.everywhere(marks) == (record.OPEN, b"\x01".ljust(4096, b"\0"))


def test_a_point_that_was_dropped(bricks: Bricks, own: Volume, server: ImageServer) -> None:
    server.open(number=NODE)
    begin(bricks.made.spec, PATH, "p")
    bricks.store()
    drop(bricks.made.spec, PATH, "p")
    bricks.lose_power()
    directory = record.directory_of(int.from_bytes((bricks.gfid(PATH) or b"")[-8:], "big"))

    def states(brick: Path) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            files = list((brick / directory[1:]).iterdir())
            return [record.parse(file.read_bytes()[:4096]).state for file in files]
        return []

    assert set(bricks.everywhere(states)) <= {record.LOST}
