"""The provider's scripts, run as Ganeti runs them, on a real volume."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from ganeti_gluster import image
from ganeti_gluster.gfapi import Volume
from ganeti_gluster.volume import connect

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
        assert lines == ["", "kvm:gluster://%s:24007/%s/%s" % (HOST, VOLUME, disk.path), ""]
    disk.good("open", VOL_OPEN_EXCLUSIVE="True")
    disk.good("setinfo", VOL_METADATA="originstname+a")
    assert image.get_info(volume, disk.path) == "originstname+a"

    disk.good("grow", VOL_SIZE="8", VOL_NEW_SIZE="12")
    disk.good("grow", VOL_SIZE="8", VOL_NEW_SIZE="12")
    with connect_again() as again:
        assert image.stat(again, disk.path).size == 12 * MIB
    assert "cannot shrink" in disk.bad("grow", VOL_SIZE="12", VOL_NEW_SIZE="10")

    disk.good("close")
    for _ in range(2):
        disk.good("detach")
    for _ in range(2):
        disk.good("remove")
    assert not volume.access(disk.path)
    assert "image %s of volume %s does not exist" % (disk.path, VOLUME) in disk.bad("open")


def connect_again() -> Volume:
    """A connection whose cache knows nothing."""
    from ganeti_gluster.volume import VolumeSpec

    return connect(VolumeSpec.from_params({"host": "localhost", "volume": VOLUME}))


def test_ganeti_takes_the_uri(disk: Disk) -> None:
    disk.good("create", VOL_SIZE="1")
    uri = disk.good("attach").split("\n")[1].removeprefix("kvm:")
    program = (
        "import sys; sys.path.insert(0, '/usr/share/ganeti/default')\n"
        "from ganeti.hypervisor.hv_kvm import kvm_utils as k\n"
        "f = getattr(k, 'ParseStorageUriToBlockdevParam', None)\n"
        "print(f(sys.argv[1])['path'] if f else 'as it is')"
    )
    # With the plugin switched off: -S leaves site, and so its hook, out.
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import sys; sys.path.append("
         "'/usr/lib/python3/dist-packages')\n" + program, uri],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.strip() in (disk.path, "as it is")


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
    assert "MiB free and %d MiB are needed" % (1 << 40) in told
    assert not volume.access(disk.path)


def test_hostile_names_reach_nothing() -> None:
    disk = Disk("../ganeti/x.0")
    for action in ("create", "attach", "remove"):
        done = disk.run(action, VOL_SIZE="1")
        assert (done.returncode, done.stdout) == (2, "")
        assert "it must not begin with '.', nor contain '/'" in done.stderr
