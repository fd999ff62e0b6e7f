"""Backups and snapshots as block devices, without the devices."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from ganeti_gluster import constants
from ganeti_gluster.core.backup import mounter, mounts
from ganeti_gluster.core.backup.mounts import Mount, MountFailed
from ganeti_gluster.core.export import loop, users
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.tools.command import CommandFailed, CommandResult

SPEC = VolumeSpec.from_params({"volume": "gv0", "host": "node1,node2:24008"})


class Machine:
    """What runs commands: the unit, which has two devices, and losetup."""

    def __init__(self, sysfs: Path) -> None:
        self.sysfs = sysfs
        self.ran: list[list[str]] = []
        self.error = ""

    def __call__(self, argv: list[str], **options: Any) -> CommandResult:
        self.ran.append(argv)
        if argv[0] == "systemd-run":
            if self.error:
                raise CommandFailed(argv, "exit status 1", exit_code=1, output=self.error)
            (option,) = (word for word in argv if word.startswith("--directory="))
            for number in (0, 1):
                path = "%s/disk-%d" % (option.removeprefix("--directory="), number)
                device = self.sysfs / ("loop%d" % number)
                (device / "loop").mkdir(parents=True)
                (device / "loop" / "backing_file").write_text(path + "\n")
                (device / "diskseq").write_text("7\n")
                Path(path).write_text("loop%d 7" % number)
        return CommandResult(tuple(argv), 0, "", "")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(constants, "MOUNT_DIR", str(tmp_path / "mounts"))
    monkeypatch.setattr(loop, "SYSFS", str(tmp_path / "sys"))
    monkeypatch.setattr(users, "of", lambda device: [])
    return Machine(tmp_path / "sys")


def test_a_backup_is_mounted_once_and_unmounted(machine: Machine) -> None:
    mount = Mount("vm1", "20261128-023000")
    words, properties = mounts.of_backup("/mnt/backups", "vm1", "20261128-023000")
    assert mount.start(words, properties, run=machine) == {0: "/dev/loop0", 1: "/dev/loop1"}
    (argv,) = machine.ran
    assert "--unit=ganeti-gluster-mount-vm1:20261128-023000.service" in argv
    assert "--property=ReadWritePaths=-/mnt/backups" in argv
    with pytest.raises(MountFailed, match="20261128-023000 of vm1 is mounted already; see"):
        mount.start(words, properties, run=machine)
    assert mounts.every() == [mount]
    mount.stop(run=machine)
    assert mounts.every() == [] and mount.devices() == {}
    assert ["systemctl", "--quiet", "stop", mount.unit] in machine.ran


def test_a_device_that_is_in_use_stays(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    mount = Mount("vm1", "b")
    mount.start([], [], run=machine)
    monkeypatch.setattr(users, "of", lambda device: ["the mount at /mnt"])
    with pytest.raises(MountFailed, match="/dev/loop0 is in use by the mount at /mnt"):
        mount.stop(run=machine)
    assert mount.devices() and len(machine.ran) == 1


def test_one_that_cannot_be_mounted_leaves_nothing(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts.systemd, "last_words", lambda unit, run: "")
    machine.error = "no such volume"
    with pytest.raises(MountFailed, match="b of vm1 cannot be mounted: no such volume"):
        Mount("vm1", "b").start([], [], run=machine)
    assert mounts.every() == []


def test_two_at_once_do_not_end_each_other(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second begins while the unit of the first does, and would find it there already."""
    mount, refused = Mount("vm1", "b"), []

    def run(argv: list[str], **options: Any) -> CommandResult:
        if argv[0] == "systemd-run":
            for act in (mount.start, lambda *words, run: mount.stop(run=run)):
                with pytest.raises(MountFailed, match="being mounted or unmounted; wait") as said:
                    act([], [], run=machine)
                refused.append(said)
            assert machine.ran == []
        return machine(argv, **options)

    assert mount.start([], [], run=run) == {0: "/dev/loop0", 1: "/dev/loop1"}
    assert len(refused) == 2
    mount.stop(run=machine)
    assert mounts.every() == []


def test_the_program_takes_the_words_that_it_is_given() -> None:
    words, _ = mounts.of_backup("sftp://host/x", "vm1", "b")
    options = mounter._parse(["--directory=/d", *words])
    assert (options.repository, options.instance, options.backup) == ("sftp://host/x", "vm1", "b")
    words, _ = mounts.of_snapshot(SPEC, {1: "ganeti/x.1.snap.s", 0: "ganeti/x.0.snap.s"})
    options = mounter._parse(["--directory=/d", *words])
    params = {"host": options.servers, "volume": options.volume}
    assert VolumeSpec.from_params(params) == SPEC
    assert options.image == ["0=ganeti/x.0.snap.s", "1=ganeti/x.1.snap.s"]


class Bytes:
    """A source of these bytes."""

    name = "bytes"

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def pread_into(self, buffer: memoryview, offset: int) -> int:
        part = self.data[offset : offset + len(buffer)]
        buffer[: len(part)] = part
        return len(part)


def test_what_is_mounted_can_only_be_read() -> None:
    source: Any = Bytes(os.urandom(5000))
    image = mounter.ReadOnly(source)
    assert image.size == 5000
    assert bytes(image.pread(4096, 4096)) == source.data[4096:]
    assert bytes(image.pread(10, 7)) == source.data[7:17]
    image.flush()
    for write in (
        lambda: image.pwrite(memoryview(b"x"), 0),
        lambda: image.zero(0, 1),
        lambda: image.discard(0, 1),
    ):
        with pytest.raises(OSError) as err:
            write()
        assert err.value.errno == errno.EROFS
