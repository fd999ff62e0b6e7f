"""A block device of the kernel for an image, on a real volume."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ganeti_gluster import constants
from ganeti_gluster.core import image
from ganeti_gluster.core.export import Export, ExportFailed, nbd, users
from ganeti_gluster.core.serve.server import ImageServer
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.tools import systemd
from ganeti_gluster.tools.gfapi import Volume

MIB = 1 << 20

#: Write to places of a device and read them back, past the page cache and from several
#: threads, until the input ends; each says a word for each round, or what went wrong.
#: Arguments: the device, then the first byte of each thread's MiB.
LOAD = """\
import mmap, os, sys, threading
device = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT)
ending = threading.Event()
failed = threading.Event()
def work(place):
    data, seen = mmap.mmap(-1, 1 << 20), mmap.mmap(-1, 1 << 20)
    number = 0
    while not ending.is_set():
        number += 1
        data[:] = b"%15d\\n" % number * 65536
        try:
            os.pwrite(device, data, place)
            if number % 4 == 0:
                os.fsync(device)
            os.preadv(device, [seen], place)
            if data[:] != seen[:]:
                raise OSError("round %d was not read back" % number)
        except OSError as err:
            print("failed:", err, flush=True)
            failed.set()
            return
        print("round", flush=True)
    print("last", place, number, flush=True)
threads = [threading.Thread(target=work, args=(int(place),)) for place in sys.argv[2:]]
for thread in threads:
    thread.start()
sys.stdin.read()
ending.set()
for thread in threads:
    thread.join()
