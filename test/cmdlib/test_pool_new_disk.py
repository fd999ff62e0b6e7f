"""The steps for a disk that was replaced in its node, and what is refused before them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ganeti_master import Master
from gluster_pool import DIRECTORY, ID, GlusterPool, volume

from ganeti_gluster.core.pool.facts import DeviceFacts, PlaceFacts
from ganeti_gluster.core.pool.settings import Settings
from ganeti_gluster.core.pool.steps import Step
from ganeti_gluster.errors import GanetiGlusterError

from .conftest import Part

THREE = ("node1", "node2", "node3")
WHOLE = PlaceFacts(DIRECTORY, True, True, mount=DIRECTORY, volume_id=ID, served=True, sector=512)
EMPTY = PlaceFacts(DIRECTORY, True, True, mount=DIRECTORY, sector=512)
NOTHING = PlaceFacts(DIRECTORY, True, mount="/", sector=512)
BROKEN = PlaceFacts(DIRECTORY, True, mount=DIRECTORY, broken="Input/output error")
BLANK = DeviceFacts("/dev/vdb", True, True, sector=512)
FORMAT = "node3: file system on /dev/vdb at /srv/b"
RESET = "volume gv0: brick node3:/srv/b/gv0 in use again"
HEAL = "volume gv0: node3:/srv/b/gv0 healed"


class Disk:
    """Three members; node3 has `place`, and `device` if one is looked at."""

    def __init__(self, module: Any, use: Any, pool: GlusterPool, master: Master) -> None:
        self.module, self.use, self.pool, self.master = module, use, pool, master
        self.place, self.device = NOTHING, BLANK
        self.blames: dict[str, int] = {}
        self.called: list[str] = []
        real, look = pool._do, pool.look

        def do(node: str, verb: str, given: Any) -> Any:
            if verb in ("place", "behind"):
                self.called.append("%s %s" % (verb, node))
            if verb == "place":
                return self.place if node == "node3" else WHOLE
            return self.blames if verb == "behind" else real(node, verb, given)

        def facts(node: str, device: str = "") -> Any:
            seen = look(node, device)
            return replace(seen, place=self.place, device=self.device if device else None)

        pool._do, pool.look = do, facts  # type: ignore[method-assign]

    def steps(self, node: str = "node3", *, device: str = "", wipe: bool = False) -> list[Step]:
        found: list[Step] = self.module.renewal(
            node, self.master, self.pool, lambda line: None, device=device, wipe=wipe
        )
        return found

    def texts(self, **named: Any) -> list[str]:
        return [step.text for step in self.steps(**named)]


@pytest.fixture
def disk(part: Part, in_pool: Callable[[Any], Any], master: Master) -> Disk:
    pool = in_pool(GlusterPool(volume(*THREE)))
    use = part("pool_use")
    use.write_settings(master, Settings("gv0", DIRECTORY, "/dev/vdb"))
    return Disk(part("pool_new_disk"), use, pool, master)


def test_a_new_disk_is_formatted_and_filled(disk: Disk) -> None:
    assert disk.texts() == [FORMAT, RESET, HEAL]
    assert "behind node1" in disk.called


def test_of_a_disk_that_gives_errors_all_is_ended_first(disk: Disk) -> None:
    disk.place = BROKEN
    assert disk.texts() == [
        "volume gv0: brick node3:/srv/b/gv0 stopped",
        "node3: the old file system at /srv/b unmounted",
        FORMAT,
        RESET,
        HEAL,
    ]


def test_two_bricks_on_a_disk_share_its_file_system(disk: Disk) -> None:
    disk.place = BROKEN
    disk.pool.there.append(volume(*THREE, name="gv1"))
    disk.use.write_settings(disk.master, Settings("gv1", DIRECTORY, "/dev/vdb"))
    texts = disk.texts()
    assert texts[:2] == [
        "volume gv0: brick node3:/srv/b/gv0 stopped",
        "volume gv1: brick node3:/srv/b/gv1 stopped",
    ]
    assert texts.count(FORMAT) == 1 and len(texts) == 8


def test_what_is_lost_on_it_is_said_first(disk: Disk) -> None:
    disk.device = replace(BLANK, signatures=("ext4",))
    with pytest.raises(GanetiGlusterError, match="node3: /dev/vdb contains data: ext4; use --wip"):
        disk.steps()
    assert disk.texts(wipe=True)[0] == FORMAT + ", in place of ext4"


def test_the_administrator_s_own_file_system_is_used(disk: Disk) -> None:
    disk.use.write_settings(disk.master, Settings("gv0", "/srv/other"))
    with pytest.raises(GanetiGlusterError, match="no file system is mounted there; name the new"):
        disk.steps()
    assert disk.texts(device="/dev/vdc")[0] == "node3: file system on /dev/vdc at /srv/b"
    disk.place = EMPTY
    assert disk.texts() == [RESET, HEAL]


def test_one_that_is_mounted_already_is_not_formatted(disk: Disk) -> None:
    disk.place, disk.device = EMPTY, replace(BLANK, signatures=("xfs",), mounted_at=DIRECTORY)
    disk.pool.ready.add("node3")
    (first, *_) = disk.steps()
    assert (first.text, first.done()) == (FORMAT, True)


@pytest.mark.parametrize(
    ("device", "wipe", "asked"),
    [
        (replace(BLANK, signatures=("xfs",), ours=True), False, False),
        (replace(BLANK, signatures=("xfs",), ours=True), True, True),
        (replace(BLANK, signatures=("xfs",), ours=True, interrupted=True), False, True),
        (BLANK, False, True),
    ],
)
def test_the_only_good_copy_is_not_given_up(
    disk: Disk, device: DeviceFacts, wipe: bool, asked: bool
) -> None:
    disk.device, disk.blames = device, {"node2:/srv/b/gv0": 7}
    if asked:
        with pytest.raises(GanetiGlusterError, match="node3:/srv/b/gv0 is not given up: the rema"):
            disk.steps(wipe=wipe)
    else:  # it may be the old disk, and is mounted as it is
        assert disk.texts(wipe=wipe) == [FORMAT, RESET, HEAL]


def test_a_brick_that_has_its_data_is_started_and_healed(disk: Disk) -> None:
    disk.place, disk.blames = WHOLE, {"node2:/srv/b/gv0": 7}
    disk.device = replace(BLANK, mounted_at=DIRECTORY)
    assert disk.texts() == [FORMAT, RESET, HEAL]
    assert not [each for each in disk.called if each.startswith("behind")]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("dead", "node node3 does not answer in the pool: disconnected; start it, or replace it"),
        ("single", "volume gv0 is not replicated: node3:/srv/b/gv0 has the only copy of its"),
        ("stopped", "volume gv0 is not started; gluster volume start gv0"),
        ("none", "node node3 has no bricks"),
        ("busy", "node3: /dev/vdb is in use; see lsblk /dev/vdb"),
    ],
)
def test_what_is_not_done(disk: Disk, change: str, said: str) -> None:
    if change == "dead":
        disk.pool.dead.add("node3")
    elif change == "busy":
        disk.device = replace(BLANK, busy=True)
    else:
        disk.pool.there = {
            "single": [volume(*THREE, replica=1)],
            "stopped": [volume(*THREE, state="Stopped")],
            "none": [volume("node1", "node2")],
        }[change]
    with pytest.raises(GanetiGlusterError) as refusal:
        disk.steps()
    assert str(refusal.value).startswith(said)


def test_a_node_that_is_none(disk: Disk) -> None:
    with pytest.raises(GanetiGlusterError, match="node9 is not a node of this cluster"):
        disk.steps("node9")
