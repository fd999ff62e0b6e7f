"""Image operations on a real volume, with crashes, full disks and dead bricks."""

from __future__ import annotations

import errno
import os
import threading
import time

import pytest

from ganeti_gluster import errors
from ganeti_gluster.core import image
from ganeti_gluster.core.volume import connect
from ganeti_gluster.tools.gfapi import File

MIB = 1 << 20


@pytest.fixture
def path(directory):
    return directory + "/0f1e-2d3c.0"


@pytest.fixture(scope="module")
def sharded(make_volume):
    """Replica 3 with small pieces, so that an image of some MiB has many."""
    return make_volume(
        "sharded",
        3,
        "replica",
        "3",
        features__shard="on",
        features__shard_block_size="4MB",
        cluster__quorum_type="auto",
        cluster__self_heal_daemon="off",
    )


@pytest.fixture
def own(sharded):
    """A connection to the volume of this module, empty and with all bricks up."""
    sharded.revive()
    with connect(sharded.spec) as volume:
        yield volume
        sharded.revive()
        for entry in volume.scandir("/"):
            if entry.stat.is_file:
                image.remove(volume, entry.name)


def test_a_new_image_is_private_empty_and_of_the_size_asked(volume, path):
    info = image.create(volume, path, 300 * MIB)
    assert info == image.stat(volume, path)
    assert (info.path, info.size, info.mode) == (path, 300 * MIB, 0o100600)
    with volume.open(path) as file:
        assert file.pread(1 * MIB, 299 * MIB) == bytes(1 * MIB)


def test_a_new_image_and_its_directories_belong_to_the_owner_of_the_root(
    own, sharded, run_program, wait
):
    sharded.set("storage.owner-uid", "1077")
    sharded.set("storage.owner-gid", "1078")

    def set_everywhere():
        return all(brick.stat()[4:6] == (1077, 1078) for brick in sharded.bricks)

    try:
        wait("the bricks have their new owner", set_everywhere)
        # In another process: this one's client remembers the old owner for a while.
        done = run_program("image.create(connect(sys.argv[1]), 'a/b/x', 1 << 20)", sharded.name)
        assert done.returncode == 0, done.stderr
        for name in ("a", "a/b", "a/b/x"):
            found = own.stat(name)
            assert (found.uid, found.gid) == (1077, 1078), name
        assert own.stat("a/b").mode & 0o7777 == 0o755
    finally:
        sharded.set("storage.owner-uid", "0")
        sharded.set("storage.owner-gid", "0")
        image.remove(own, "a/b/x")
        own.rmdir("a/b")
        own.rmdir("a")


def test_an_existing_image_is_left_as_it_is(volume, path):
    image.create(volume, path, 2 * MIB)
    with volume.open(path, write=True) as file:
        file.pwrite(b"precious", 0)
    with pytest.raises(FileExistsError):
        image.create(volume, path, 3 * MIB)
    assert image.stat(volume, path).size == 2 * MIB
    with volume.open(path) as file:
        assert file.pread(8, 0) == b"precious"


@pytest.mark.parametrize("mode", ["falloc", "full"])
def test_preallocation_really_allocates(volume, path, mode, spec, run_program):
    image.create(volume, path, 70 * MIB, preallocation=mode)
    image.grow(volume, path, 80 * MIB, preallocation=mode)
    # Asked in another process: this one's numbers may come from a cache.
    done = run_program(
        "print(image.stat(connect(sys.argv[1]), sys.argv[2]).allocated)", spec.name, path
    )
    assert int(done.stdout) >= 80 * MIB, done.stderr
    with volume.open(path) as file:
        assert file.pread(80 * MIB, 0) == bytes(80 * MIB)


def test_a_thin_image_allocates_nothing(volume, path, spec, run_program):
    image.create(volume, path, 1 << 40)
    done = run_program(
        "print(image.stat(connect(sys.argv[1]), sys.argv[2]).allocated)", spec.name, path
    )
    assert done.stdout == "0\n", done.stderr