os.fsync(device)
sys.exit(failed.is_set())
"""


class Load:
    """A process that writes to a device all the time."""

    def __init__(self, device: str, places: range) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", LOAD, device, *map(str, places)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def rounds(self, count: int) -> None:
        """Wait until it has made so many rounds more."""
        assert self.process.stdout is not None
        for _ in range(count):
            line = self.process.stdout.readline()
            assert line == "round\n", line

    def end(self) -> dict[int, int]:
        """The number that is at each place now."""
        lines, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, lines
        last = [line.split()[1:] for line in lines.splitlines() if line.startswith("last")]
        return {int(place): int(number) for place, number in last}


@pytest.fixture
def served(volume: Volume, directory: str, spec: VolumeSpec) -> Iterator[ImageServer]:
    """An image of 256 MiB (four pieces of a sharded volume) that is open here."""
    path = "%s/x.0" % directory
    image.create(volume, path, 256 * MIB)
    server = ImageServer(spec, path)
    server.open(number=1)
    yield server
    server.close(force=True)
    image.remove(volume, path)


@pytest.fixture
def exported(served: ImageServer) -> Iterator[Export]:
    """That image, which is not exported yet."""
    export = Export(served.spec, served.path)
    yield export
    export._clear()


def main_pid(unit_name: str) -> int:
    argv = ["systemctl", "show", "--property=MainPID", "--value", unit_name]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    return int(done.stdout)


def kill(server: ImageServer, wait: Callable[..., Any]) -> None:
    """Kill the server, and wait until there is another."""
    before = main_pid(server.unit)
    os.kill(before, signal.SIGKILL)
    wait("there is another", lambda: main_pid(server.unit) not in (0, before))


def pattern(number: int) -> bytes:
    return bytes([number]) * MIB


def write(device: str, places: dict[int, bytes]) -> None:
    """Write through the kernel and flush; places are in MiB."""
    with open(device, "r+b", buffering=0) as file:
        for place, data in places.items():
            os.pwrite(file.fileno(), data, place * MIB)
        os.fsync(file.fileno())


def test_what_is_written_to_the_device_is_in_the_image(exported: Export, volume: Volume) -> None:
    device = exported.start()
    assert users.size(device) == 256 * MIB
    write(device, {0: pattern(1), 63: pattern(2) + pattern(3), 255: pattern(4)})
    with volume.open(exported.image) as file:
        for place, number in ((0, 1), (63, 2), (64, 3), (255, 4)):
            assert file.pread(MIB, place * MIB) == pattern(number)
    exported.stop()
    device = exported.start()
    with open(device, "rb") as opened:
        opened.seek(64 * MIB)
        assert opened.read(MIB) == pattern(3)
    exported.stop()


def test_discarded_blocks_are_given_back_to_the_volume(
    exported: Export, volume: Volume, wait: Callable[..., Any]
) -> None:
    # By the bricks' free space: a sharded volume counts an image's blocks wrong
    # when some are discarded (GlusterFS 11.1 adds them).
    device = exported.start()
    write(device, {place: pattern(1) for place in range(48, 112)})
    before = volume.space().free
    # Over the border of two pieces, and over some that were never written.
    discard(device, 56, 180)
    wait("they are free", lambda: volume.space().free >= before + 54 * MIB)
    discard(device, 0, 64, "--zeroout")
    exported.stop()
    with volume.open(exported.image) as file:
        assert file.pread(MIB, 50 * MIB) == bytes(MIB)
        assert file.pread(MIB, 80 * MIB) == bytes(MIB)


def discard(device: str, start: int, length: int, *options: str) -> None:
    """Discard a range of a device, in MiB."""
    where = ["--offset", str(start * MIB), "--length", str(length * MIB)]
    subprocess.run(["blkdiscard", *options, *where, device], check=True, timeout=60)


def test_the_device_of_an_image_that_grows_grows(
    served: ImageServer, exported: Export, volume: Volume, wait: Callable[..., Any]
) -> None:
    device = exported.start()
    with pytest.raises(
        ExportFailed, match="its server reports 268435456 bytes instead of 335544320"
    ):
        exported.grow(320 * MIB)
    assert served.grow(320 * MIB)
    assert users.size(device) == 256 * MIB
    assert exported.grow(320 * MIB)
    assert users.size(device) == 320 * MIB
    write(device, {300: pattern(7)})
    assert served.grow(336 * MIB)
    assert exported.start(336 * MIB) == device, "an active export is used as it is"
    assert users.size(device) == 336 * MIB
    exported.stop()
    with volume.open(exported.image) as file:
        # Another client may see the old size for a second.
        wait("the image has grown", lambda: file.stat().size == 336 * MIB, seconds=10)
        assert file.pread(MIB, 300 * MIB) == pattern(7)
    assert not exported.grow(400 * MIB)


def test_nobody_notices_that_the_server_dies_is_upgraded_or_grows_the_image(
    served: ImageServer, exported: Export, volume: Volume, wait: Callable[..., Any]
) -> None:
    device = exported.start()
    exporter = main_pid(exported.unit)
    load = Load(device, range(0, 256 * MIB, 60 * MIB))
    for _ in range(10):
        load.rounds(10)
        kill(served, wait)
    load.rounds(10)
    served.renew()
    load.rounds(10)
    served.grow(320 * MIB)
    assert exported.grow(320 * MIB)
    load.rounds(10)
    last = load.end()
    assert len(last) == 5
    assert main_pid(exported.unit) == exporter
    assert users.size(device) == 320 * MIB
    exported.stop()
    with volume.open(exported.image) as file:
        for place, number in last.items():
            assert file.pread(MIB, place) == b"%15d\n" % number * 65536


def test_the_exporter_has_no_client_of_gluster(exported: Export) -> None:
    exported.start()
    maps = Path("/proc/%d/maps" % main_pid(exported.unit)).read_text()
    assert "libnbd" in maps and "libgfapi" not in maps
    exported.stop()


def test_a_device_in_use_stays(exported: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganeti_gluster.core.export.export.USER_SECONDS", 0.2)
    device = exported.start()
    with (
        open(device, "rb") as file,
        pytest.raises(ExportFailed, match=r"%s, .* is still in use; by \S+ \(process " % device),
    ):
        exported.stop()
    assert exported.device() == device
    exported.stop()
    assert exported.device() is None
    assert file.closed


def test_a_device_that_the_kernel_holds_stays(
    exported: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = exported.start()
    # As a mount in another namespace, or Xen's backend: no process shows it.
    monkeypatch.setattr(users, "of", lambda device: [])
    held = os.open(device, os.O_RDWR | os.O_EXCL)
    try:
        with pytest.raises(ExportFailed, match="still in use; by the kernel itself"):
            exported.stop()
    finally:
        os.close(held)
    assert exported.device() == device
    exported.stop()


def test_qemu_nbd_passes_on_what_the_server_has_and_outlives_it(
    served: ImageServer, volume: Volume, tmp_path: Path, wait: Callable[..., Any]
) -> None:
    """All of it but the kernel's end, which the kernel here does not have."""
    nbd_client = pytest.importorskip("nbd")
    address = str(tmp_path / "nbd")
    argv = nbd.server_argv("/dev/nbd0", served.socket_path, 0)
    argv[argv.index("--connect=/dev/nbd0")] = "--socket=%s" % address
    server = subprocess.Popen(argv)
    try:
        wait("it listens", lambda: os.path.exists(address), seconds=30)
        client = nbd_client.NBD()
        client.connect_unix(address)
        assert client.get_size() == 256 * MIB
        for number in range(10):
            client.pwrite(pattern(number), 62 * MIB)
            kill(served, wait)
        for place in range(62, 70):
            client.pwrite(pattern(5), place * MIB)
        client.flush()
        before = volume.space().free
        client.trim(7 * MIB, 62 * MIB)
        wait("the blocks are free", lambda: volume.space().free >= before + 6 * MIB)
        with volume.open(served.path) as file:
            assert file.pread(1, 69 * MIB) == b"\5"
    finally:
        server.kill()
        server.wait(30)


