"""Which directories are removed as bricks."""

from __future__ import annotations

from pathlib import Path

import pytest

from ganeti_gluster.core.pool import discard, place
from ganeti_gluster.core.pool.place import PlaceRefused
from ganeti_gluster.errors import GanetiGlusterError, InvalidParameter
from ganeti_gluster.tools.gluster_cli import GlusterFailed, VolumeBrick, VolumeInfo

OWN = "00000000-0000-4000-8000-000000000001"
OTHER = "00000000-0000-4000-8000-000000000002"
ID = "9f7e4e2c-7f3f-4a9e-a6cf-7f1f1f0a5b3d"
ID2 = "9f7e4e2c-7f3f-4a9e-a6cf-7f1f1f0a5b3e"


class Glusterd:
    """What the node's own glusterd says."""

    def __init__(self) -> None:
        self.known: list[VolumeInfo] = []
        self.down = False

    def own_uuid(self) -> str:
        return OWN

    def volumes(self) -> list[VolumeInfo]:
        if self.down:
            raise GlusterFailed(["volume", "info"], "no glusterd answers")
        return self.known

    def knows(self, *paths: str, name="gv0", uuid=ID, state="Stopped", server=OWN) -> None:
        bricks = tuple(VolumeBrick("node1", path, server) for path in paths)
        self.known.append(VolumeInfo(name, uuid, state, "Replicate", 3, 0, 0, 0, bricks, {}))


@pytest.fixture
def glusterd() -> Glusterd:
    return Glusterd()


@pytest.fixture
def marks(monkeypatch) -> dict[str, str]:
    """The volume's mark of each directory."""
    found: dict[str, str] = {}
    monkeypatch.setattr(place, "volume_id", lambda path: found.get(path, ""))
    return found


@pytest.fixture
def brick(tmp_path: Path, marks: dict[str, str]) -> Path:
    """The directory of a brick, with an image in it."""
    path = tmp_path / "bricks" / "gv0"
    (path / "ganeti").mkdir(parents=True)
    (path / "ganeti" / "image").write_text("data")
    marks[str(path)] = ID
    return path


def remove(brick: Path | str, glusterd: Glusterd, *, volume="gv0", volume_id=ID) -> bool:
    return discard.discard(str(brick), volume, volume_id, glusterd)  # type: ignore[arg-type]


def test_a_brick_of_a_stopped_volume_is_removed(glusterd: Glusterd, brick: Path) -> None:
    glusterd.knows(str(brick))
    assert remove(brick, glusterd) is True
    assert not brick.exists()
    assert brick.parent.exists()
    assert remove(brick, glusterd) is False


def test_what_was_a_brick_is_removed_by_its_mark(glusterd: Glusterd, brick: Path) -> None:
    glusterd.knows("/srv/new/gv0", state="Started")
    assert remove(brick, glusterd) is True
    assert not brick.exists()


def test_what_is_left_of_a_brick_is_removed(glusterd: Glusterd, brick: Path, marks) -> None:
    glusterd.knows(str(brick))
    (brick / "ganeti" / "image").unlink()
    (brick / "ganeti").rmdir()
    marks.clear()
    assert remove(brick, glusterd) is True


@pytest.mark.parametrize("volume_id", ["", "x", ID.upper(), ID + "\n"])
def test_nothing_is_removed_for_what_is_no_uuid(
    glusterd: Glusterd, brick: Path, marks, volume_id: str
) -> None:
    """Where there is no mark either, an empty UUID would be the right one."""
    marks[str(brick)] = volume_id
    glusterd.knows(str(brick), uuid=volume_id)
    with pytest.raises(InvalidParameter, match="UUID "):
        remove(brick, glusterd, volume_id=volume_id)
    assert (brick / "ganeti" / "image").exists()


@pytest.mark.parametrize("path", ["/", "relative", "/srv/../etc", "/srv/"])
def test_nothing_is_removed_by_an_odd_path(glusterd: Glusterd, path: str) -> None:
    with pytest.raises(InvalidParameter, match="directory "):
        remove(path, glusterd)


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"state": "Started"}, "is a brick of volume gv0, which is started"),
        ({"uuid": ID2}, "glusterd has no volume gv0 with UUID %s" % ID),
        ({"name": "gv1"}, "glusterd has no volume gv0 with UUID %s" % ID),
    ],
)
def test_glusterd_s_word_counts(glusterd: Glusterd, brick: Path, known, message) -> None:
    glusterd.knows(str(brick), **known)
    with pytest.raises(PlaceRefused, match=message):
        remove(brick, glusterd)
    assert (brick / "ganeti" / "image").exists()


def test_a_glusterd_that_does_not_answer_removes_nothing(glusterd: Glusterd, brick: Path) -> None:
    glusterd.knows(str(brick))
    glusterd.down = True
    with pytest.raises(GanetiGlusterError, match="no glusterd answers"):
        remove(brick, glusterd)
    assert brick.exists()


@pytest.mark.parametrize("mark", ["", ID2])
@pytest.mark.parametrize("present", [True, False])
def test_another_mark_or_none_keeps_it(
    glusterd: Glusterd, brick: Path, marks, mark: str, present: bool
) -> None:
    marks[str(brick)] = mark
    glusterd.knows(str(brick), server=OWN if present else OTHER)
    with pytest.raises(PlaceRefused, match="is not a brick of volume gv0 and is left as it is"):
        remove(brick, glusterd)
    assert (brick / "ganeti" / "image").exists()


def test_an_empty_directory_that_is_no_brick_stays(glusterd: Glusterd, tmp_path: Path) -> None:
    glusterd.knows("/srv/new/gv0")
    with pytest.raises(PlaceRefused, match="is not a brick of volume gv0"):
        remove(tmp_path, glusterd)
    assert tmp_path.exists()


@pytest.mark.parametrize("way", ["in", "above", "same"])
def test_a_directory_with_another_brick_stays(glusterd: Glusterd, brick: Path, way: str) -> None:
    glusterd.knows(str(brick))
    other = {"in": brick / "x", "above": brick.parent, "same": brick}[way]
    glusterd.knows(str(other), name="gv1", uuid=ID2)
    with pytest.raises(PlaceRefused, match="overlaps a brick of volume gv1"):
        remove(brick, glusterd)
    assert brick.exists()


def test_a_link_stays(glusterd: Glusterd, brick: Path) -> None:
    link = brick.parent / "link"
    link.symlink_to(brick)
    glusterd.knows(str(link))
    with pytest.raises(PlaceRefused, match="link is not a directory"):
        remove(link, glusterd)
    assert brick.exists()
