"""The provider's scripts, run as Ganeti runs them, on a real volume."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from ganeti_gluster.core import image
from ganeti_gluster.core.serve.server import ImageServer, qemu_uri
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.tools import names
from ganeti_gluster.tools.gfapi import Volume

from .conftest import HOST, VOLUME

SCRIPTS = "/usr/share/ganeti/extstorage/gluster"
MIB = 1 << 20

pytestmark = pytest.mark.skipif(
    os.environ.get("GANETI_GLUSTER_INSTALLED") != "1", reason="needs the installed package"
)


@dataclass
class Disk:
    """One disk, as Ganeti hands it to the provider."""

    name: str
    access: str = "userspace"
    volume: str = VOLUME
    host: str = HOST

    @property
    def path(self) -> str:
        return "ganeti-ext/" + self.name

    @property
    def server(self) -> ImageServer:
        spec = VolumeSpec.from_params({"host": self.host, "volume": self.volume})
        return ImageServer(spec, self.path)

    @property
    def uri(self) -> str:
        return qemu_uri(self.server.socket_path, names.PATIENCE)

    def run(self, action: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["%s/%s" % (SCRIPTS, action)],
            env={
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "LC_ALL": "C",
                "VOL_NAME": self.name,
                "EXTP_PROVIDER": "gluster",
                "EXTP_ACCESS": self.access,
                "EXTP_VOLUME": self.volume,
                "EXTP_HOST": self.host,
                **environ,
            },
            cwd=SCRIPTS,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def good(self, action: str, **environ: str) -> str:
        done = self.run(action, **environ)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def bad(self, action: str, **environ: str) -> str:
        done = self.run(action, **environ)
        assert done.returncode != 0
        assert done.stdout == ""
        return done.stderr


@pytest.fixture
def disk(volume: Volume) -> Iterator[Disk]:
    disk = Disk("test-%d-%d.ext.disk0" % (os.getpid(), time.monotonic_ns()))
    yield disk
    for name in (disk.name, disk.name + ".snap"):
        Disk(name).run("detach")
    image.remove(volume, disk.path)
    image.remove(volume, disk.path + ".snap")


def test_the_life_of_a_disk_in_userspace(disk: Disk, volume: Volume) -> None:
    assert disk.good("attach") == ""  # Ganeti: there is no such disk
    assert disk.good("create", VOL_SIZE="8") == ""
    assert image.stat(volume, disk.path).size == 8 * MIB
    assert "File exists" in disk.bad("create", VOL_SIZE="8")

    for _ in range(2):
        lines = disk.good("attach").split("\n")
        # No device, QEMU's URI, and the end of the line.
        assert lines == ["", "kvm:" + disk.uri, ""]
    assert not os.path.exists(disk.server.socket_path)
    for _ in range(2):
        disk.good("open", VOL_OPEN_EXCLUSIVE="True")
    assert stat.S_ISSOCK(os.stat(disk.server.socket_path).st_mode)
    disk.good("setinfo", VOL_METADATA="originstname+a")
    assert image.get_info(volume, disk.path) == "originstname+a"

    disk.good("grow", VOL_SIZE="8", VOL_NEW_SIZE="12")
    disk.good("grow", VOL_SIZE="8", VOL_NEW_SIZE="12")
    with connect_again() as again:
        assert image.stat(again, disk.path).size == 12 * MIB
    smaller = {"VOL_SIZE": "12", "VOL_NEW_SIZE": "10"}
    assert "cannot be made smaller" in disk.bad("grow", **smaller)

    disk.good("close")
    assert "cannot shrink" in disk.bad("grow", **smaller)
    for _ in range(2):
        disk.good("detach")
    for _ in range(2):
        disk.good("remove")
    assert not volume.access(disk.path)
    told = disk.bad("open")
    assert "image %s of volume %s: it does not exist" % (disk.path, VOLUME) in told


def test_the_life_of_a_disk_in_kernelspace(
    disk: Disk, run_program: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    disk.access = "kernelspace"
    disk.good("create", VOL_SIZE="8")
    # Ganeti hands on the path that it was told before it opens the disk.
    device = disk.good("attach").rstrip("\n")
    try:
        assert stat.S_ISBLK(os.stat(device).st_mode)
        with pytest.raises(OSError), open(device, "rb"):
            pass
        disk.good("open")
        assert disk.good("attach") == device + "\n"
        assert stat.S_ISBLK(os.stat(device).st_mode)
        disk.good("open")
        with open(device, "r+b") as stream:
            stream.seek(5 * MIB)
            stream.write(b"content")
            told = disk.bad("detach")
            assert "%s, image %s of volume %s, is still in use" % (
                os.path.realpath(device), disk.path, VOLUME) in told  # fmt: skip
        disk.good("grow", VOL_SIZE="8", VOL_NEW_SIZE="12")
        with open(device, "rb") as stream:
            assert stream.seek(0, os.SEEK_END) == 12 * MIB
        disk.good("snapshot", VOL_SNAPSHOT_NAME=disk.name + ".snap", VOL_SNAPSHOT_SIZE="12")
    finally:
        disk.good("detach")
    for path in (disk.path, disk.path + ".snap"):
        done = run_program(READ, VOLUME, path)
        assert done.stdout == "%s %d\n" % (b"content", 12 * MIB), done.stderr
    disk.good("detach")
    assert not os.path.lexists(device)

    # A snapshot has a device whatever the access, since it is for scripts.
    snapshot = Disk(disk.name + ".snap", access="userspace")
    device, uri, _ = snapshot.good("attach").split("\n")
    try:
        assert stat.S_ISBLK(os.stat(device).st_mode)
        assert uri == "kvm:" + snapshot.uri
    finally:
        snapshot.good("detach")
    snapshot.good("remove")
    disk.good("remove")


def connect_again() -> Volume:
    """A connection whose cache knows nothing."""
    return connect(VolumeSpec.from_params({"host": "localhost", "volume": VOLUME}))


READ = """
with connect(sys.argv[1]).open(sys.argv[2]) as file:
    print(file.pread(9 << 20, 0).strip(b"\\0"), file.stat().size)