def test_nobody_else_sees_its_file(exported: Export) -> None:
    exported.start()
    assert constants.EXPORT_DIR not in Path("/proc/self/mountinfo").read_text()
    exported.stop()
    assert [name for name in os.listdir(constants.EXPORT_DIR) if exported.key in name] == []


def test_an_exporter_that_dies_gives_errors_and_is_not_restarted(
    exported: Export, wait: Callable[..., Any]
) -> None:
    device = exported.start()
    write(device, {0: pattern(1)})
    with open(device, "r+b", buffering=0) as file:
        subprocess.run(["systemctl", "kill", "--signal=SIGKILL", exported.unit], check=True)
        with pytest.raises(OSError, match="Input/output error"):
            while True:  # until the kernel knows
                os.pwrite(file.fileno(), pattern(2), 0)
                os.fsync(file.fileno())
        state = functools.partial(systemd.state, exported.unit, timeout=60)
        wait("systemd knows", lambda: state() not in systemd.RUNNING)
        # Who had it open goes on with errors, and never sees the new data path.
        fresh = exported.start()
        assert fresh != device
        with pytest.raises(OSError, match="Input/output error"):
            os.fsync(file.fileno())
            os.pwrite(file.fileno(), pattern(3), 0)
            os.fsync(file.fileno())
    wait("the dead device is free", lambda: not os.path.exists(backing_file(device)), seconds=10)
    with open(fresh, "rb") as opened:
        assert opened.read(1) in (b"\1", b"\2")
    exported.stop()


def backing_file(device: str) -> str:
    """What exists as long as the loop device has a file."""
    return "/sys/block/%s/loop/backing_file" % os.path.basename(device)


def test_an_image_that_is_not_open_here_is_not_exported(spec: VolumeSpec, directory: str) -> None:
    with pytest.raises(
        ExportFailed,
        match=r"cannot export .*: it has no server on this node; see journalctl .*-im",
    ):
        Export(spec, "%s/none.0" % directory).start()
    assert not any(directory in name for name in os.listdir(constants.EXPORT_DIR))