@pytest.mark.parametrize("mode", ["falloc", "full"])
def test_more_than_the_free_space_is_refused_with_the_numbers(volume, path, mode):
    size = volume.space().total + MIB
    with pytest.raises(errors.NoSpace) as caught:
        image.create(volume, path, size, preallocation=mode)
    assert caught.value.needed == size
    assert "%d MiB are needed" % -(-size // MIB) in str(caught.value)
    assert not volume.access(os.path.dirname(path))

    image.create(volume, path, MIB)
    with pytest.raises(errors.NoSpace):
        image.grow(volume, path, size, preallocation=mode)
    assert image.stat(volume, path).size == MIB


@pytest.mark.parametrize(("mode", "first"), [("falloc", 256), ("full", 4)])
def test_what_takes_longer_than_ganeti_waits_is_undone(volume, path, mode, first, monkeypatch):
    image.create(volume, path, 8 * MIB)
    monkeypatch.setattr(image, "PREALLOCATION_SECONDS", 0)
    with pytest.raises(errors.TookTooLong, match="only %d of 300 MiB are allocated" % first):
        image.create(volume, path + "0", 300 * MIB, preallocation=mode)
    assert not volume.access(path + "0")

    with pytest.raises(errors.TookTooLong, match="only %d of 300 MiB are allocated" % first):
        image.grow(volume, path, 308 * MIB, preallocation=mode)
    assert image.stat(volume, path).size == 8 * MIB
    image.grow(volume, path, 12 * MIB, preallocation=mode)  # one step is never too many


def test_remove_tells_whether_there_was_an_image(volume, path):
    assert image.remove(volume, path) is False
    image.create(volume, path, MIB)
    assert image.remove(volume, path) is True
    assert image.remove(volume, path) is False


def test_a_process_that_removes_and_ends_leaves_no_piece_behind(own, sharded, run_program):
    image.create(own, "pieces", 64 * MIB, preallocation="falloc")
    assert len(sharded.shards()) == 15
    done = run_program("image.remove(connect(sys.argv[1]), 'pieces')", sharded.name)
    assert done.returncode == 0, done.stderr
    assert sharded.shards() == []


def test_what_was_written_the_moment_before_leaves_no_piece_behind(own, sharded):
    image.create(own, "fresh", 64 * MIB)
    with own.open("fresh", write=True) as file:
        for offset in range(0, 64 * MIB, 4 * MIB):
            file.pwrite(b"x", offset)
        file.fsync()
    assert len(sharded.shards()) == 15
    assert image.remove(own, "fresh")
    assert sharded.shards() == []


def test_pieces_without_blocks_do_not_stay(own, sharded, run_program, wait):
    # A guest that trims its new disk makes them, though nothing was ever written.
    image.create(own, "trimmed", 64 * MIB)
    with own.open("trimmed", write=True) as file:
        file.discard(20 * MIB, 8 * MIB)
        file.fsync()
    assert len(sharded.shards()) == 2
    wait("it is not new", lambda: time.time() > image.stat(own, "trimmed").mtime + 6)
    done = run_program("image.remove(connect(sys.argv[1]), 'trimmed')", sharded.name)
    assert done.returncode == 0, done.stderr
    assert sharded.shards() == []


def test_remove_of_one_of_two_names_keeps_the_content(own):
    image.create(own, "precious", 8 * MIB)
    own.link("precious", "second")
    with own.open("precious", write=True) as file:
        file.pwrite(b"x", 6 * MIB)
    assert image.remove(own, "second") is True
    with own.open("precious") as file:
        assert file.pread(1, 6 * MIB) == b"x"


def test_a_directory_is_no_image(volume, directory):
    volume.mkdir(directory)
    for operation in (image.stat, image.remove):
        with pytest.raises(OSError) as caught:
            operation(volume, directory)
        assert caught.value.errno in (errno.EINVAL, errno.EISDIR)
    assert volume.access(directory)


def test_grow_is_absolute_and_keeps_the_content(volume, path):
    image.create(volume, path, 100 * MIB)
    with volume.open(path, write=True) as file:
        file.pwrite(b"end", 100 * MIB - 3)
    assert image.grow(volume, path, 200 * MIB).size == 200 * MIB
    assert image.grow(volume, path, 200 * MIB).size == 200 * MIB
    with volume.open(path) as file:
        assert file.pread(6, 100 * MIB - 3) == b"end" + bytes(3)


def test_grow_refuses_to_shrink(volume, path):
    image.create(volume, path, 2 * MIB)
    with pytest.raises(errors.InvalidParameter, match="cannot shrink"):
        image.grow(volume, path, MIB)
    assert image.stat(volume, path).size == 2 * MIB


def test_a_dry_run_changes_nothing_and_refuses_the_same(volume, path):
    image.create(volume, path, 2 * MIB)
    assert image.grow(volume, path, 3 * MIB, dry_run=True).size == 2 * MIB
    assert image.stat(volume, path).size == 2 * MIB
    with pytest.raises(errors.InvalidParameter):
        image.grow(volume, path, MIB, dry_run=True)
    with pytest.raises(FileNotFoundError):
        image.grow(volume, path + "x", 3 * MIB, dry_run=True)


def test_rename_keeps_every_piece(own):
    image.create(own, "old", 40 * MIB)
    with own.open("old", write=True) as file:
        file.pwrite(b"far", 37 * MIB)
    image.rename(own, "old", "new")
    assert not own.access("old")
    assert own.stat("new").links == 1
    with own.open("new") as file:
        assert file.pread(3, 37 * MIB) == b"far"


def test_rename_never_replaces(own):
    image.create(own, "one", MIB)
    image.create(own, "two", 2 * MIB)
    with pytest.raises(FileExistsError):
        image.rename(own, "one", "two")
    with pytest.raises(FileExistsError):
        image.rename(own, "one", "one")
    assert image.stat(own, "one").size == MIB
    assert image.stat(own, "two").size == 2 * MIB


def test_a_rename_cut_short_is_finished_by_the_next(own):
    image.create(own, "old", 8 * MIB)
    own.link("old", "new")  # as far as a crash let it come
    image.rename(own, "old", "new")
    assert not own.access("old")
    assert image.stat(own, "new").size == 8 * MIB


def test_info_is_kept_whatever_its_letters_and_cut_at_its_bound(volume, path):
    image.create(volume, path, MIB)
    assert image.get_info(volume, path) == ""
    image.set_info(volume, path, "web1.example.com ünïcode \N{SNOWMAN}")
    assert image.get_info(volume, path) == "web1.example.com ünïcode \N{SNOWMAN}"
    image.set_info(volume, path, "ü" * 5000)
    assert image.get_info(volume, path) == "ü" * (image.INFO_BYTES // 2)
    with pytest.raises(FileNotFoundError):
        image.set_info(volume, path + "x", "text")


def test_the_list_has_images_and_reports_what_it_cannot_name(volume, directory):
    image.create(volume, directory + "/b", 2 * MIB)
    image.create(volume, directory + "/a", MIB)
    image.create(volume, directory + "/sub/c", MIB)
    bad = os.fsdecode(b"\xff.0")
    volume.create("%s/%s" % (directory, bad)).close()
    listing = image.list_images(volume, directory)
    assert [(i.path, i.size) for i in listing.images] == [
        (directory + "/a", MIB),
        (directory + "/b", 2 * MIB),
    ]
    assert listing.unreadable == [bad]


def test_of_two_creates_at_once_one_wins(spec, path, volume):
    results = []

    def create(size):
        try:
            results.append(image.create(connect(spec), path, size).size)
        except FileExistsError:
            results.append(None)

    threads = [threading.Thread(target=create, args=(n * MIB,)) for n in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(r is None for r in results) == [False, True, True, True]
    assert image.stat(volume, path).size == next(r for r in results if r)


def test_creates_at_once_in_a_missing_directory_all_succeed(spec, directory, volume):
    failures = []

    def create(number):
        try:
            image.create(connect(spec), "%s/a/b/%d" % (directory, number), MIB)
        except Exception as err:
            failures.append(err)

    threads = [threading.Thread(target=create, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(volume.scandir(directory + "/a/b")) == 8


CREATE_FULL = """
print("begin", flush=True)
image.create(connect(sys.argv[1]), "killed", 1 << 30, preallocation="full")
"""


def test_a_create_killed_midway_shows_in_the_size_and_can_be_removed(
    own, sharded, start_program, wait
):
    creating = start_program(CREATE_FULL, sharded.name)
    assert creating.stdout.readline() == "begin\n"
    wait("the image has its first pieces", lambda: len(sharded.shards()) > 2)
    creating.kill()
    creating.wait()

    assert image.stat(own, "killed").size < 1 << 30
    with pytest.raises(FileExistsError):
        image.create(own, "killed", MIB)
    assert image.remove(own, "killed") is True
    wait("its pieces are gone", lambda: not sharded.shards())


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError(errno.EIO, "disk")])
def test_an_interrupted_create_leaves_nothing(own, sharded, monkeypatch, interruption):
    real, calls = File.pwrite, []

    def interrupted(self, data, offset):
        calls.append(offset)
        if len(calls) > 3:
            raise interruption
        real(self, data, offset)

    monkeypatch.setattr(File, "pwrite", interrupted)
    with pytest.raises((KeyboardInterrupt, OSError)):
        image.create(own, "deep/er/image", 40 * MIB, preallocation="full")
    assert len(calls) == 4
    assert not own.access("deep")
    assert sharded.shards() == []


def test_an_interrupted_grow_restores_the_size(own, sharded, monkeypatch):
    image.create(own, "grown", 4 * MIB)
    real, calls = File.allocate, []

    def interrupted(self, offset, length):
        real(self, offset, length)
        calls.append(offset)
        raise KeyboardInterrupt

    monkeypatch.setattr(File, "allocate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        image.grow(own, "grown", 40 * MIB, preallocation="falloc")
    assert calls == [4 * MIB]
    assert image.stat(own, "grown").size == 4 * MIB
    assert sharded.shards() == []


def test_without_quorum_nothing_is_made_or_changed(own, sharded):
    image.create(own, "before", 8 * MIB)
    sharded.kill(0, 1)
    attempts = [
        lambda: image.create(own, "orphan", MIB),
        lambda: image.grow(own, "before", 16 * MIB),
        lambda: image.remove(own, "before"),
        lambda: image.rename(own, "before", "after"),
        lambda: image.set_info(own, "before", "text"),
    ]
    for attempt in attempts:
        with pytest.raises(OSError) as caught:
            attempt()
        assert caught.value.errno in (errno.ENOTCONN, errno.EROFS)
    sharded.revive()
    assert not own.access("orphan")
    assert not own.access("after")
    assert image.stat(own, "before").size == 8 * MIB
    assert image.get_info(own, "before") == ""


def test_a_create_that_loses_quorum_midway_names_what_it_leaves(own, sharded, monkeypatch):
    real, calls = File.pwrite, []

    def losing(self, data, offset):
        if len(calls) == 2:
            sharded.kill(0, 1)
        calls.append(offset)
        real(self, data, offset)

    monkeypatch.setattr(File, "pwrite", losing)
    with pytest.raises(errors.IncompleteImage) as caught:
        image.create(own, "half", 64 * MIB, preallocation="full")
    assert caught.value.path == "half"
    assert "half" in str(caught.value) and "remove it" in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)
    sharded.revive()
    assert image.stat(own, "half").size < 64 * MIB
    assert image.remove(own, "half") is True


def test_with_one_of_three_bricks_dead_all_goes_on(own, sharded):
    sharded.kill(2)
    image.create(own, "degraded", 8 * MIB)
    image.grow(own, "degraded", 16 * MIB)
    image.rename(own, "degraded", "moved")
    assert image.remove(own, "moved") is True


@pytest.mark.parametrize("mode", ["falloc", "full"])
def test_a_disk_that_fills_up_leaves_no_image(make_volume, small_disk, mode, monkeypatch):
    # Two bricks share the disk and one counts as the whole: what the volume
    # calls free does not suffice for both.
    monkeypatch.setattr(image, "_check_space", lambda *args: None)
    volume = make_volume(
        "full_" + mode, 1, under=small_disk, features__shard="on", features__shard_block_size="4MB"
    )
    with connect(volume.spec) as connected:
        free = connected.space().free
        image.create(connected, "small", MIB)
        with pytest.raises(OSError) as caught:
            image.create(connected, "big", 1 << 30, preallocation=mode)
        assert caught.value.errno == errno.ENOSPC
        assert not connected.access("big")
        with pytest.raises(OSError) as caught:
            image.grow(connected, "small", 1 << 30, preallocation=mode)
        assert caught.value.errno == errno.ENOSPC
        assert image.stat(connected, "small").size == MIB
        assert connected.space().free >= free - 32 * MIB
        assert volume.shards() == []