"""


def test_a_snapshot_is_a_copy_and_replaces_the_last_one(
    disk: Disk, volume: Volume, run_program: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    disk.good("create", VOL_SIZE="8")
    of_it = {"VOL_SNAPSHOT_NAME": disk.name + ".snap", "VOL_SNAPSHOT_SIZE": "8"}
    for content in (b"first", b"second"):
        with volume.open(disk.path, write=True) as file:
            file.pwrite(content, 5 * MIB)
        disk.good("snapshot", **of_it)
        done = run_program(READ, VOLUME, disk.path + ".snap")
        assert done.stdout == "%s %d\n" % (content, 8 * MIB), done.stderr
    told = disk.bad("snapshot", VOL_SNAPSHOT_NAME="other.ext.disk0")
    assert "it must end with .snap" in told
    told = Disk("nosuch").bad("snapshot", VOL_SNAPSHOT_NAME="nosuch.snap")
    assert "image ganeti-ext/nosuch of volume %s does not exist" % VOLUME in told


PARSE = """
import sys
sys.path.insert(0, "/usr/share/ganeti/default")
try:
    from ganeti.hypervisor.hv_kvm.kvm_utils import ParseStorageUriToBlockdevParam
except ImportError:  # Ganeti 3.0 hands the URI on
    print("as it is")
else:
    found = ParseStorageUriToBlockdevParam(sys.argv[1])
    print("nbd:", found["driver"], found["server"]["path"])
"""


def test_ganeti_takes_the_uri(disk: Disk) -> None:
    disk.good("create", VOL_SIZE="1")
    uri = disk.good("attach").split("\n")[1].removeprefix("kvm:")
    argv = [sys.executable, "-c", PARSE, uri]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() in ("nbd: nbd " + disk.server.socket_path, "as it is")


def test_a_disk_whose_volume_does_not_answer_is_not_taken_for_gone(disk: Disk) -> None:
    disk.volume = "nosuch"
    done = disk.run("attach")
    assert done.returncode == 0
    assert done.stdout == "\nkvm:\n"
    assert "gluster attach %s: there is no volume nosuch" % disk.name in done.stderr
    for action in ("open", "remove", "setinfo"):
        assert "there is no volume nosuch" in disk.bad(action)
    assert "there is no volume nosuch" in disk.bad("create", VOL_SIZE="1")


def test_more_than_the_free_space_is_refused_with_the_numbers(disk: Disk, volume: Volume) -> None:
    told = disk.bad("create", VOL_SIZE=str(1 << 40), EXTP_PREALLOCATION="falloc")
    assert "MiB free, but %d MiB are needed" % (1 << 40) in told
    assert not volume.access(disk.path)


def test_hostile_names_reach_nothing() -> None:
    disk = Disk("../ganeti/x.0")
    for action, expected in (
        ("create", (2, "")),
        ("attach", (0, "\nkvm:\n")),
        ("remove", (2, "")),
    ):
        done = disk.run(action, VOL_SIZE="1")
        assert (done.returncode, done.stdout) == expected
        assert "it must not begin with '.', nor contain '/'" in done.stderr
