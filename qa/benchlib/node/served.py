"""An image that is open on this node, and the QEMU that has it: ours, or QEMU's own driver."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mount
from sides import wait_for

# Ganeti's modules, and the package of this script's folder: the parsing is tested there.
sys.path.insert(0, os.path.realpath("/usr/share/ganeti/default"))
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from benchlib import figures
from ganeti_gluster.core import image
from ganeti_gluster.core.serve.server import ImageServer, qemu_blockdev, qemu_uri
from ganeti_gluster.core.volume import VolumeSpec, connect

DISK = "disk0"
NODE_NUMBER = 1
SECONDS = 60
PIECE = 4 << 20


@dataclass(frozen=True)
class Qemu:
    """A running QEMU, and the sockets of its monitors."""

    process: subprocess.Popen[bytes]
    sockets: Sequence[str]


def spec_of(volume: str) -> VolumeSpec:
    """The volume as the testbed has it."""
    return VolumeSpec.from_params({"host": mount.SERVER, "port": mount.PORT, "volume": volume})


def why_no_driver() -> str:
    """Why QEMU cannot be the peer, in words; empty where it has its gluster driver."""
    argv = ["qemu-img", "info", "--image-opts", "driver=gluster"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False)
    if "Unknown driver" not in done.stderr:
        return ""
    version = subprocess.run(["qemu-img", "--version"], capture_output=True, text=True, check=True)
    return "%s has no gluster driver" % version.stdout.splitlines()[0]


@contextlib.contextmanager
def written_image(spec: VolumeSpec, path: str, size: int) -> Iterator[None]:
    """An image every block of which is there, for the block; nothing has it open."""
    data = os.urandom(PIECE)
    with connect(spec) as volume:
        image.remove(volume, path)  # of a run that was interrupted
        image.create(volume, path, size)
        with volume.open(path, write=True) as file:
            for offset in range(0, size, PIECE):
                file.pwrite(data, offset)
            file.fsync()
    try:
        yield
    finally:
        with connect(spec) as volume:
            image.remove(volume, path)


@contextlib.contextmanager
def server(spec: VolumeSpec, path: str) -> Iterator[ImageServer]:
    """The image has a server in the block, and is open nowhere afterwards."""
    found = ImageServer(spec, path)
    found.open(number=NODE_NUMBER)
    try:
        yield found
    finally:
        found.close()


def process_of(found: ImageServer) -> int:
    """The process of a server."""
    argv = ["systemctl", "show", "--property=MainPID", "--value", found.unit]
    return int(subprocess.run(argv, capture_output=True, timeout=SECONDS, check=True).stdout)


def served_node(found: ImageServer) -> dict[str, Any]:
    """What Ganeti makes of the server's URI for `-blockdev`."""
    node = qemu_blockdev(qemu_uri(found.socket_path, 0))
    assert node is not None
    return node


def driver_node(volume: str, path: str) -> dict[str, Any]:
    """The image by QEMU's own gluster driver."""
    host = {"type": "inet", "host": mount.SERVER, "port": str(mount.PORT)}
    return {"driver": "gluster", "volume": volume, "path": path, "server": [host]}


@contextlib.contextmanager
def qemu(protocol: dict[str, Any], monitors: int = 1) -> Iterator[Qemu]:
    """A QEMU that does not run, with one virtio disk and no system in it; gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        sockets = ["%s/%d" % (folder, number) for number in range(monitors)]
        node = {
            "driver": "raw",
            "node-name": DISK,
            "cache": {"direct": True},
            "file": {**protocol, "cache": {"direct": True}},
        }
        argv = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-m", "64", "-S"]
        argv += ["-blockdev", json.dumps(node)]
        argv += ["-device", "virtio-blk-pci,id=%s,drive=%s" % (DISK, DISK)]
        for path in sockets:
            argv += ["-qmp", "unix:%s,server=on,wait=off" % path]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
        try:
            wait_for(lambda: all(map(os.path.exists, sockets)), SECONDS, "QEMU is there")
            yield Qemu(process, sockets)
        finally:
            process.kill()
            process.wait()


def processor_seconds(process: int) -> float:
    """What a process took of the processor so far."""
    text = Path("/proc/%d/stat" % process).read_text(encoding="utf-8")
    return figures.processor_seconds(text, os.sysconf("SC_CLK_TCK"))


def memory_bytes(process: int) -> int:
    """The memory of a process, shared memory by its part."""
    return figures.memory_bytes(Path("/proc/%d/smaps_rollup" % process).read_text("ascii"))
