"""The copy engine on real volumes, with full disks, dead bricks and killed copies."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import signal
import subprocess
import uuid

import pytest

from ganeti_gluster.core import image
from ganeti_gluster.core.copy import Options, copy, program
from ganeti_gluster.core.copy.files import ExistingFile, FileSource, NewFile
from ganeti_gluster.core.copy.images import ExistingImage, ImageSource, NewImage
from ganeti_gluster.core.serve import hold
from ganeti_gluster.core.serve.holder import OpenElsewhere, holders_of, work_number
from ganeti_gluster.core.volume import connect
from ganeti_gluster.errors import CopyFailed, IncompleteImage

MIB = 1 << 20
SIZE = 40 * MIB

SHARDED = {
    "features__shard": "on",
    "features__shard_block_size": "4MB",
    "cluster__quorum_type": "auto",
    "cluster__self_heal_daemon": "off",
}

#: Copies slowly, tells when it has begun, and then goes on until it is stopped.
SLOW = """
from ganeti_gluster.core.copy import Options, copy
from ganeti_gluster.core.copy.images import ImageSource, NewImage
from ganeti_gluster.core.copy.signals import raised
v = connect(sys.argv[1])
with raised(), ImageSource(v, sys.argv[2]) as source:
    def progress(now):
        if now.data:
            print("begun", flush=True)
    copy(source, NewImage(v, sys.argv[3]), Options(progress=progress, limit=2 << 20, interval=0.1))
