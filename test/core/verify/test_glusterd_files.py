"""The files of glusterd, as it writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ganeti_gluster.core.verify.glusterd_files import checksums, incomplete, is_member

PEER = "peers/92e25a96-55cf-40f6-bf3c-bf4061c11a98"
BRICKS = "vols/gv0/bricks/"
FILES = {
    PEER: "uuid=92e25a96-55cf-40f6-bf3c-bf4061c11a98\nstate=3\nhostname1=node2\n",
    "peers/node3": "",  # of a probe that has not ended
    "vols/gv0/info": "type=2\nbrick-0=node1:-srv-gv0\nbrick-1=node2:-srv-gv0\nstatus=1\n",
    "vols/gv0/snapd.info": "",
    BRICKS + "node1:-srv-gv0": "hostname=node1\n",
    BRICKS + "node2:-srv-gv0": "hostname=node2\n",
    BRICKS + "node4:-srv-gv0": "",  # is not the volume's yet, or no more
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_member_of_a_pool(tmp_path: Path) -> None:
    assert is_member(tmp_path) is False
    (tmp_path / "vols").mkdir()
    assert is_member(tmp_path) is False
    (tmp_path / "vols/gv0").mkdir()
    assert is_member(tmp_path) is True


def test_the_checksums_of_volumes(tmp_path: Path) -> None:
    for name, text in (("gv0", "a=1\nb=2\n"), ("gv1", "b=2\na=1\n"), ("gv2", "a=1\nb=3\n")):
        (tmp_path / "vols" / name).mkdir(parents=True)
        (tmp_path / "vols" / name / "info").write_text(text)
    found = checksums(tmp_path)
    assert found["gv0"] == found["gv1"] != found["gv2"]


def test_what_glusterd_can_do_without(directory: Path) -> None:
    assert incomplete(directory) == ()


@pytest.mark.parametrize("name", [PEER, "vols/gv0/info", BRICKS + "node2:-srv-gv0"])
def test_an_empty_file(directory: Path, name: str) -> None:
    (directory / name).write_text("")
    assert incomplete(directory) == (name,)


def test_missing_files(directory: Path) -> None:
    (directory / BRICKS / "node1:-srv-gv0").unlink()
    (directory / "vols/gv1").mkdir()
    assert incomplete(directory) == (BRICKS + "node1:-srv-gv0", "vols/gv1/info")
