"""Backups and restores of instances, and what becomes of a repository when they are cut short."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from local_volume import LocalVolume

from ganeti_gluster.core import at_rest
from ganeti_gluster.core.backup import check, lock, manifest, pack, places, prune, work
from ganeti_gluster.core.backup.codec import PIECE
from ganeti_gluster.core.backup.directory import DirectoryStore
from ganeti_gluster.core.backup.errors import (
    BackupExists,
    Damaged,
    NoRepository,
    NoSuchBackup,
    RepositoryLocked,
    RepositoryLockLost,
)
from ganeti_gluster.core.backup.repository import MARK, Repository
from ganeti_gluster.core.changed import points as changed_points
from ganeti_gluster.core.copy import Extent, Progress
from ganeti_gluster.core.serve import holder
from ganeti_gluster.core.serve.holder import node_number
from ganeti_gluster.core.snapshot import request
from ganeti_gluster.core.snapshot import work as snapshot_work
from ganeti_gluster.core.snapshot.request import BackupRequest, DiskRequest, SnapshotRequest
from ganeti_gluster.core.volume import VolfileServer, VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import private

UUID = "3bcf4bcd-8379-4e25-9c80-5371cb899f56"
PATHS = ["ganeti/%s.%d" % (UUID, index) for index in (0, 1)]
SPEC = VolumeSpec("gv0", (VolfileServer("node1", 24007),))
DISKS = tuple(DiskRequest(index, "u%d" % index, path) for index, path in enumerate(PATHS))
SIZES = [5 * PIECE, 2 * PIECE]


class Guests:
    """Nothing runs on this node."""

    node = "node1"

    def is_running(self, instance: str) -> bool:
        return False

    def agent(self, instance: str) -> str | None:
        return None


class Report:
    """Nobody who listens."""

    def __init__(self, during: Callable[[], object] = lambda: None) -> None:
        self._during = during

    def message(self, text: str) -> None: ...

    def progress(self, disk: int, progress: Progress) -> None:
        during, self._during = self._during, lambda: None
        during()


class World:
    """A stopped instance of two disks on a volume, and a repository."""

    def __init__(self, volume: Any, repository: Path) -> None:
        self.volume = volume
        self.where = str(repository)
        self.store = DirectoryStore(self.where)
        self.repository = Repository(self.store)
        self.repository.create()
        #: What each backup is of.
        self.contents: dict[str, list[bytes]] = {}

    def write(self, text: str) -> None:
        """Have the disks hold something that this text makes."""
        for path, size in zip(PATHS, SIZES, strict=True):
            seed = (text + path).encode()
            noise = b"".join(
                (b"%s %d " % (seed, i)) * (PIECE // 64) for i in range(size // PIECE + 1)
            )
            self.volume.write(path, noise[: size - PIECE] + bytes(PIECE))

    def change(self, piece: int, text: bytes) -> None:
        with open(self.volume.place(PATHS[0]), "r+b") as stream:
            stream.seek(piece * PIECE)
            stream.write(text)

    def now(self) -> list[bytes]:
        return [self.volume.read(path) for path in PATHS]

    def ask(self, operation: str, name: str, **more: Any) -> SnapshotRequest:
        return SnapshotRequest(
            operation=operation,
            instance="vm1",
            instance_uuid=UUID,
            name=name,
            disks=DISKS,
            disks_volume=SPEC,
            snapshots_volume=SPEC,
            running=False,
            backup=BackupRequest(self.where, cluster="c", instance="vm1", **more),
        )

    def back_up(self, name: str, report: Report | None = None, **more: Any) -> dict[str, Any]:
        done = work.do(self.ask(request.BACK_UP, name, **more), Guests(), report or Report())
        self.contents[name] = self.now()
        return done

    def restore(self, name: str, report: Report | None = None) -> None:
        work.do(self.ask(request.FILL, name, sources=(0, 1)), Guests(), report or Report())

    def check(self) -> None:
        """Every backup that there is can be restored, and is what was backed up."""
        listing = self.repository.listing()
        assert listing.damaged == ()
        assert check.check(self.repository, listing.backups).problems == []
        for backup in listing.backups:
            self.restore(backup.name)
            assert self.now() == self.contents[backup.name]

    def prune(self, **more: Any) -> prune.Pruned:
        with lock.locked(self.store, "a test", alone=True) as held:
            return prune.prune(self.repository, held, **more)

    def names(self) -> list[str]:
        return self.repository.names("vm1")

    def files(self) -> list[str]:
        """All of the repository but locks, by their paths."""
        root = Path(self.where)
        found = [str(each.relative_to(root)) for each in root.rglob("*") if each.is_file()]
        return sorted(each for each in found if not each.startswith("locks/"))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    (tmp_path / "volume").mkdir()
    (tmp_path / "repository").mkdir()
    volume = LocalVolume(tmp_path / "volume")

    @contextmanager
    def connect(spec: VolumeSpec) -> Iterator[Any]:
        yield volume

    class NotHere:
        def __init__(self, *args: object) -> None: ...

        def status(self) -> None:
            return None

    for module in (work, snapshot_work):
        monkeypatch.setattr(module, "connect", connect)
    monkeypatch.setattr(at_rest, "ImageInUse", NotHere)
    monkeypatch.setattr(holder, "ask_each", lambda volume, question: [])
    monkeypatch.setattr(private, "directory", lambda path: str(tmp_path))
    monkeypatch.setattr(places, "_HIDDEN", ())
    monkeypatch.setattr(work, "WAIT_SECONDS", 0.0)
    record(monkeypatch).refusing = True
    found = World(volume, tmp_path / "repository")
    found.write("first")
    return found


def test_an_instance_comes_back(world: World) -> None:
    done = world.back_up("one", configuration='{"a": 1}')
    assert done["data"] == done["new"] == sum(SIZES) - 2 * PIECE
    world.write("second")
    world.restore("one")
    assert world.now() == world.contents["one"]
    assert world.repository.read("vm1", "one").configuration == '{"a": 1}'
    assert [private.NEW_PREFIX in each for each in world.files()] == [False] * 3


def test_the_next_backup_goes_on_from_the_last_one(world: World) -> None:
    world.back_up("one")
    world.change(1, b"changed")
    second = world.back_up("two")
    assert (second["previous"], second["new"]) == ("one", PIECE)
    full = world.back_up("three", full=True)
    assert (full["previous"], full["new"]) == ("", full["data"])
    world.check()


class Recorded:
    """Images' servers that record changes: `pieces` by path and point."""

    def __init__(self) -> None:
        self.pieces: dict[str, dict[str, set[int]]] = {path: {} for path in PATHS}
        self.refusing = False

    def change(self, world: World, piece: int) -> None:
        world.change(piece, b"changed %d" % piece)
        for changed in self.pieces[PATHS[0]].values():
            changed.add(piece)

    def begin(self, spec: object, path: str, point: str) -> None:
        changed_points.check_name(point)
        if self.refusing:
            raise changed_points.PointRefused("it is on its way")
        self.pieces[path][point] = set()

    def changed_since(self, spec: object, path: str, point: str) -> changed_points.Changes:
        if point not in self.pieces[path]:
            return changed_points.Changes(None, "there is no such point")
        pieces = sorted(self.pieces[path][point])
        # As the interface allows, more than what the disk has.
        return changed_points.Changes([Extent(p * PIECE, PIECE) for p in [*pieces, 99]])

    def drop(self, spec: object, path: str, point: str) -> None:
        self.pieces[path].pop(point, None)

    def points(self, spec: object, path: str) -> list[str]:
        return sorted(self.pieces[path])