"""


@pytest.fixture(scope="module")
def sharded(make_volume):
    return make_volume("copysharded", 3, "replica", "3", **SHARDED)


@pytest.fixture(scope="module")
def single(make_volume):
    return make_volume("copysingle", 1)


def fill(volume, path, size=SIZE):
    """Make an image with data at both ends and in places between; its content."""
    image.create(volume, path, size)
    content = bytearray(size)
    for offset, length in ((0, 5000), (7 * MIB - 3, 3 * MIB), (size - 70000, 70000)):
        content[offset : offset + length] = os.urandom(length)
    content[8 * MIB : 9 * MIB] = bytes(MIB)
    with volume.open(path, write=True) as file:
        for offset in range(0, size, MIB):
            piece = memoryview(content)[offset : offset + MIB]
            if any(piece):
                file.pwrite(piece, offset)
    return bytes(content)


def read(volume, path):
    with volume.open(path) as file:
        return file.pread(image.stat(volume, path).size, 0)


@pytest.fixture(autouse=True)
def emptied(sharded, single):
    yield
    for made in (sharded, single):
        with connect(made.spec) as volume:
            empty(volume)


def empty(volume):
    for entry in volume.scandir("/"):
        if entry.stat.is_file:
            image.remove(volume, entry.name)


def names(volume):
    return sorted(entry.name for entry in volume.scandir("/") if entry.stat.is_file)


def test_an_image_is_copied_on_a_volume_and_between_two(sharded, single):
    with connect(sharded.spec) as one, connect(single.spec) as other:
        content = fill(one, "source")
        for volume in (one, other):
            with ImageSource(one, "source") as source:
                result = copy(source, NewImage(volume, "copy"), Options(checksum=True))
            assert read(volume, "copy") == content
            assert (result.cloned, result.size) == (False, SIZE)
            assert result.data <= 3 * MIB  # the holes are holes
            assert image.stat(volume, "copy").mode & 0o777 == 0o600
        with ImageSource(other, "copy") as source:
            copy(source, NewImage(one, "back"))
        assert read(one, "back") == content
        assert names(one) == ["back", "copy", "source"]


def ranges(volume, path):
    with ImageSource(volume, path) as source:
        extents = source.extents()
        return None if extents is None else [(found.offset, found.length) for found in extents]


def test_the_data_of_an_image_is_found_in_its_shards(sharded, single):
    wanted = [(0, MIB), (6 * MIB, 4 * MIB), (SIZE - MIB, MIB)]
    for made in (sharded, single):
        with connect(made.spec) as volume:
            content = fill(volume, "a", SIZE)
            found = ranges(volume, "a")
            covered = bytearray(SIZE)
            for offset, length in found:
                covered[offset : offset + length] = content[offset : offset + length]
            assert covered == content
            assert sum(length for _, length in found) <= sum(length for _, length in wanted)
            image.create(volume, "empty", SIZE)
            assert ranges(volume, "empty") == []


def test_shards_that_a_brick_has_missed_are_no_holes(make_volume):
    made = make_volume("copymissed", 3, "replica", "3", **SHARDED)
    with connect(made.spec) as volume:
        made.kill(0)
        content = fill(volume, "a")
        made.revive()  # nothing heals here, so that it lacks them still
        for place in (0, 7 * MIB, SIZE - 1):
            assert any(at <= place < at + size for at, size in ranges(volume, "a")), place
        with ImageSource(volume, "a") as source:
            copy(source, NewImage(volume, "b"))
        assert read(volume, "b") == content


def test_an_image_that_is_older_than_its_volumes_shards_is_read_whole(make_volume, run_program):
    made = make_volume("copylater", 1)
    with connect(made.spec) as volume:
        fill(volume, "old", SIZE)
    made.set("features.shard", "on")
    done = run_program(
        "from ganeti_gluster.core.copy.images import ImageSource\n"
        "v = connect(sys.argv[1])\n"
        "image.create(v, 'new', 1 << 20)\n"
        "for name in 'old', 'new':\n"
        "    with ImageSource(v, name) as source:\n"
        "        print(source.extents() is None)\n",
        made.name,
    )
    assert (done.returncode, done.stdout) == (0, "True\nFalse\n"), done.stderr


def test_a_single_brick_shares_the_blocks_and_the_copy_is_its_own(single):
    with connect(single.spec) as volume:
        content = fill(volume, "source")
        with ImageSource(volume, "source") as source:
            result = copy(source, NewImage(volume, "copy"), Options(checksum=True))
        assert result.cloned
        assert read(volume, "copy") == content
        with volume.open("copy", write=True) as file:
            file.pwrite(b"changed", 7 * MIB)
        assert read(volume, "source") == content
        brick = single.bricks[0]
        extents = subprocess.run(
            ["filefrag", "-v", str(brick / "copy")], capture_output=True, text=True, timeout=60
        ).stdout
        assert "shared" in extents


def cached(volume, path, bricks):
    """How many pages of an image are in the page cache, of all its copies."""
    gfid = uuid.UUID(bytes=volume.gfid(path))
    return sum(
        resident_pages(file)
        for brick in bricks
        for file in (brick / path, *brick.glob(".shard/%s.*" % gfid))
    )


def resident_pages(path):
    mincore = ctypes.CDLL(None, use_errno=True).mincore
    mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
    size = path.stat().st_size
    vector = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
    with path.open("r+b") as file, mmap.mmap(file.fileno(), size) as area:
        start = ctypes.c_char.from_buffer(area)
        done = mincore(ctypes.addressof(start), size, vector)
        del start
    assert done == 0, os.strerror(ctypes.get_errno())
    return sum(entry & 1 for entry in vector)


def test_a_copy_leaves_the_bricks_caches_to_others(sharded):
    with connect(sharded.spec) as volume:
        content = fill(volume, "source")
        with ImageSource(volume, "source") as source:
            result = copy(source, NewImage(volume, "copy"))
        assert cached(volume, "source", sharded.bricks) * mmap.PAGESIZE >= 3 * result.data
        assert cached(volume, "copy", sharded.bricks) == 0
        assert read(volume, "copy") == content


@pytest.mark.parametrize("size", [SIZE + 512, SIZE + 1, 5000])
def test_an_image_may_end_anywhere(sharded, tmp_path, size):
    content = os.urandom(5000) + bytes(size - 5000)
    with connect(sharded.spec) as volume:
        (tmp_path / "in").write_bytes(content)
        with FileSource(str(tmp_path / "in")) as source:
            copy(source, NewImage(volume, "copy"), Options(checksum=True))
        with FileSource(str(tmp_path / "in")) as source:
            copy(source, ExistingImage(volume, "copy"), Options(checksum=True))
        assert read(volume, "copy") == content


@pytest.mark.parametrize("bricks", [3, 4])
def test_volumes_that_divide_what_is_written(make_volume, bricks):
    """With three bricks for data not even whole blocks are whole on the bricks."""
    made = make_volume("copyec%d" % bricks, bricks, "disperse", str(bricks), "redundancy", "1")
    with connect(made.spec) as volume:
        content = fill(volume, "source")
        for target in (NewImage(volume, "copy"), ExistingImage(volume, "copy")):
            with ImageSource(volume, "source") as source:
                copy(source, target, Options(checksum=True))
            assert read(volume, "copy") == content


def test_files_and_block_devices(sharded, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(b"\xff" * (SIZE + MIB))
    device = subprocess.run(
        ["losetup", "--find", "--show", str(disk)], capture_output=True, text=True, check=True
    ).stdout.strip()
    try:
        with connect(sharded.spec) as volume:
            content = fill(volume, "source")
            with ImageSource(volume, "source") as source:
                copy(source, NewFile(str(tmp_path / "file")), Options(checksum=True))
                copy(source, ExistingFile(device), Options(checksum=True))
            assert (tmp_path / "file").read_bytes() == content
            assert (tmp_path / "file").stat().st_blocks * 512 < 6 * MIB
            with open(device, "rb") as file:
                assert file.read() == content + b"\xff" * MIB
            with FileSource(device) as source:
                copy(source, NewImage(volume, "device"))
            assert read(volume, "device") == content + b"\xff" * MIB
            image.grow(volume, "source", SIZE + 2 * MIB)
            with (
                ImageSource(volume, "source") as source,
                pytest.raises(CopyFailed, match="but %d are to be copied" % (SIZE + 2 * MIB)),
            ):
                copy(source, ExistingFile(device))
            with FileSource(str(tmp_path / "file")) as source:
                copy(source, NewImage(volume, "again"))
            assert read(volume, "again") == content
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def test_an_image_that_is_written_over_holds_the_source_alone(sharded, single):
    for volume_ in (sharded, single):
        with connect(volume_.spec) as volume:
            content = fill(volume, "source")
            image.create(volume, "target", SIZE)
            with volume.open("target", write=True) as file:
                for offset in (0, 6 * MIB, 20 * MIB + 5, SIZE - MIB):
                    file.pwrite(b"old" * 100000, offset)
            with ImageSource(volume, "source") as source:
                copy(source, ExistingImage(volume, "target"), Options(checksum=True))
            assert read(volume, "target") == content


NODE = "node7"


def held(volume, path, *, shared):
    """Whether this process may have an image's lock."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold.locked(volume, path, node="node8", shared=shared))
        except OpenElsewhere as err:
            assert err.holder.number == work_number(NODE)
            return False
    return True


