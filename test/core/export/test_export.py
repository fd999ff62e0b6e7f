"""Exports: one exporter an image, flushed before it goes, nothing left behind."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ganeti_gluster import constants
from ganeti_gluster.core.export import Export, ExportFailed, control, export, loop, nbd, users
from ganeti_gluster.core.serve import control as server_control
from ganeti_gluster.core.serve import files
from ganeti_gluster.core.volume import VolfileServer, VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.command import CommandFailed, CommandResult

SPEC = VolumeSpec("gv0", (VolfileServer("node1", 24007), VolfileServer("node2", 24007)))
IMAGE = "ganeti/9f8d.0"
MIB = 1 << 20


def served(state: str = server_control.SERVING, why: str = "") -> server_control.ServerStatus:
    return server_control.ServerStatus(
        state=state,
        mode="exclusive",
        size=64 * MIB,
        block=512,
        peers=(),
        users=0,
        waiting=0,
        why=why,
        requests=0,
        bricks=3,
        connected=3,
        version="",
    )


class Node:
    """A node's systemd, loop and nbd devices, as far as exports go."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.commands: list[str] = []
        self.active = False
        self.answers = True
        self.argv: list[str] = []  # of the unit that was started last
        self.server: server_control.ServerStatus | Exception | None = served()
        self.dies = False  # when its device is flushed
        self.fail: str | None = None
        self.code = 1
        self.users: list[str] = []
        self.size = 64 * MIB
        self.nbd: dict[str, str | None] = {}  # device: who serves it
        self.taken: list[str] = []  # by others, at the moment we start

    def run(self, argv: Sequence[str], *, timeout: float, check: bool = True) -> CommandResult:
        if argv[:2] == ["systemctl", "show"]:
            return CommandResult(tuple(argv), 0, "active\n" if self.active else "inactive\n", "")
        name = os.path.basename(argv[0])
        name = "systemctl %s" % argv[2] if name == "systemctl" else name
        name = "flush" if "-c" in argv else name
        self.commands.append(name)
        if name == "flush" and self.dies:
            self.answers = False
        if name == self.fail:
            raise CommandFailed(argv, "failed", exit_code=self.code, output="no luck")
        if name == "modprobe":
            raise CommandFailed(argv, "exit status 1", exit_code=1)
        if name == "systemd-run":
            self.start(list(argv))
        if name == "losetup":
            self.loops = False
        if name == "systemctl stop":
            self.loops = self.loops and not self.active  # a dead one releases nothing
            self.active = False
            self.nbd = {k: None if v == "us" else v for k, v in self.nbd.items()}
        return CommandResult(tuple(argv), 0, "", "")

    loops = False

    def server_status(
        self, key: str, *, timeout: float = 5.0
    ) -> server_control.ServerStatus | None:
        if isinstance(self.server, Exception):
            raise self.server
        return self.server

    def start(self, argv: list[str]) -> None:
        self.active = True
        self.argv = argv
        if "qemu-nbd" not in argv:
            self.loops = True
            return
        (device,) = (a.partition("=")[2] for a in argv if a.startswith("--connect="))
        if device in self.taken:
            self.nbd[device] = "somebody else"
            self.active = False
        else:
            self.nbd[device] = "us"

    def find(self, identity: str, path: str) -> str | None:
        return "/dev/loop3" if self.loops else None


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    node = Node(tmp_path)
    monkeypatch.setattr(constants, "RUN_DIR", str(tmp_path))
    monkeypatch.setattr(constants, "EXPORT_DIR", str(tmp_path / "exports"))
    monkeypatch.setattr(constants, "IMAGE_SERVER_DIR", str(tmp_path / "images"))
    monkeypatch.setattr(constants, "IMAGE_SOCKET_DIR", str(tmp_path / "sockets"))
    monkeypatch.setattr(server_control, "status", node.server_status)
    monkeypatch.setattr(loop, "find", node.find)
    monkeypatch.setattr(nbd, "devices", lambda: sorted(node.nbd))
    monkeypatch.setattr(nbd, "is_connected", lambda device: node.nbd[device] is not None)
    monkeypatch.setattr(
        nbd,
        "served_by",
        lambda name, unit: "/dev/" + name if node.nbd.get("/dev/" + name) == "us" else None,
    )
    monkeypatch.setattr(control, "is_there", lambda path: node.answers)
    monkeypatch.setattr(users, "size", lambda device: node.size)
    monkeypatch.setattr(users, "of", lambda device: node.users)
    monkeypatch.setattr(export, "USER_SECONDS", 0)
    return node


def an_export(node: Node, image: str = IMAGE) -> Export:
    return Export(SPEC, image, run=node.run)


