"""Bricks: one XFS image per node, mounted in the node through a loop device.

The node mounts its brick itself, so the mount and the loop device end with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import struct
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from . import command
from .errors import TestbedError

XFS_IOC_GOINGDOWN = 0x8004587D
FIFREEZE = 0xC0045877
FITHAW = 0xC0045878
GOING_FLAGS_NOLOGFLUSH = 2
RELEASE_SECONDS = 15
#: Where a node's exports of images note their loop devices.
EXPORTS = "/run/ganeti-gluster/exports"


def make_image(path: Path, gib: int) -> None:
    """Make a sparse image with an empty XFS in it."""
    with open(path, "xb") as image:
        image.truncate(gib << 30)
    command.run(["mkfs.xfs", "-q", "-K", str(path)], timeout=60)


def device_unit(image: str, device: str) -> str:
    """The unit that gives an image the name of a device when its node boots."""
    return """\
[Unit]
Description=The disk %(device)s
DefaultDependencies=no
After=testbed-devices.service
Before=local-fs-pre.target
Wants=local-fs-pre.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'ln -sfn "$(losetup --find --show %(image)s)" %(device)s'

[Install]
WantedBy=sysinit.target
""" % {"image": image, "device": device}


def drop_unsynced(mounted: str) -> None:
    """Shut the file system down at once, without what was not synced yet.

    Does nothing if no file system is mounted there.
    """
    if is_mounted(mounted):
        _control(mounted, XFS_IOC_GOINGDOWN, struct.pack("I", GOING_FLAGS_NOLOGFLUSH))


def is_mounted(directory: str) -> bool:
    """Whether a file system is mounted at `directory`."""
    try:
        return os.stat(directory).st_dev != os.stat(directory + "/..").st_dev
    except OSError:
        return False


def _control(mounted: str, request: int, argument: bytes | int) -> None:
    descriptor = os.open(mounted, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, request, argument)
    except OSError as err:
        raise TestbedError("%s: %s" % (mounted, err.strerror)) from err
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def quiet(mounted: str) -> Iterator[None]:
    """Everything written out, and no write let through, for as long as it lasts."""
    _control(mounted, FIFREEZE, 0)
    try:
        yield
    finally:
        _control(mounted, FITHAW, 0)


def end_quiet(mounted: str) -> None:
    """Undo a `quiet` whose process died; no-op if there was none."""
    if is_mounted(mounted):
        with contextlib.suppress(TestbedError):
            _control(mounted, FITHAW, 0)


def devices_of(mountinfo: str) -> set[str]:
    """The device numbers (MAJOR:MINOR) of the mounts in a /proc/PID/mountinfo."""
    return {line.split()[2] for line in mountinfo.splitlines() if line.strip()}


def loops_on(listing: str, devices: set[str]) -> list[str]:
    """The loop devices whose backing file is on one of `devices`, from losetup's JSON."""
    found = json.loads(listing).get("loopdevices", []) if listing.strip() else []
    return [loop["name"] for loop in found if (loop["back-maj:min"] or "").strip() in devices]


def _list_loops() -> str:
    return command.run(
        ["losetup", "--list", "--json", "--output", "NAME,BACK-INO,BACK-MAJ:MIN"], timeout=15
    ).stdout


def node_loops(leader: int, processes: Iterable[int]) -> list[str]:
    """The loop devices over files that only this node can see, or could.

    A loop device outlives the node that set it up, so they are to be noted while
    the node runs.  A process of it may have mounts that the others do not see; and
    where one has died that served a file, the node's record of it is what is left.
    """
    own: set[str] = set()
    for pid in {leader, *processes}:
        with contextlib.suppress(OSError):  # it has ended
            own |= devices_of(Path("/proc/%d/mountinfo" % pid).read_text(encoding="utf-8"))
    ours = devices_of(Path("/proc/self/mountinfo").read_text(encoding="utf-8"))
    found = loops_on(_list_loops(), own - ours)
    records = Path("/proc/%d/root" % leader, EXPORTS.lstrip("/")).glob("*.*")
    return sorted({*found, *recorded(records)})


def recorded(records: Iterable[Path], sysfs: str = "/sys/block") -> Iterator[str]:
    """The loop devices named in the records of exports, `loop5 1234`, that are still those."""
    for record in records:
        with contextlib.suppress(OSError, ValueError):  # a socket, or an empty one
            name, sequence = record.read_text(encoding="ascii").split()
            if Path(sysfs, name, "diskseq").read_text(encoding="ascii").strip() == sequence:
                yield "/dev/%s" % name


def over_images(listing: str, images: set[tuple[int, str]]) -> list[str]:
    """The loop devices over image files given by (inode, MAJOR:MINOR)."""
    found = json.loads(listing).get("loopdevices", []) if listing.strip() else []
    return [
        loop["name"]
        for loop in found
        if (int(loop["back-ino"] or 0), (loop["back-maj:min"] or "").strip()) in images
    ]


def wait_released(directory: Path, loops: list[str]) -> None:
    """Detach `loops`, and wait until no loop device holds an image of the node."""
    for loop in loops:
        command.run(["losetup", "--detach", loop], timeout=15, check=False)
    images = set()
    for path in (directory / "bricks").glob("*"):
        with contextlib.suppress(FileNotFoundError):
            seen = path.stat()
            images.add((seen.st_ino, "%d:%d" % (os.major(seen.st_dev), os.minor(seen.st_dev))))
    end = time.monotonic() + RELEASE_SECONDS
    while True:
        held = over_images(_list_loops(), images)
        if not held:
            return
        if time.monotonic() > end:
            raise TestbedError(
                "loop devices stay in use: %s" % " ".join(held), hint="see: losetup --list"
            )
        for loop in held:
            command.run(["losetup", "--detach", loop], timeout=15, check=False)
        time.sleep(0.05)
