"""Which images make a snapshot, and which give way."""

from __future__ import annotations

import pytest

from ganeti_gluster.core.copy.interface import PARTIAL
from ganeti_gluster.core.image import ImageInfo
from ganeti_gluster.core.snapshot import catalogue
from ganeti_gluster.core.snapshot.catalogue import About, Entry, Snapshot
from ganeti_gluster.errors import InvalidParameter

UUID = "3bcf4bcd-8379-4e25-9c80-5371cb899f56"
DISKS = {0: "ganeti/%s.0" % UUID, 1: "ganeti/adopted"}


def info(path: str, mtime: float = 0.0) -> ImageInfo:
    return ImageInfo(path, 1 << 20, 4096, 0o600, 0, 0, mtime)


def about(name: str, *disks: int, taken: float = 1.0, rotated: bool = False) -> About:
    return About("vm1", name, taken, disks, True, rotated)


def snapshot(name: str, taken: float, *, rotated: bool) -> Snapshot:
    tells = about(name, 0, taken=taken, rotated=rotated)
    return Snapshot(UUID, name, tells, {0: info(name)}, ())


@pytest.mark.parametrize(
    ("path", "entry"),
    [
        ("ganeti/%s.0.snap.a" % UUID, Entry(0, "a", True)),
        ("ganeti/%s.0.snap.a%s" % (UUID, PARTIAL), Entry(0, "a", False)),
        ("ganeti/adopted.snap.b", Entry(1, "b", True)),
        ("ganeti/%s.7.snap.of-a-removed-disk" % UUID, Entry(7, "of-a-removed-disk", True)),
        ("ganeti/%s.0" % UUID, None),
        ("ganeti/%s.0.snap.a" % UUID.replace("3", "4"), None),
        ("ganeti/unknown.snap.a", None),
    ],
)
def test_an_images_path_tells_what_it_is(path: str, entry: Entry | None) -> None:
    assert catalogue._entry(path, UUID, DISKS) == entry


def test_a_snapshot_is_whole_when_each_of_its_disks_is_there() -> None:
    (found,) = catalogue.group(
        UUID,
        [
            (Entry(0, "a", True), info("x.0"), about("a", 0, 1)),
            (Entry(1, "a", True), info("x.1"), about("a", 0, 1)),
        ],
    )
    assert found.complete and found.taken == 1.0 and found.allocated == 8192


@pytest.mark.parametrize(
    "rest",
    [
        [],
        [(Entry(1, "a", False), info("x.1" + PARTIAL), None)],
        [(Entry(1, "a", True), info("x.1"), None)],
        [(Entry(1, "a", True), info("x.1"), about("b", 0, 1))],  # a copy by other means
    ],
)
def test_a_snapshot_that_was_cut_short_is_not_whole(
    rest: list[tuple[Entry, ImageInfo, About | None]],
) -> None:
    first = (Entry(0, "a", True), info("x.0"), about("a", 0, 1))
    (found,) = catalogue.group(UUID, [first, *rest])
    assert not found.complete
    assert [each.path for each in found.leftovers] == [each[1].path for each in rest]


def test_the_oldest_come_first() -> None:
    found = catalogue.group(
        UUID,
        [
            (Entry(0, "a", True), info("a"), about("a", 0, taken=3.0)),
            (Entry(0, "b", True), info("b"), about("b", 0, taken=2.0)),
            (Entry(0, "c", False), info("c", mtime=1.0), None),
        ],
    )
    assert [each.name for each in found] == ["c", "b", "a"]


def test_only_those_of_the_rotation_give_way() -> None:
    old, precious = snapshot("old", 1, rotated=True), snapshot("precious", 2, rotated=False)
    newer, newest = snapshot("newer", 3, rotated=True), snapshot("newest", 4, rotated=True)
    everything = [old, precious, newer, newest]
    assert catalogue.outdated(everything, 2) == [old]
    assert catalogue.outdated(everything, 1) == [old, newer]
    assert catalogue.outdated(everything, 3) == []
    with pytest.raises(InvalidParameter, match="at least one snapshot must be kept"):
        catalogue.outdated(everything, 0)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("ganeti-backup", "Ganeti's backups"),
        ("a.partial", "must not end with .partial"),
        ("x" * 65, "longer than 64"),
        ("a/b", "only letters"),
        ("", "empty"),
    ],
)
def test_bad_names_are_refused(name: str, why: str) -> None:
    with pytest.raises(InvalidParameter, match=why):
        catalogue.check_name(name)


def test_default_names_sort_by_time() -> None:
    assert catalogue.check_name(catalogue.default_name(1795251612)) == "20261121-090012"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"x",
        b"\xff",
        b"[]",
        b'{"name": "a"}',
        b'{"disks": 1}',
        b"[" * 100_000,
        b'{"instance": "i", "name": "a\\u001b[2J", "taken": 5.5, "disks": [0]}',
        # No calendar has it.
        b'{"instance": "i", "name": "a", "taken": 1e300, "disks": [0]}',
        b'{"instance": "i", "name": "a", "taken": NaN, "disks": [0]}',
    ],
    ids=lambda value: repr(value[:60]),
)
def test_what_an_image_does_not_tell_is_no_snapshot(value: bytes) -> None:
    assert catalogue.parse(value) is None