STOPPED = ["systemctl stop", "systemctl reset-failed"]
CLEAN = ["modprobe"]
FRESH = [*STOPPED, *CLEAN, "systemd-run"]


def left() -> list[str]:
    return os.listdir(constants.EXPORT_DIR)


def test_its_files_are_root_s_alone_whatever_was_there(node: Node, tmp_path: Path) -> None:
    locks = tmp_path / "locks"
    for directory in (locks, tmp_path / "exports"):
        directory.mkdir()
        directory.chmod(0o755)
    export = an_export(node)
    lock = locks / export.key[-2:]
    lock.touch()
    lock.chmod(0o666)
    export.start()
    (record,) = (tmp_path / "exports").iterdir()
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (locks, lock, record.parent, record)]
    assert modes == [0o700, 0o600, 0o700, 0o600]


def test_constructing_one_does_nothing(node: Node) -> None:
    assert an_export(node).device() is None
    assert node.commands == []
    assert not os.path.exists(constants.EXPORT_DIR)


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (None, "it has no server on this node"),
        (
            server_control.NoAnswer("its server does not answer within 5 s"),
            "does not answer within 5 s",
        ),
        (
            served(server_control.LOST, "another node has had the image in the meantime"),
            "its server no longer serves it: another node has had the image in the meantime",
        ),
    ],
)
def test_an_image_that_is_not_served_here_is_not_exported(
    node: Node, server: server_control.ServerStatus | Exception | None, reason: str
) -> None:
    node.server = server
    with pytest.raises(
        ExportFailed,
        match="^cannot export image %s of volume gv0: .*%s; see journalctl --unit=.*-image@"
        % (IMAGE, reason),
    ):
        an_export(node).start()
    assert node.commands == []


@pytest.mark.parametrize("patience", [0, 900])
def test_the_exporter_waits_longer_for_the_server_than_the_server_for_its_volume(
    node: Node, patience: int
) -> None:
    an = an_export(node)
    files.write(an.key, files.Wanted(SPEC, IMAGE, 1, "word", patience=patience))
    an.start()
    assert "--seconds=%d" % (patience + 60) in node.argv
    assert "--socket=%s/%s.nbd" % (constants.IMAGE_SOCKET_DIR, an.key) in node.argv


def test_an_export_ends_before_the_server_when_the_node_goes_down(node: Node) -> None:
    an = an_export(node)
    an.start()
    assert "--property=After=ganeti-gluster-image@%s.service" % an.key in node.argv


def test_images_have_different_units(node: Node) -> None:
    images = [an_export(node, image) for image in ("a/b.0", "a/b.1", "a-b.0")]
    assert len({image.unit for image in images}) == 3
    assert an_export(node).unit == an_export(node).unit


def test_the_longest_name_of_a_volume_fits(node: Node) -> None:
    an = Export(VolumeSpec("v" * 255, SPEC.servers), IMAGE, run=node.run)
    other = Export(VolumeSpec("v" * 254, SPEC.servers), IMAGE, run=node.run)
    assert an.unit != other.unit
    assert len("/run/ganeti-gluster/exports/%s.%s%s" % (an.key, "0" * 16, control.SUFFIX)) <= 107


def test_an_active_export_is_used_as_it_is(node: Node) -> None:
    first = an_export(node).start(node.size)
    assert first == "/dev/loop3"
    assert an_export(node).start(node.size) == first
    assert node.commands == FRESH


def test_the_file_of_each_start_has_a_name_of_its_own(node: Node) -> None:
    # Another container's loop device may have been opened by the same path.
    names = []
    for _ in range(2):
        an_export(node).start()
        names += left()
        an_export(node).stop()
    assert len(set(names)) == 2


