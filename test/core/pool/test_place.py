"""What is formatted and mounted on a node, and what is refused."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from ganeti_gluster import constants
from ganeti_gluster.core.pool import place
from ganeti_gluster.core.pool.facts import DeviceFacts
from ganeti_gluster.core.pool.place import PlaceRefused, Signature
from ganeti_gluster.errors import InvalidParameter
from ganeti_gluster.tools.command import CommandFailed, CommandResult

DEVICE = "/dev/loop77"
OURS = Signature("xfs", "gnt-gluster", "u1")
EXT4 = Signature("ext4", "", "u2")


class Node:
    """A node with one device; `directory` is where it is to be mounted."""

    def __init__(self, root: Path) -> None:
        self.directory = str(root / "bricks")
        self.units = root / "units"
        self.units.mkdir()
        self.unit = self.units / "bricks.mount"
        self.signatures: list[Signature] = []
        self.commands: list[str] = []
        self.mounted_at = ""
        self.fails = ""
        self.uuid = ""

    def run(self, argv, *, timeout, check=True) -> CommandResult:
        self.commands.append(argv[0] if argv[0] != "systemctl" else " ".join(argv[:2]))
        output = ""
        if argv[:2] == ["systemctl", "start"]:
            self.mounted_at = self.directory
        if self.commands[-1] == self.fails:
            raise CommandFailed(argv, "exit status 1", exit_code=1)
        if argv[0] == "mkfs.xfs":
            self.signatures = [OURS]
        elif argv[0] == "wipefs":
            found = [{"type": s.kind, "label": s.label, "uuid": s.uuid} for s in self.signatures]
            output = json.dumps({"signatures": found})
        elif argv[0] == "systemd-escape":
            output = "bricks.mount\n"
        elif argv[0] == "blkid":
            output = self.uuid + "\n"
        return CommandResult(tuple(argv), 0, output, "")

    def look(self, device: str, directory: str) -> DeviceFacts:
        return DeviceFacts(
            device,
            exists=True,
            is_block=True,
            signatures=tuple(found.kind for found in self.signatures),
            mounted_at=self.mounted_at,
            ours=self.signatures == [OURS],
            interrupted=place._is_noted(directory, device, self.signatures),
        )

    def prepare(self, *, wipe: bool = False) -> bool:
        return place.prepare(self.directory, DEVICE, wipe=wipe)


@pytest.fixture
def node(tmp_path, monkeypatch) -> Node:
    found = Node(tmp_path)
    monkeypatch.setattr(constants, "STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(place, "STATE_DIRECTORY", tmp_path / "state")
    monkeypatch.setattr(place, "UNIT_DIRECTORY", found.units)
    monkeypatch.setattr(place, "UDEV", tmp_path / "udev")
    monkeypatch.setattr(place.command, "run", found.run)
    monkeypatch.setattr(place, "look_at_device", found.look)
    monkeypatch.setattr(place, "_identity", lambda device: "%s 7:77 1" % device)
    monkeypatch.setattr(place, "_where_mounted", lambda number: found.mounted_at)
    real = os.stat
    monkeypatch.setattr(
        place.os, "stat", lambda path, **k: real("/dev/null" if path == DEVICE else path, **k)
    )
    monkeypatch.setattr(place.os.path, "ismount", lambda path: found.mounted_at == path)
    return found


def test_an_empty_device_becomes_the_place_of_bricks(node: Node, tmp_path: Path) -> None:
    assert node.prepare() is True
    assert node.unit.read_text().startswith("# Written by gnt-gluster pool")
    assert "mkfs.xfs" in node.commands and "systemctl start" in node.commands
    assert list((tmp_path / "state").iterdir()) == []
    node.commands.clear()
    assert node.prepare() is False
    assert "mkfs.xfs" not in node.commands


@pytest.mark.parametrize(
    ("directory", "device", "message"),
    [
        ("/", DEVICE, "directory '/': it is the root"),
        ("/srv/../etc", DEVICE, "directory '/srv/../etc': it is not an absolute path"),
        ("srv", DEVICE, "directory 'srv': it is not an absolute path"),
        ("/srv/b", "/srv/image", "device '/srv/image': it is not below /dev"),
        ("/srv/b", "", "device '': it is empty"),
    ],
)
def test_nothing_is_done_by_odd_paths(node: Node, directory, device, message) -> None:
    with pytest.raises(InvalidParameter, match=message):
        place.prepare(directory, device, wipe=True)
    assert node.commands == []


def test_what_holds_something_is_formatted_by_order_alone(node: Node) -> None:
    node.signatures = [EXT4]
    with pytest.raises(PlaceRefused, match=r"contains data \(ext4\); use --wipe to format it"):
        node.prepare()
    assert "mkfs.xfs" not in node.commands
    assert node.prepare(wipe=True) is True


def test_what_was_interrupted_is_formatted_again(node: Node) -> None:
    node.signatures = [EXT4]
    node.fails = "mkfs.xfs"
    with pytest.raises(CommandFailed):
        node.prepare(wipe=True)
    node.fails = ""
    assert node.prepare() is True


@pytest.mark.parametrize("now", [Signature("ext4", "", "u3"), Signature("xfs", "data", "u4")])
def test_what_came_onto_it_after_an_interruption_is_kept(node: Node, now: Signature) -> None:
    node.signatures = [EXT4]
    node.fails = "mkfs.xfs"
    with pytest.raises(CommandFailed):
        node.prepare(wipe=True)
    node.fails = ""
    node.signatures = [now]
    with pytest.raises(PlaceRefused, match="contains data"):
        node.prepare()


def test_a_place_with_bricks_is_not_formatted_when_its_mount_is_gone(node: Node) -> None:
    node.fails = "systemctl start"  # after it was mounted
    with pytest.raises(CommandFailed):
        node.prepare()
    node.fails = node.mounted_at = ""
    node.commands.clear()
    assert node.prepare() is True
    assert "mkfs.xfs" not in node.commands


def test_a_mount_of_somebody_else_s_is_not_replaced(node: Node) -> None:
    node.unit.write_text("[Mount]\nWhat=/dev/other\n")
    with pytest.raises(PlaceRefused, match=r"bricks\.mount was not created by gnt-gluster"):
        node.prepare()
    assert node.unit.read_text() == "[Mount]\nWhat=/dev/other\n"
    assert node.mounted_at == ""


def test_a_path_is_in_its_unit_as_it_is(node: Node, tmp_path: Path) -> None:
    """systemd would make the node's name of it."""
    node.directory = str(tmp_path / "100%Host")
    node.prepare()
    assert "Where=%s/100%%%%Host\n" % tmp_path in node.unit.read_text()