def test_the_program_has_the_images_lock_until_it_ends(volume, directory, spec, wait):
    path = directory + "/image"
    fill(volume, path)
    for what, shares in ((program.EXPORT, True), (program.IMPORT, False)):
        # Its other end is a pipe that nobody empties, or fills.
        process = subprocess.Popen(
            program.argv(what, spec, path, node=NODE),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            # Without a try to have it, on which the program would be refused.
            wait("it has the lock", lambda: holders_of(volume, path))
            assert held(volume, path, shared=True) == shares
        finally:
            process.kill()
            process.communicate(timeout=60)
        wait("the lock went with it", lambda: held(volume, path, shared=False))


def test_the_program_leaves_alone_what_another_node_has(volume, directory, spec):
    path = directory + "/image"
    content = fill(volume, path)
    with hold.locked(volume, path, node="node8"):
        for what in (program.EXPORT, program.IMPORT):
            done = subprocess.run(
                program.argv(what, spec, path, node=NODE),
                input=b"x" * SIZE,
                capture_output=True,
                timeout=60,
            )
            assert (done.returncode, done.stdout) == (1, b"")
            assert b"Failure: image %s is open on another node" % path.encode() in done.stderr
    assert read(volume, path) == content


def test_the_program_streams_an_image_into_another(sharded, spec):
    with connect(sharded.spec) as volume:
        content = fill(volume, "source")
        image.create(volume, "target", SIZE + MIB)
        with volume.open("target", write=True) as file:
            file.pwrite(b"x" * MIB, SIZE - 1)
        reader = subprocess.Popen(
            program.argv(program.EXPORT, sharded.spec, "source", node=NODE), stdout=subprocess.PIPE
        )
        done = subprocess.run(
            program.argv(program.IMPORT, sharded.spec, "target", node=NODE),
            stdin=reader.stdout,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, reader.wait(60)) == (0, 0), done.stderr
        assert "imported image target" in done.stderr
        assert read(volume, "target") == content + bytes(MIB)
        # More than there is room for is an error, as is nothing.
        for data in (b"x" * (SIZE + 2 * MIB), b""):
            done = subprocess.run(
                program.argv(program.IMPORT, sharded.spec, "target", node=NODE),
                input=data,
                capture_output=True,
                timeout=60,
            )
            assert done.returncode == 1
        assert b"there is nothing to copy" in done.stderr


@pytest.mark.one_suite
def test_a_full_volume_is_told_and_nothing_is_left(make_volume, small_disk, single):
    full = make_volume("copyfull", 1, under=small_disk, features__shard="on")
    with connect(full.spec) as volume, connect(single.spec) as other:
        image.create(other, "source", 600 * MIB)
        with other.open("source", write=True) as file:
            piece = os.urandom(MIB)
            for offset in range(0, 600 * MIB, MIB):
                file.pwrite(piece, offset)
        with ImageSource(other, "source") as source, pytest.raises(CopyFailed) as caught:
            copy(source, NewImage(volume, "copy"))
        assert "No space left on device; the incomplete copy was removed" in str(caught.value)
        assert names(volume) == []
        assert full.shards() == []


def test_bricks_that_die_fail_the_copy_and_the_next_one_cleans_up(sharded):
    with connect(sharded.spec) as volume:
        content = fill(volume, "source")

        def progress(now):
            if now.done > 8 * MIB and all(sharded.pids()):
                sharded.kill(0, 1)

        with (
            ImageSource(volume, "source") as source,
            pytest.raises((CopyFailed, IncompleteImage)) as caught,
        ):
            copy(
                source,
                NewImage(volume, "copy"),
                Options(progress=progress, limit=8 * MIB, interval=0.05),
            )
        assert "image copy" in str(caught.value)
        sharded.revive()
        with ImageSource(volume, "source") as source:
            copy(source, NewImage(volume, "copy"))
        assert read(volume, "copy") == content
        assert names(volume) == ["copy", "source"]


def test_a_copy_that_is_stopped_leaves_nothing_and_a_killed_one_is_cleaned_up(
    sharded, start_program
):
    with connect(sharded.spec) as volume:
        content = fill(volume, "source")
        for number, left in ((signal.SIGTERM, []), (signal.SIGKILL, ["copy.partial"])):
            process = start_program(SLOW, sharded.name, "source", "copy")
            assert process.stdout.readline() == "begun\n"
            if number == signal.SIGKILL:
                with (
                    ImageSource(volume, "source") as source,
                    pytest.raises(CopyFailed, match=r"another copy to image copy .* is running"),
                ):
                    copy(source, NewImage(volume, "copy"))
            process.send_signal(number)
            process.communicate(timeout=60)
            assert process.returncode != 0
            assert names(volume) == sorted([*left, "source"])
        with ImageSource(volume, "source") as source:
            copy(source, NewImage(volume, "copy"))
        assert read(volume, "copy") == content
        assert names(volume) == ["copy", "source"]


@pytest.mark.one_suite
def test_memory_stays_small(sharded, run_program):
    # GlusterFS itself takes up to 80 MiB for what the bricks have not written yet.
    with connect(sharded.spec) as volume:
        image.create(volume, "source", 400 * MIB)
        with volume.open("source", write=True) as file:
            for offset in range(0, 400 * MIB, MIB):
                file.pwrite(os.urandom(MIB), offset)
        done = run_program(
            "from ganeti_gluster.core.copy import copy\n"
            "from ganeti_gluster.core.copy.images import ImageSource, NewImage\n"
            "v = connect(sys.argv[1])\n"
            "with ImageSource(v, 'source') as source: copy(source, NewImage(v, 'copy'))\n"
            "print([line.split()[1] for line in open('/proc/self/status') if 'VmHWM' in line][0])",
            sharded.name,
        )
        assert int(done.stdout) < 200 << 10, done.stderr
