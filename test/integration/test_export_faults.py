"""What the block device does when its volume fails, and what else on the node does not."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ganeti_gluster.core import image
from ganeti_gluster.core.export import Export, ExportFailed, users
from ganeti_gluster.core.serve.control import WAITING
from ganeti_gluster.core.serve.server import ImageServer
from ganeti_gluster.core.volume import VolumeSpec, connect

pytestmark = pytest.mark.one_suite

MIB = 1 << 20
IMAGE = "faults.0"
#: Write a piece of the device past the page cache and say how it went, for each line read.
WRITER = """\
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT)
data = mmap.mmap(-1, 1 << 20)
data.write(b"w" * (1 << 20))
for line in sys.stdin:
    try:
        os.pwrite(fd, data, int(line) << 20)
        os.fsync(fd)
        print("ok", flush=True)
    except OSError as err:
        print(os.strerror(err.errno), flush=True)
"""


class Writer:
    """A process that writes to a device, and may have to wait for it."""

    def __init__(self, device: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", WRITER, device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    def begin(self, place: int) -> None:
        """Write the MiB number `place`."""
        assert self._process.stdin is not None
        self._process.stdin.write("%d\n" % place)
        self._process.stdin.flush()

    def answer(self) -> str:
        """How the write went, "" while it is under way."""
        assert self._process.stdout is not None
        return (self._process.stdout.readline() or "").strip()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


@pytest.fixture
def weak(make_volume: Callable[..., Any], small_disk: Path) -> Any:
    """A volume with one brick of 512 MiB that is given up after 4 s of silence."""
    return make_volume(
        "weak",
        1,
        under=small_disk,
        network__ping_timeout="4",
        performance__strict_o_direct="on",
        network__remote_dio="disable",
        storage__reserve="0",
    )


@pytest.fixture
def exported(weak: Any) -> Iterator[Export]:
    """An image that is larger than the volume, exported; its server waits for nothing."""
    with connect(weak.spec) as volume:
        image.create(volume, IMAGE, 1024 * MIB)
    with served(weak.spec, IMAGE):
        export = Export(weak.spec, IMAGE)
        export.start()
        yield export
        export._clear()


@contextlib.contextmanager
def served(spec: VolumeSpec, path: str, *, patience: int = 0) -> Iterator[None]:
    server = ImageServer(spec, path)
    server.open(number=1, patience=patience)
    try:
        yield
    finally:
        server.close(force=True)


def quick(*argv: str) -> str:
    """A command that must not wait for the volume that is away."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=5, check=True)
    return done.stdout


def test_the_device_fails_as_a_disk_does_and_nothing_else_hangs(
    weak: Any,
    exported: Export,
    spec: VolumeSpec,
    directory: str,
    wait: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = exported.device()
    assert device is not None
    writer = Writer(device)

    def write(place: int, seconds: float = 30) -> str:
        writer.begin(place)
        return str(wait("the write ends", writer.answer, seconds=seconds))

    # The volume is full: an error, and the device goes on once there is room.
    answers = [write(place) for place in range(0, 600)]
    assert answers[0] == "ok" and answers[-1] in ("No space left on device", "Input/output error")
    quick("blkdiscard", "--offset", "0", "--length", str(400 * MIB), device)
    wait("there is room again", lambda: write(1) == "ok", seconds=30)

    # The brick is gone: an error; it comes back: the same device works.
    weak.kill(0)
    assert write(2) == "Input/output error"
    weak.revive()
    wait("the device works again", lambda: write(2) == "ok", seconds=60)

    # The brick is silent: who writes waits, and nobody else.
    (pid,) = weak.pids()
    os.kill(pid, signal.SIGSTOP)
    try:
        writer.begin(3)
        assert exported.device() == device
        assert users.size(device) == 1024 * MIB
        assert exported.start(1024 * MIB) == device
        for argv in (["df"], ["losetup", "--list"], ["lsblk"], ["ls", "-lR", "/run"]):
            quick(*argv)
        with connect(spec) as volume:
            image.create(volume, "%s/y.0" % directory, 16 * MIB)
        other = Export(spec, "%s/y.0" % directory)
        with served(other.spec, other.image):
            with open(other.start(), "r+b") as file:
                file.write(b"another image")
            other.stop()
        assert writer.answer() == "", "the brick is silent for long enough to see all that"
    finally:
        os.kill(pid, signal.SIGCONT)
    wait("the write ends", writer.answer, seconds=60)
    wait("the device works again", lambda: write(3) == "ok", seconds=60)

    # The exporter is killed while the brick is silent: errors, no endless wait.
    os.kill(pid, signal.SIGSTOP)
    try:
        writer.begin(4)
        monkeypatch.setattr("ganeti_gluster.core.export.export.USER_SECONDS", 0)
        monkeypatch.setattr("ganeti_gluster.core.export.export.FLUSH_SECONDS", 1)
        started = time.monotonic()
        with pytest.raises(ExportFailed, match="still in use; by python3"):
            exported.stop()
        monkeypatch.setattr(users, "of", lambda device: [])
        with pytest.raises(ExportFailed, match="could not be flushed: did not end within 1 s"):
            exported.stop()
        assert time.monotonic() - started < 10
        assert exported.device() == device, "it stays"
        quick("systemctl", "kill", "--signal=SIGKILL", exported.unit)
        assert wait("the write ends", writer.answer, seconds=10) == "Input/output error"
    finally:
        os.kill(pid, signal.SIGCONT)
    wait("the brick is back", lambda: connects(weak.spec), seconds=60)
    fresh = exported.start(1024 * MIB)
    assert fresh != device
    assert write(5) == "Input/output error", "who had the old device open does not get the new one"
    writer.close()
    wait("the old device is gone", lambda: not os.path.exists(backing_file(device)), seconds=10)
    with open(fresh, "rb") as file:
        file.seek(3 * MIB)
        assert file.read(3) == b"www"
    monkeypatch.undo()
    exported.stop()
    assert exported.device() is None


def test_requests_wait_for_a_brick_as_long_as_the_server_does(
    make_volume: Callable[..., Any], wait: Callable[..., Any]
) -> None:
    patient = make_volume("patient", 1, network__ping_timeout="4")
    with connect(patient.spec) as volume:
        image.create(volume, IMAGE, 64 * MIB)
    export = Export(patient.spec, IMAGE)
    with served(patient.spec, IMAGE, patience=600):
        try:
            writer = Writer(export.start())
            patient.kill(0)
            writer.begin(2)
            server = ImageServer(patient.spec, IMAGE)
            wait("its server waits", lambda: is_waiting(server))
            assert writer.answer() == ""
            patient.revive()
            assert wait("the write ends", writer.answer, seconds=60) == "ok"
            writer.close()
            export.stop()
        finally:
            export._clear()


def is_waiting(server: ImageServer) -> bool:
    status = server.status()
    return status is not None and status.state == WAITING


def connects(spec: VolumeSpec) -> bool:
    with contextlib.suppress(OSError), connect(spec) as volume:
        return bool(image.stat(volume, IMAGE).size)
    return False


def backing_file(device: str) -> str:
    return "/sys/block/%s/loop/backing_file" % os.path.basename(device)
