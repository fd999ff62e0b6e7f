"""What a server is told by a file, and who may read it."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from ganeti_gluster import constants
from ganeti_gluster.core.serve import files
from ganeti_gluster.core.serve.files import EXCLUSIVE, SHARED, Wanted
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.tools import names

SPEC = VolumeSpec.from_params({"volume": "gv0", "host": "node2:24008,[2001:db8::1],node1"})
SOURCE = Path(__file__).resolve().parents[3] / "src"


def mode_of(path: object) -> int:
    return stat.S_IMODE(os.stat(str(path)).st_mode)


def test_the_file_has_all_that_a_server_is_to_know(directory: Path) -> None:
    wanted = Wanted(
        SPEC,
        "ganeti/a b.0",
        1177,
        "abc",
        mode=SHARED,
        locking=False,
        patience=900,
        take="def",
    )
    files.write("k", wanted)
    assert (directory / "k.conf").read_text() == (
        "volume=gv0\nimage=ganeti/a b.0\n"
        "server=node2 24008\nserver=2001:db8::1 24007\nserver=node1 24007\n"
        "number=1177\nword=abc\ntake=def\nmode=shared\nlocking=off\n"
        "patience=900\n"
    )


def test_what_is_not_said_is_the_careful_choice() -> None:
    lines = Wanted(SPEC, "a", 1, "abc").lines().splitlines()
    assert {"mode=" + EXCLUSIVE, "locking=on", "take=", "patience=0"} < set(lines)


def test_the_server_reads_each_name_that_is_written() -> None:
    source = (SOURCE / "state.c").read_text()
    function = source.partition("static void take_config(")[2].partition("\n}\n")[0]
    written = files.parse(Wanted(SPEC, "a", 1, "abc").lines())
    assert set(re.findall(r'strcmp\(name, "(\w+)"\)', function)) == set(written)
    assert '#define RUN_DIR "%s"' % constants.IMAGE_SERVER_DIR in source
    assert '#define SOCKET_DIR "%s"' % constants.IMAGE_SOCKET_DIR in source


def test_the_server_has_room_for_the_longest_of_each() -> None:
    header = (SOURCE / "server.h").read_text()
    room = {name: int(size) for name, size in re.findall(r"char (\w+)\[(\d+)\];", header)}
    assert room["image"] > names.PATH_BYTES
    assert room["volume"] > names.VOLUME_NAME_LENGTH
    assert room["host"] > names.HOST_LENGTH
    assert room["key"] > len(names.unit_key("v" * names.VOLUME_NAME_LENGTH, "p"))


def test_what_a_server_is_told_is_roots_alone(directory: Path) -> None:
    files.write("k", Wanted(SPEC, "a", 1, "abc"))
    assert mode_of(directory / "k.conf") == 0o600
    assert mode_of(directory) == 0o700


def test_the_directory_of_sockets_can_be_passed_and_not_listed(directory: Path) -> None:
    files.write("k", Wanted(SPEC, "a", 1, "abc"))
    sockets = Path(constants.IMAGE_SOCKET_DIR)
    assert Path(files.path("k", "nbd")).parent == sockets
    assert mode_of(sockets) == 0o711
    sockets.chmod(0o777)
    files.make_directories()
    assert mode_of(sockets) == 0o711


def test_the_mode_of_a_directory_that_is_there_is_mended(directory: Path) -> None:
    directory.mkdir(parents=True, mode=0o777)
    directory.chmod(0o777)
    files.make_directories()
    assert mode_of(directory) == 0o700


def test_a_first_start_finds_nothing_of_an_earlier_one(directory: Path) -> None:
    files.make_directories()
    for suffix in ("held", "error", "nbd", "ctl"):
        Path(files.path("k", suffix)).touch()
    (directory / "other.held").touch()
    files.write("k", Wanted(SPEC, "a", 1, "abc"))
    assert sorted(os.listdir(directory)) == ["k.conf", "other.held"]
    assert os.listdir(constants.IMAGE_SOCKET_DIR) == []
    files.forget("k")
    files.forget("k")
    assert os.listdir(directory) == ["other.held"]


def test_a_file_is_read_by_names(directory: Path) -> None:
    assert files.read("k", "held") == {}
    files.make_directories()
    (directory / "k.held").write_bytes(b"mode=shared\nwhy=write: a=b \xff\nno sign\nseen=\n")
    assert files.read("k", "held") == {"mode": "shared", "why": "write: a=b \ufffd", "seen": ""}


def test_servers_are_known_by_their_files(directory: Path) -> None:
    assert files.served() == []
    files.make_directories()
    for name in ("b.conf", "a.conf", "a.held", "c.held", ".lock", "d.conf.12", "e.nbd"):
        (directory / name).touch()
    assert files.served() == ["a", "b"]


@pytest.mark.parametrize("suffix", ["nbd", "ctl"])
def test_the_path_of_a_socket_is_never_too_long(suffix: str) -> None:
    key = names.unit_key("v" * names.VOLUME_NAME_LENGTH, "p" * names.COMPONENT_BYTES)
    assert len(files.path(key, suffix)) <= 107
