"""What sysfs and /proc tell of devices, and the commands that make them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ganeti_gluster.core.export import exporter, loop, nbd, unit, users
from ganeti_gluster.tools.command import CommandFailed, CommandResult


@pytest.fixture
def sysfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (loop, nbd, users):
        monkeypatch.setattr(module, "SYSFS", str(tmp_path))
    return tmp_path


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_loop_device_is_known_by_its_number_and_its_file(sysfs: Path) -> None:
    path = "/run/x/gv0-1.aa"
    put(sysfs / "loop12/loop/backing_file", path + "\n")
    put(sysfs / "loop12/diskseq", "70\n")
    identity = loop.identity("/dev/loop12")
    assert identity == "loop12 70"
    assert loop.find(identity, path) == "/dev/loop12"
    assert loop.find(identity, "/run/x/gv0-1.bb") is None
    assert loop.find("loop12 69", path) is None
    assert loop.find("", path) is None
    for seen in (path + " (deleted)", "/"):  # its exporter was killed
        put(sysfs / "loop12/loop/backing_file", seen + "\n")
        assert loop.find(identity, path) == "/dev/loop12"
    os.unlink(sysfs / "loop12/loop/backing_file")
    assert loop.find(identity, path) is None


def test_without_sequence_numbers_the_file_tells(sysfs: Path) -> None:
    put(sysfs / "loop1/loop/backing_file", "/run/x/gv0-1.aa\n")
    identity = loop.identity("/dev/loop1")
    assert loop.find(identity, "/run/x/gv0-1.aa") == "/dev/loop1"
    assert loop.find(identity, "/run/x/gv0-1.bb") is None


def no_module(argv: object, *, timeout: float, check: bool = True) -> CommandResult:
    raise CommandFailed(["modprobe"], "exit status 1", exit_code=1)


def test_the_first_free_nbd_device_is_taken_by_number(sysfs: Path) -> None:
    for number in (0, 1, 2, 10):
        (sysfs / ("nbd%d" % number)).mkdir()
    (sysfs / "nbd0p1").mkdir()
    put(sysfs / "nbd0/pid", "17\n")
    assert nbd.devices() == ["/dev/nbd0", "/dev/nbd1", "/dev/nbd2", "/dev/nbd10"]
    assert nbd.free_device(no_module) == "/dev/nbd1"
    assert nbd.free_device(no_module, after="/dev/nbd2") == "/dev/nbd10"
    assert nbd.free_device(no_module, after="/dev/nbd10") is None


def test_the_driver_is_loaded_where_there_is_no_device(sysfs: Path) -> None:
    assert nbd.free_device(no_module) is None

    def load(argv: list[str], *, timeout: float, check: bool = True) -> CommandResult:
        assert argv == ["modprobe", "--quiet", "nbd"]
        (sysfs / "nbd0").mkdir()
        return CommandResult(tuple(argv), 0, "", "")

    assert nbd.free_device(load) == "/dev/nbd0"


def test_an_nbd_device_is_ours_if_a_process_of_the_unit_serves_it(sysfs: Path) -> None:
    (group,) = (
        line.strip().rpartition("/")[2] or "/"
        for line in Path("/proc/self/cgroup").read_text().splitlines()[:1]
    )
    put(sysfs / "nbd0/pid", "%d\n" % os.getpid())
    assert nbd.served_by("nbd0", "no-such.service") is None
    if group != "/":
        assert nbd.served_by("nbd0", group) == "/dev/nbd0"
    put(sysfs / "nbd0/pid", "4194304\n")  # beyond the largest process
    assert nbd.served_by("nbd0", group) is None
    assert nbd.served_by("nbd1", group) is None


def test_qemu_nbd_passes_on_what_the_images_server_has_and_waits_for_it() -> None:
    argv = nbd.server_argv("/dev/nbd4", "/run/x.nbd", 900)
    assert argv[:2] == ["qemu-nbd", "--connect=/dev/nbd4"]
    assert {"--cache=none", "--discard=unmap", "--persistent"} < set(argv)
    blockdev = json.loads(argv[-1].removeprefix("json:"))
    assert blockdev["driver"] == "raw"
    assert blockdev["file"] == {
        "driver": "nbd",
        "server": {"type": "unix", "path": "/run/x.nbd"},
        "reconnect-delay": 960,
    }


def test_the_exporter_takes_the_arguments_that_it_is_given() -> None:
    argv = unit.exporter_argv("gv0", "ganeti/x.0", "/run/y", "/run/x.nbd", 960)
    options = exporter.parse(argv[argv.index(unit.EXPORTER) + 1 :])
    assert (options.socket, options.path, options.seconds) == ("/run/x.nbd", "/run/y", 960)
    assert "--image=ganeti/x.0" in argv


def test_an_exporter_is_never_restarted() -> None:
    argv = unit.start_argv("x.service", "X", ["true"], unit.EXPORTER_PROPERTIES)
    assert "--property=Restart=no" in argv
    assert argv[-2:] == ["--", "true"]


def test_a_failed_start_says_what_the_program_said() -> None:
    def run(argv: list[str], *, timeout: float, check: bool = True) -> CommandResult:
        if argv[0] == "systemd-run":
            raise CommandFailed(argv, "exit status 1", exit_code=1, output="Job failed")
        return CommandResult(tuple(argv), 0, "no such image\n" if len(argv) > 2 else "", "")

    with pytest.raises(Exception, match=r"^no such image$"):
        unit.start("x.service", "X", ["true"], (), run)


def test_users_of_a_device_are_processes_mounts_and_devices(
    sysfs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc = sysfs / "proc"
    monkeypatch.setattr(users, "PROC", str(proc))
    put(sysfs / "loop3/dev", "7:3\n")
    put(sysfs / "loop3/size", "2048\n")
    put(proc / "self/mountinfo", "1 0 7:3 / /mnt rw - ext4 x rw\n2 0 7:31 / /srv rw - ext4 y rw\n")
    put(proc / "12/comm", "qemu\n")
    (proc / "12/fd").mkdir()
    (proc / "12/fd/4").symlink_to("/dev/loop3")
    put(proc / "13/comm", "other\n")
    (proc / "13/fd").mkdir()
    (proc / "13/fd/4").symlink_to("/dev/loop31")
    (sysfs / "loop3/holders/dm-0").mkdir(parents=True)
    assert users.of("/dev/loop3") == [
        "qemu (process 12)",
        "the mount at /mnt",
        "the device dm-0",
    ]
    assert users.of("/dev/loop4") == []
    assert users.size("/dev/loop3") == 1 << 20