def record(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    """Have the points of disks kept here, in the place of those on volumes."""
    found = Recorded()
    for name in ("begin", "changed_since", "drop", "points"):
        monkeypatch.setattr(changed_points, name, getattr(found, name))
    return found


@pytest.fixture
def recorded(world: World, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    return record(monkeypatch)


def test_only_what_changed_is_read_where_that_is_known(world: World, recorded: Recorded) -> None:
    world.back_up("one")
    recorded.change(world, 2)
    done = world.back_up("two")
    assert (done["read"], done["new"]) == (PIECE, PIECE)
    assert not world.repository.read("vm1", "two").full
    # Points of this repository that no backup goes on from are gone.
    recorded.change(world, 0)
    assert world.back_up("three")["read"] == PIECE
    now = world.repository.read("vm1", "three").disks[0].point
    before = world.repository.read("vm1", "two").disks[0].point
    assert recorded.points(None, PATHS[0]) == sorted([before, now])
    world.check()


def test_a_point_that_is_gone_makes_the_backup_read_all(world: World, recorded: Recorded) -> None:
    recorded.refusing = True
    world.back_up("one")
    recorded.refusing = False
    world.back_up("two")
    assert world.repository.read("vm1", "two").disks[0].full == "its changes were not recorded"
    recorded.pieces[PATHS[0]].clear()
    recorded.change(world, 1)
    done = world.back_up("three")
    disks = world.repository.read("vm1", "three").disks
    assert [disk.full for disk in disks] == ["there is no such point", ""]
    assert done["new"] == PIECE
    world.check()


def test_a_backup_that_is_missing_is_not_gone_on_from(world: World, recorded: Recorded) -> None:
    """Its point is another's than that of the last one that is there."""
    world.back_up("one")
    recorded.change(world, 1)
    world.back_up("two")
    recorded.change(world, 2)
    world.repository.remove("vm1", "two")
    world.back_up("three")
    world.check()


def test_repositories_do_not_take_each_others_points(
    world: World, recorded: Recorded, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = World(world.volume, tmp_path / "other")
    world.back_up("one")
    recorded.change(world, 0)
    other.back_up("one")
    recorded.change(world, 2)
    assert world.back_up("two")["read"] == 2 * PIECE
    assert other.back_up("two")["read"] == PIECE
    world.check()
    other.contents = {**other.contents}
    assert other.repository.read("vm1", "two").disks[0].new == PIECE


def test_an_instance_that_was_made_again_stores_only_what_differs(
    world: World, recorded: Recorded
) -> None:
    """All of it is read, whatever its new disks' servers know of a point."""
    world.back_up("one")
    recorded.change(world, 1)
    asked = world.ask(request.BACK_UP, "two")
    disks = tuple(replace(disk, uuid="new%d" % disk.index) for disk in asked.disks)
    again = replace(asked, instance_uuid="another", disks=disks)
    done = work.do(again, Guests(), Report())
    world.contents["two"] = world.now()
    assert (done["previous"], done["new"]) == ("one", PIECE)
    assert done["read"] == sum(SIZES)
    reasons = {disk.full for disk in world.repository.read("vm1", "two").disks}
    assert reasons == {"the disk is not in backup one"}
    world.check()


def test_one_of_another_cluster_is_not_gone_on_from(world: World) -> None:
    world.back_up("one")
    asked = world.ask(request.BACK_UP, "two")
    assert asked.backup is not None
    elsewhere = replace(asked, backup=replace(asked.backup, cluster="other"))
    assert work.do(elsewhere, Guests(), Report())["previous"] == ""


def test_a_disk_that_was_grown_is_read_whole(world: World) -> None:
    world.back_up("one")
    os.truncate(world.volume.place(PATHS[1]), 3 * PIECE)
    world.back_up("two")
    disks = world.repository.read("vm1", "two").disks
    assert [disk.full for disk in disks] == [
        "its changes were not recorded",
        "its size has changed since backup one",
    ]
    with pytest.raises(
        GanetiGlusterError, match=r"disk/1 has 196608 bytes, but its backup has 131"
    ):
        world.restore("one")


def test_thirty_backups_one_after_the_other(world: World) -> None:
    for number in range(30):
        world.change(number % 4, b"backup %d" % number)
        world.back_up("b%02d" % number)
    for name in ("b03", "b29", "b00", "b17"):
        world.restore(name)
        assert world.now() == world.contents[name]
    for name in world.names()[:29]:
        world.repository.remove("vm1", name)
    assert world.prune().removed > 20
    assert world.names() == ["b29"]
    world.check()


class Killed(BaseException):
    """The process is gone: nothing that it does after this has any effect."""


class Mortal(DirectoryStore):
    """A store whose user is killed at the step of a number, before or within it."""

    left = 10**9
    within = False

    def _step(self, path: str) -> None:
        Mortal.left -= 1
        if Mortal.left == 0 and Mortal.within:
            place = Path(self._place(path)).parent
            place.mkdir(parents=True, exist_ok=True)
            (place / (private.NEW_PREFIX + "cut")).write_bytes(b"half")
        if Mortal.left <= 0:
            raise Killed

    def put(self, path: str, data: Any) -> None:
        self._step(path)
        super().put(path, data)

    def delete(self, path: str) -> None:
        self._step(path)
        super().delete(path)


def killed_at_each_step(
    world: World, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object], within: bool
) -> Iterator[int]:
    """Have it killed at its first step, its second, … until it comes to its end."""
    monkeypatch.setattr(places, "DirectoryStore", Mortal)
    # Whoever was killed is not there any more.
    monkeypatch.setattr(lock, "_is_over", lambda user: True)
    Mortal.within = within
    for step in range(1, 200):
        Mortal.left = step
        try:
            act()
        except Killed:
            Mortal.left = 10**9
            yield step
        else:
            Mortal.left = 10**9
            return
    raise AssertionError("it has no end")


@pytest.mark.parametrize("within", [False, True])
def test_a_backup_that_is_killed_harms_no_other_and_the_next_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch, within: bool
) -> None:
    world.back_up("one")
    world.change(0, b"now")
    count = 0
    monkeypatch.setattr(pack, "BYTES", 100)

    def act() -> None:
        world.contents["two"] = world.now()
        world.back_up("two")

    for count in killed_at_each_step(world, monkeypatch, act, within):  # noqa: B007
        assert set(world.names()) <= {"one", "two"}
        world.check()
        world.restore("one")
        world.change(0, b"now")
        if "two" in world.names():
            world.repository.remove("vm1", "two")
    assert count >= 4
    assert world.names() == ["one", "two"]
    world.prune()
    before = world.files()
    assert not [each for each in before if private.NEW_PREFIX in each]
    world.check()
    assert world.prune() == prune.Pruned(used=world.prune().used)


@pytest.mark.parametrize("within", [False, True])
def test_a_prune_that_is_killed_harms_no_backup(
    world: World, monkeypatch: pytest.MonkeyPatch, within: bool
) -> None:
    world.back_up("one")
    for piece in range(3):
        world.change(piece, b"now")
    world.back_up("two")
    world.repository.remove("vm1", "one")
    mortal = Repository(Mortal(world.where))

    def act() -> None:
        with lock.locked(mortal.store, "a test", alone=True) as held:
            prune.prune(mortal, held)

    steps = list(killed_at_each_step(world, monkeypatch, act, within))
    assert len(steps) >= 3
    world.check()
    assert [private.NEW_PREFIX in each for each in world.files()].count(True) == 0
    assert world.prune().freed == 0


def test_a_failed_backup_leaves_nothing(world: World) -> None:
    world.back_up("one")
    before = world.files()
    world.write("second")

    def lose() -> None:
        world.volume.lose(PATHS[0])

    with pytest.raises(GanetiGlusterError, match="may have opened it since"):
        world.back_up("two", Report(lose))
    assert world.files() == before


def test_an_image_that_is_open_elsewhere_is_not_filled(world: World) -> None:
    world.back_up("one")
    with (
        world.volume.elsewhere(PATHS[1], node_number("node2")),
        pytest.raises(GanetiGlusterError, match="disk/1 is open on a node"),
    ):
        world.restore("one")
    assert world.volume.names() == PATHS


def test_a_damaged_backup_changes_no_disk(world: World) -> None:
    world.back_up("one")
    (found,) = pack.find_all(world.store)
    place = Path(world.where) / pack.path(found)
    data = bytearray(place.read_bytes())
    data[60] ^= 1
    place.write_bytes(data)
    world.write("second")
    now = world.now()
    with pytest.raises(Damaged):
        world.restore("one")
    assert world.now() == now and world.volume.names() == PATHS
    result = check.check(world.repository, world.repository.listing().backups)
    assert result.broken == {("vm1", "one")} and result.problems
    # A backup that shares nothing with it is whole.
    world.back_up("two", full=True)
    world.restore("two")
    assert world.now() == world.contents["two"]


def test_what_a_backup_still_needs_is_not_removed(world: World) -> None:
    world.back_up("one")
    world.change(0, b"now")
    world.back_up("two")
    world.repository.remove("vm1", "one")
    told = world.prune(dry_run=True)
    before = world.files()
    done = world.prune()
    assert (done.freed, done.rewritten) == (told.freed, told.rewritten) != (0, 0)
    assert len(world.files()) == len(before)
    world.check()
    world.repository.remove("vm1", "two")
    world.prune()
    assert world.files() == [MARK]


def test_nothing_is_removed_where_a_backup_cannot_be_read(world: World) -> None:
    world.back_up("one")
    place = Path(world.where) / manifest.path("vm1", "one")
    place.write_bytes(b"{}")
    before = world.files()
    with pytest.raises(Damaged, match="cannot be read, so nothing was removed"):
        world.prune()
    assert world.files() == before
    assert world.repository.listing().damaged == ("the manifest of backup one of vm1 is damaged",)
    world.repository.remove("vm1", "one")
    world.prune()
    assert world.files() == [MARK]


def test_a_name_is_there_once(world: World) -> None:
    world.back_up("one")
    with pytest.raises(BackupExists, match="already has a backup one of instance vm1"):
        world.back_up("one")
    with pytest.raises(NoSuchBackup, match="has no backup two of instance vm1"):
        world.restore("two")


def test_a_place_that_is_not_mounted_is_left_alone(world: World) -> None:
    os.unlink(os.path.join(world.where, MARK))
    with pytest.raises(NoRepository, match="is not a repository of backups, or is not mounted"):
        world.back_up("one")
    assert world.files() == []


def test_who_removes_data_is_alone(world: World) -> None:
    def prune_now() -> None:
        with pytest.raises(RepositoryLocked, match="is used by a backup of instance vm1 on "):
            world.prune()

    world.back_up("one", Report(prune_now))
    with (
        lock.locked(world.store, "a test", alone=True),
        pytest.raises(RepositoryLocked, match=r"is used by a test on .* \(process \d+\)"),
    ):
        world.back_up("two")
    with lock.locked(world.store, "a test"):
        world.back_up("two")
    assert not os.listdir(os.path.join(world.where, "locks"))


def user(**more: Any) -> dict[str, Any]:
    found = lock._user("another", True)
    return {**found.__dict__, **more}


def test_the_lock_of_one_who_has_ended_does_not_count(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = SimpleNamespace(time=1e6)
    monkeypatch.setattr(lock.time, "time", lambda: now.time)
    place = "locks/%s" % ("a" * 32)
    for ended in (
        user(started="1"),
        user(pid=2**22 + 1),
        user(host="other", refreshed=now.time - lock.STALE - 1),
    ):
        world.store.put(place, json.dumps(ended).encode())
        with lock.locked(world.store, "a test"):
            assert not os.path.exists(os.path.join(world.where, place))
    for alive in (user(), user(host="other", refreshed=now.time - lock.STALE + 1)):
        world.store.put(place, json.dumps(alive).encode())
        with pytest.raises(RepositoryLocked), lock.locked(world.store, "a test"):
            pass


def test_who_has_the_lock_and_until_when_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = SimpleNamespace(time=1e6)
    monkeypatch.setattr(lock.time, "time", lambda: now.time)
    clock = lock._clock
    for other, more in (
        (user(since=5e5), "wait until it has finished"),
        (
            user(host="node9", since=5e5, refreshed=now.time - 60),
            "wait until it has finished; if it was killed, its lock ends at %s"
            % clock(now.time - 60 + lock.STALE),
        ),
    ):
        world.store.put("locks/%s" % ("a" * 32), json.dumps(other).encode())
        with pytest.raises(RepositoryLocked) as err, lock.locked(world.store, "a test"):
            pass
        said = "is used by another on %s (process %d) since %s; %s"
        assert str(err.value).endswith(said % (other["host"], other["pid"], clock(5e5), more))


def test_one_whose_lock_is_not_refreshed_writes_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(lock.time, "monotonic", lambda: now[0])

    def late() -> None:
        now[0] += lock.LOST + 1

    with pytest.raises(RepositoryLockLost, match="could not be refreshed"):
        world.back_up("one", Report(late))
    assert world.files() == [MARK]


HOSTILE: list[dict[str, Any]] = [
    {"instance": "../../etc"},
    {"name": "other"},
    {"format": 2},
    {"disks": [{}]},
    {"taken": 1e300},
    {"stored": -1},
]


@pytest.mark.parametrize("change", HOSTILE)
def test_a_manifest_that_says_what_it_must_not_is_refused(
    world: World, change: dict[str, Any]
) -> None:
    world.back_up("one")
    place = Path(world.where) / manifest.path("vm1", "one")
    body = {**json.loads(place.read_bytes())["manifest"], **change}
    place.write_text(json.dumps({"manifest": body, "digest": manifest._digest(body)}))
    with pytest.raises(Damaged):
        world.repository.read("vm1", "one")


@pytest.mark.parametrize("size", [0, -1, 1 << 60, True, "5"])
def test_a_disk_of_any_size_is_refused(world: World, size: object) -> None:
    world.back_up("one")
    place = Path(world.where) / manifest.path("vm1", "one")
    body = json.loads(place.read_bytes())["manifest"]
    body["disks"][0]["size"] = size
    place.write_text(json.dumps({"manifest": body, "digest": manifest._digest(body)}))
    with pytest.raises(Damaged):
        world.repository.read("vm1", "one")


def test_names_that_lead_elsewhere_are_not_looked_at(world: World) -> None:
    world.back_up("one")
    backups = Path(world.where) / "backups"
    (backups / "vm1" / "..json").write_text("{}")
    (backups / "vm1" / "a b.json").write_text("{}")
    (backups / "-x").mkdir()
    assert (world.repository.instances(), world.names()) == (["vm1"], ["one"])


def test_a_lock_that_was_lost_does_not_come_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that stood still for long refreshes its lock before it looks at it."""
    now = [0.0]
    monkeypatch.setattr(lock.time, "monotonic", lambda: now[0])
    with lock.locked(world.store, "a test") as held:
        now[0] += lock.LOST + 1
        held.write()
        with pytest.raises(RepositoryLockLost):
            held.check()


@pytest.mark.parametrize("step", ["refresh", "check"])
def test_a_lock_that_another_did_not_respect_is_lost(world: World, step: str) -> None:
    """His clock is ahead, or the virtual machine of this process stood still, with its clock."""
    with lock.locked(world.store, "a test") as held:
        world.store.delete("locks/" + held.id)
        if step == "refresh":
            held.write()
        with pytest.raises(RepositoryLockLost, match="was removed by another process; see"):
            held.check()
        assert held.is_lost() and not os.listdir(os.path.join(world.where, "locks"))


def test_a_backup_whose_lock_was_not_respected_is_none(world: World) -> None:
    """The other one may have removed its packs, to which no manifest referred."""
    world.back_up("one")
    world.write("second")

    def prune_meanwhile() -> None:
        for name in os.listdir(os.path.join(world.where, "locks")):
            world.store.delete("locks/" + name)
        world.prune()

    with pytest.raises(RepositoryLockLost):
        world.back_up("two", Report(prune_meanwhile))
    assert world.names() == ["one"]


def test_a_backup_that_took_too_long_to_publish_is_taken_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others may have removed its packs, to which no manifest referred."""
    now = [0.0]
    monkeypatch.setattr(lock.time, "monotonic", lambda: now[0])
    world.write("a")
    publish = Repository.publish

    def slowly(repository: Repository, backup: manifest.Manifest) -> None:
        now[0] += lock.LOST + 1
        publish(repository, backup)

    monkeypatch.setattr(Repository, "publish", slowly)
    with pytest.raises(RepositoryLockLost):
        world.back_up("one")
    assert world.repository.names("vm1") == []
