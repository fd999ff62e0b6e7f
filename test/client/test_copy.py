"""`gnt-gluster image`, through its own entry point, on a volume that is a directory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from local_volume import LocalVolume

from ganeti_gluster.errors import VolumeUnreachable

from .conftest import Entry, raiser

CONTENT = b"x" * 4096
UNREACHABLE = VolumeUnreachable("volume gv0 cannot be reached", volume="gv0")


@pytest.fixture
def volume(check: Entry, tmp_path: Path) -> LocalVolume:
    """The volume, with the image ganeti/x."""
    (tmp_path / "volume").mkdir()
    made = LocalVolume(tmp_path / "volume")
    made.write("ganeti/x", CONTENT)
    check.replace("client.copy", connect=lambda spec: made)
    check.replace("storage.node_names", own=lambda: "node1", every=lambda: ["node1"])
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with the content of an image."""
    (tmp_path / "file").write_bytes(CONTENT)
    return tmp_path / "file"


@pytest.mark.parametrize("words", ["export %s -", "import - %s", "copy %s gv0/ganeti/y"])
@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("gv0", "image 'gv0': expected VOLUME/PATH\n"),
        ("a:b/ganeti/x", "volume name 'a:b': "),
        ("gv0/", "image path '': "),
        ("gv0/../x", "image path '../x': "),
        ("--host=a/b gv0/x", "host 'a/b': "),
        ("gv0/ganeti/x", "volume gv0 cannot be reached\n"),
    ],
)
def test_what_is_no_image(check: Entry, file: Path, words: str, image: str, said: str) -> None:
    check.replace("client.copy", connect=raiser(UNREACHABLE))
    check.patch.setattr(sys, "stdin", file.open())
    check.patch.setattr(sys, "stdout", SinkOf(sys.stdout))
    option, _, image = image.rpartition(" ")
    command, _, rest = (words % image).partition(" ")
    check("image %s %s %s" % (command, option, rest), 1, err="Failure: %s" % said)


class SinkOf:
    """A standard output that has a descriptor."""

    def __init__(self, stream: Any) -> None:
        self.write, self.flush = stream.write, stream.flush

    def fileno(self) -> int:
        return 1


@pytest.mark.parametrize("words", ["export gv0/ganeti/x f", "import f gv0/y", "copy gv0/x gv0/y"])
@pytest.mark.parametrize("limit", ["0", "-1"])
def test_a_limit_that_is_none(check: Entry, words: str, limit: str) -> None:
    command, _, rest = words.partition(" ")
    said = "Failure: bandwidth limit %s: it must be at least 1 MiB per second\n" % limit
    check("image %s --bandwidth-limit=%s %s" % (command, limit, rest), 1, err=said)


@pytest.mark.parametrize("words", ["export gv0/ganeti/y f", "copy gv0/ganeti/y gv0/ganeti/z"])
def test_an_image_that_is_not_there(check: Entry, volume: LocalVolume, words: str) -> None:
    said = "image ganeti/y of volume gv0 does not exist"
    check("image %s" % words, 1, err="Failure: %s\n" % said)


@pytest.mark.parametrize("words", ["export gv0/ganeti/x f", "copy gv0/ganeti/x gv0/ganeti/z"])
def test_an_image_that_is_open(check: Entry, volume: LocalVolume, words: str) -> None:
    said = "image ganeti/x of volume gv0 is open on a node and may change while it is copied"
    with volume.elsewhere("ganeti/x", 5):
        check("image %s" % words, 1, err="Failure: %s; copy a snapshot of it" % said)


def test_a_file_that_is_not_there(check: Entry, volume: LocalVolume, tmp_path: Path) -> None:
    none = tmp_path / "none"
    said = "Failure: %s: No such file or directory\n" % none
    check("image import %s gv0/ganeti/y" % none, 1, err=said)
    check("image export gv0/ganeti/x %s/f" % none, 1, err="No such file or directory")
    assert volume.names() == ["ganeti/x"]


def test_what_is_neither_file_nor_device(
    check: Entry, volume: LocalVolume, tmp_path: Path
) -> None:
    said = "Failure: %s is neither a file nor a block device\n" % tmp_path
    check("image import %s gv0/ganeti/y" % tmp_path, 1, err=said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("export gv0/ganeti/x {file}", "{file} already exists"),
        ("import {file} gv0/ganeti/x", "image ganeti/x of volume gv0 already exists"),
        ("copy gv0/ganeti/x gv0/ganeti/x", "image ganeti/x of volume gv0 already exists"),
    ],
)
def test_nothing_is_overwritten(
    check: Entry, volume: LocalVolume, file: Path, words: str, said: str
) -> None:
    said = "Failure: %s; remove it or choose another name\n" % said.format(file=file)
    check("image %s" % words.format(file=file), 1, err=said)


def test_nor_a_device_if_the_answer_is_no(check: Entry, volume: LocalVolume, file: Path) -> None:
    check.replace("client.copy", is_block_device=lambda place: True)
    check.answer(False)
    said = "Nothing was copied; use --yes to skip this question\n"
    check("image export gv0/ganeti/x %s" % file, 13, err=said)
    assert check.questions == ["Overwrite %s with image ganeti/x of volume gv0?" % file]
    assert file.read_bytes() == CONTENT


def test_an_image_is_copied_to_a_file_and_back(
    check: Entry, volume: LocalVolume, tmp_path: Path
) -> None:
    target = tmp_path / "new"
    done = "Copied image ganeti/x of volume gv0 to %s: 0 MiB" % target
    check("image export gv0/ganeti/x %s" % target, 0, err=done)
    assert target.read_bytes() == CONTENT
    done = "Copied %s to image ganeti/y of volume gv0: 0 MiB" % target
    check("image import --checksum %s gv0/ganeti/y" % target, 0, err=done)
    assert volume.read("ganeti/y") == CONTENT


def test_an_image_is_copied_to_another(check: Entry, volume: LocalVolume) -> None:
    done = "Copied image ganeti/x of volume gv0 to image ganeti/y of volume gv0: 0 MiB"
    check("image copy gv0/ganeti/x gv0/ganeti/y", 0, err=done)
    assert volume.read("ganeti/y") == CONTENT
