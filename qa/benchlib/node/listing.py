"""listing.py: a directory of many images, listed with size and mode.

    listing.py fill VOLUME COUNT    make the images
    listing.py compare VOLUME RUNS  list them by ours and by FUSE, in turn
    listing.py ours|peer VOLUME     list them once, which is what is measured
    listing.py clear VOLUME         remove them

The peer is `os.scandir` and a stat of each entry in stock Ganeti's mount, which
is there already; ours connects each time.  Both are new processes.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import mount
from sides import OURS, PEER, answer, command_seconds, in_turn

NAME = "list-10000"
DIRECTORY = "bench-list"
SIZE = 1024 * 1024
THREADS = 16
# The kernel and the client keep names and attributes for a second; the next
# listing of an administrator comes later than that.
CACHE_SECONDS = 1.5


def connected(volume: str) -> Any:
    """The volume through the installed package."""
    from ganeti_gluster.core.volume import VolumeSpec, connect

    params = {"volume": volume, "host": mount.SERVER, "port": mount.PORT}
    return connect(VolumeSpec.from_params(params))


def in_threads(work: Callable[[str], None], paths: Iterable[str]) -> None:
    """Do `work` for every path, several at a time; raises the first error."""
    with concurrent.futures.ThreadPoolExecutor(THREADS) as executor:
        for _ in executor.map(work, paths):
            pass


def paths(count: int) -> list[str]:
    """The images of `count`."""
    return ["%s/%05d.0" % (DIRECTORY, index) for index in range(count)]


def fill(volume_name: str, paths: Sequence[str]) -> None:
    """Make images in one directory, sparse; those that are there already stay."""
    directory = os.path.dirname(paths[0])
    with connected(volume_name) as volume:
        with contextlib.suppress(FileExistsError):
            volume.mkdir(directory)

        def make(path: str) -> None:
            with contextlib.suppress(FileExistsError):
                file = volume.create(path)
                file.truncate(SIZE)
                file.abandon()  # no sync: nothing depends on these

        in_threads(make, paths)
    check(listed_by_ours(volume_name, directory), len(paths))


def clear(volume_name: str, directory: str = DIRECTORY) -> None:
    """Remove the images and their directory; no-op if there is none."""
    with connected(volume_name) as volume, contextlib.suppress(FileNotFoundError):
        in_threads(volume.unlink, [path for path, _, _ in listed_by_ours(volume_name, directory)])
        volume.rmdir(directory)


def listed_by_ours(volume_name: str, directory: str = DIRECTORY) -> list[tuple[str, int, int]]:
    """Path, size and mode of each image."""
    from ganeti_gluster.core import image

    with connected(volume_name) as volume:
        images = image.list_images(volume, directory).images
    return [(found.path, found.size, found.mode) for found in images]


def listed_by_peer() -> list[tuple[str, int, int]]:
    """The same through the mount."""
    found = []
    with os.scandir("%s/%s" % (mount.MOUNT_POINT, DIRECTORY)) as entries:
        for entry in entries:
            values = entry.stat(follow_symlinks=False)
            found.append(("%s/%s" % (DIRECTORY, entry.name), values.st_size, values.st_mode))
    return sorted(found)


def check(found: list[tuple[str, int, int]], count: int) -> None:
    sizes = {size for _, size, _ in found}
    if len(found) != count or sizes != {SIZE}:
        sys.exit("%d images of %r bytes, not %d" % (len(found), sizes, count))


def measure(side: str, volume: str) -> float:
    time.sleep(CACHE_SECONDS)
    return command_seconds([sys.executable, "-B", os.path.abspath(__file__), side, volume])


def compare(volume: str, runs: int) -> None:
    with mount.mount_of(volume):
        ours, peer = listed_by_ours(volume), listed_by_peer()
        if ours != peer:
            sys.exit("%s: the listings differ: %r" % (DIRECTORY, set(ours) ^ set(peer)))
        samples = in_turn(lambda side: measure(side, volume), runs)
    answer({NAME: samples})


def main() -> None:
    action, volume, *rest = sys.argv[1:]
    if action == OURS:
        listed_by_ours(volume)
    elif action == PEER:
        listed_by_peer()
    elif action == "fill":
        fill(volume, paths(int(rest[0])))
    elif action == "clear":
        clear(volume)
    else:
        compare(volume, int(rest[0]))
    sys.stdout.flush()
    os._exit(0)  # no glfs_fini, which takes 10 s


if __name__ == "__main__":
    main()