def test_it_is_mounted_by_its_uuid(node: Node, tmp_path: Path, monkeypatch) -> None:
    """The kernel may call a disk otherwise at the next boot."""
    (tmp_path / "udev").touch()
    node.uuid = "0f6f8d2c"
    monkeypatch.setattr(
        place.os.path, "exists", lambda path: path == "/dev/disk/by-uuid/%s" % node.uuid
    )
    node.prepare()
    assert "What=UUID=0f6f8d2c\n" in node.unit.read_text()
    # Another disk at the same place.
    node.uuid, node.mounted_at, node.signatures = "77aa", "", []
    node.prepare()
    assert "What=UUID=77aa\n" in node.unit.read_text()
    assert DEVICE not in node.unit.read_text()


def test_a_unit_that_names_the_disk_before_is_written_anew(node: Node) -> None:
    """As where an administrator has mounted the new one by hand."""
    assert not place.is_prepared(node.directory, DEVICE)
    node.prepare()
    assert place.is_prepared(node.directory, DEVICE)
    current = node.unit.read_text()
    node.unit.write_text(current.replace(DEVICE, "/dev/other"))
    assert not place.is_prepared(node.directory, DEVICE)
    assert node.prepare() is True
    assert node.unit.read_text() == current
    node.unit.unlink()  # mounted by an entry of the administrator's own
    assert place.is_prepared(node.directory, DEVICE)


@pytest.mark.parametrize("uuid", ["", "0f6f8d2c"])
def test_it_is_not_mounted_by_the_kernel_s_name(node: Node, tmp_path: Path, uuid: str) -> None:
    (tmp_path / "udev").touch()
    node.uuid = uuid
    with pytest.raises(PlaceRefused, match="udev has no /dev/disk/by-uuid/%s for /dev/loo" % uuid):
        node.prepare()
    assert not node.unit.exists()


def test_where_there_is_no_udev_the_device_has_one_name(node: Node) -> None:
    node.prepare()
    assert "What=%s\n" % DEVICE in node.unit.read_text()


@pytest.mark.parametrize("name", ["gv0", "gv0/ganeti"])
def test_a_mount_may_hide_empty_directories_only(node: Node, name: str) -> None:
    os.makedirs(os.path.join(node.directory, name))
    assert node.prepare() is True
    node.mounted_at = ""
    Path(node.directory, name, "image").touch()
    with pytest.raises(PlaceRefused, match="contains files, which a mount would hide"):
        node.prepare()


class Broken:
    """A directory whose file system gives errors until it is unmounted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        self.directory = str(root)
        self.broken = self.ends = True
        self.commands: list[list[str]] = []
        monkeypatch.setattr(place.command, "run", self.run)
        real = os.listdir
        monkeypatch.setattr(
            place.os, "listdir", lambda path: self.fail() if self.broken else real(path)
        )

    def run(self, argv, *, timeout, check=True) -> CommandResult:
        if argv[0] == "systemctl":
            self.commands.append(list(argv))
            self.broken = not self.ends
        output = {"findmnt": "{}", "systemd-escape": "b.mount\n"}.get(argv[0], "")
        return CommandResult(tuple(argv), 0, output, "")

    def fail(self) -> list[str]:
        raise OSError(errno.EIO, "Input/output error")


def test_a_file_system_that_gives_errors_is_unmounted(monkeypatch, tmp_path: Path) -> None:
    node = Broken(monkeypatch, tmp_path)
    assert place.look(node.directory, "gv0").broken == "Input/output error"
    assert place.release(node.directory) is True
    assert node.commands == [["systemctl", "stop", "b.mount"]]
    assert place.release(node.directory) is False
    assert len(node.commands) == 1


def test_one_that_stays_is_told(monkeypatch, tmp_path: Path) -> None:
    node = Broken(monkeypatch, tmp_path)
    node.ends = False
    with pytest.raises(PlaceRefused, match="cannot be unmounted: Input/output error"):
        place.release(node.directory)


@pytest.mark.parametrize("below", ["", "sdb1"])
def test_the_sectors_of_a_device_and_of_a_partition(monkeypatch, tmp_path: Path, below) -> None:
    disk = tmp_path / "disk"
    (disk / "queue").mkdir(parents=True)
    (disk / "queue/logical_block_size").write_text("4096\n")
    (disk / "sdb1").mkdir()
    (tmp_path / "8:17").symlink_to(disk / below)
    monkeypatch.setattr(place, "BLOCK_DEVICES", tmp_path)
    assert place.sector(os.makedev(8, 17)) == 4096
    assert place.sector(os.makedev(0, 5)) == 0