def test_an_active_export_is_given_the_images_size(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def ask(path: str, question: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        asked.append(question)
        node.size = question["resize"]
        return question

    monkeypatch.setattr(control, "ask", ask)
    an_export(node).start(64 * MIB)
    an_export(node).start(96 * MIB)
    assert asked == [{"resize": 96 * MIB}]


def test_a_device_of_the_wrong_size_is_refused(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "ask", lambda path, question, *, timeout: question)
    an_export(node).start(64 * MIB)
    with pytest.raises(ExportFailed, match="/dev/loop3 has 67108864 bytes, but the image has 1;"):
        an_export(node).start(1)
    assert an_export(node).device() == "/dev/loop3"


def test_a_failed_start_leaves_nothing(node: Node) -> None:
    node.fail = "systemd-run"
    with pytest.raises(
        ExportFailed, match="cannot export image %s of volume gv0: no luck" % IMAGE
    ):
        an_export(node).start()
    assert node.commands[-2:] == STOPPED
    assert left() == []


def test_an_exporter_that_died_is_replaced(node: Node) -> None:
    an_export(node).start()
    node.active = False
    an_export(node).start()
    assert len(left()) == 1
    assert node.commands.count("losetup") == 1, "the dead device is released"


def test_one_that_was_killed_a_moment_ago_is_replaced(node: Node) -> None:
    an_export(node).start()
    node.answers = False  # and systemd does not know it yet
    an_export(node).start()
    assert node.commands.count("systemd-run") == 2
    assert len(left()) == 1


def test_stopping_one_whose_exporter_died_takes_it_away_and_says_so(node: Node) -> None:
    an_export(node).start()
    node.active = False
    with pytest.raises(ExportFailed, match="has died; the data written last"):
        an_export(node).stop()
    assert left() == []
    an_export(node).stop()  # and nothing is left to say


def test_stopping_flushes_first(node: Node) -> None:
    an_export(node).start()
    node.commands.clear()
    an_export(node).stop()
    assert node.commands == ["flush", *STOPPED]
    assert left() == []


def test_stopping_what_is_not_exported_runs_nothing(node: Node) -> None:
    an_export(node).stop()
    assert node.commands == []


def test_an_image_that_cannot_be_flushed_stays_exported(node: Node) -> None:
    an_export(node).start()
    node.fail = "flush"
    with pytest.raises(
        ExportFailed, match=r"/dev/loop3, .* could not be flushed: no luck; its export"
    ):
        an_export(node).stop()
    assert node.active and an_export(node).device() == "/dev/loop3"


def test_an_export_in_use_stays(node: Node) -> None:
    an_export(node).start()
    node.users = ["qemu-system-x86 (process 7)"]
    with pytest.raises(ExportFailed, match=r"still in use; by qemu-system-x86 \(process 7\)"):
        an_export(node).stop()
    assert node.active and "flush" not in node.commands


def test_an_exporter_that_dies_while_its_device_is_flushed_is_taken_away(node: Node) -> None:
    an_export(node).start()
    node.fail, node.dies = "flush", True
    with pytest.raises(ExportFailed, match="has died; the data written last"):
        an_export(node).stop()
    assert left() == []


def test_a_device_that_the_kernel_uses_stays(node: Node) -> None:
    an_export(node).start()
    node.fail, node.code = "flush", errno.EBUSY
    with pytest.raises(ExportFailed, match="still in use; by the kernel itself"):
        an_export(node).stop()
    assert node.active and an_export(node).device() == "/dev/loop3"


def test_a_device_can_be_flushed_while_it_stays(node: Node) -> None:
    an_export(node).flush()
    assert node.commands == []
    an_export(node).start()
    an_export(node).flush()
    assert node.commands[-1] == "flush" and node.active
    node.fail, node.code = "flush", errno.EBUSY
    with pytest.raises(ExportFailed, match="still in use"):
        an_export(node).flush()


def test_a_part_of_a_sector_is_not_missed(node: Node) -> None:
    assert an_export(node).start(64 * MIB + 100) == "/dev/loop3"


def test_only_an_active_export_grows(node: Node) -> None:
    assert not an_export(node).grow(96 * MIB)
    an_export(node).start()
    with pytest.raises(
        ExportFailed, match=r"could not be resized .*: its exporter cannot be reached"
    ):
        an_export(node).grow(96 * MIB)


def test_nbd_is_taken_where_the_kernel_has_it(node: Node) -> None:
    node.nbd = {"/dev/nbd0": "somebody else", "/dev/nbd1": None}
    assert an_export(node).start(node.size) == "/dev/nbd1"
    assert an_export(node).start(node.size) == "/dev/nbd1"
    assert node.commands == [*STOPPED, "systemd-run"]
    assert [name.rpartition(".")[2] for name in left()] == ["nbd1"]
    assert not an_export(node).grow(96 * MIB), "qemu-nbd's device keeps its size"
    node.commands.clear()
    an_export(node).stop()
    assert node.commands == ["flush", "qemu-nbd", *STOPPED]
    assert left() == []


def test_an_nbd_device_that_another_takes_meanwhile_is_passed_over(node: Node) -> None:
    node.nbd = {"/dev/nbd0": None, "/dev/nbd1": None}
    node.taken = ["/dev/nbd0"]
    assert an_export(node).start() == "/dev/nbd1"
    assert node.nbd["/dev/nbd0"] == "somebody else"
    assert len(left()) == 1


def test_without_a_free_nbd_device_the_image_is_exported_by_fuse(node: Node) -> None:
    node.nbd = {"/dev/nbd0": "somebody else"}
    assert an_export(node).start() == "/dev/loop3"


def test_its_errors_are_the_packages(node: Node) -> None:
    assert issubclass(ExportFailed, GanetiGlusterError)
