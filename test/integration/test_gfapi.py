"""The binding on a real volume."""

from __future__ import annotations

import errno
import fcntl
import os
from stat import S_ISDIR

import pytest

from ganeti_gluster.core.volume import connect
from ganeti_gluster.tools.gfapi import Volume, topology

GIB = 1 << 30


@pytest.fixture
def path(volume, directory):
    volume.mkdir(directory)
    return directory + "/file"


@pytest.fixture(scope="module")
def plain(make_volume):
    """A volume without shards."""
    return make_volume("plain", 1)


@pytest.fixture
def plain_volume(plain):
    with connect(plain.spec) as connected:
        yield connected


def test_what_was_written_is_read_back_beyond_4_gib(volume, path):
    data = os.urandom(3 * 4096 + 7)
    with volume.create(path) as file:
        file.pwrite(data, 5 * GIB + 4096)
        file.fsync()
        assert file.pread(len(data), 5 * GIB + 4096) == data
        assert file.pread(4096, 4096) == bytes(4096)
        assert file.stat().size == 5 * GIB + 4096 + len(data)


def test_data_is_in_another_connection_after_close(volume, path, spec, run_program):
    with volume.create(path) as file:
        file.pwrite(b"x" * (9 << 20), 0)
    done = run_program(
        "import sys\nwith connect(sys.argv[1]).open(sys.argv[2]) as f:\n"
        "    print(f.pread(10 << 20, 0) == b'x' * (9 << 20))",
        spec.name,
        path,
    )
    assert done.stdout == "True\n", done.stderr


def test_a_read_at_the_end_is_short_and_past_it_empty(volume, path):
    with volume.create(path) as file:
        file.pwrite(b"abc", 0)
        assert file.pread(10, 1) == b"bc"
        assert file.pread(10, 3) == b""


def test_every_kind_of_buffer_is_written(volume, path):
    with volume.create(path) as file:
        file.pwrite(bytearray(b"ab"), 0)
        file.pwrite(memoryview(b"cd"), 2)
        file.pwrite(memoryview(bytearray(b"ef")), 4)
        assert file.pread(6, 0) == b"abcdef"


def test_allocate_beyond_4_gib_sets_the_size(volume, path):
    with volume.create(path) as file:
        file.allocate(5 * GIB, 4096)
        assert file.stat().size == 5 * GIB + 4096


def test_allocate_can_keep_the_size(plain_volume):
    with plain_volume.create("keep") as file:
        file.allocate(0, 1 << 20, keep_size=True)
        assert file.stat().size == 0
    plain_volume.unlink("keep")


def test_discard_gives_zeroes(volume, path):
    with volume.create(path) as file:
        file.pwrite(b"x" * 12288, 0)
        file.discard(4096, 4096)
        assert file.pread(12288, 0) == b"x" * 4096 + bytes(4096) + b"x" * 4096


def test_data_and_holes_are_found(plain_volume):
    with plain_volume.create("sparse") as file:
        file.truncate(6 * GIB)
        file.pwrite(b"x" * 65536, 5 * GIB)
        file.fsync()
        assert file.seek_data(0) == 5 * GIB
        assert file.seek_hole(5 * GIB) == 5 * GIB + 65536
        assert file.seek_data(5 * GIB + 65536) is None
    plain_volume.unlink("sparse")


def test_a_sharded_volume_does_not_find_data(volume, path):
    with volume.create(path) as file:
        file.truncate(1 << 20)
        with pytest.raises(OSError) as caught:
            file.seek_data(0)
    assert caught.value.errno == errno.ENOTSUP
    assert caught.value.filename == path


def test_create_refuses_an_existing_file(volume, path):
    volume.create(path).close()
    with pytest.raises(FileExistsError) as caught:
        volume.create(path)
    assert caught.value.filename == path


@pytest.mark.parametrize("operation", ["stat", "lstat", "unlink", "open", "scandir"])
def test_a_missing_name_is_enoent_with_its_path(volume, directory, operation):
    with pytest.raises(FileNotFoundError) as caught:
        getattr(volume, operation)(directory + "/nothing")
    assert caught.value.filename == directory + "/nothing"


def test_a_mode_is_not_narrowed_by_the_umask(volume, directory):
    before = os.umask(0o077)
    try:
        volume.mkdir(directory, mode=0o755)
    finally:
        os.umask(before)
    assert volume.stat(directory).mode & 0o7777 == 0o755


def test_owner_link_and_rename(volume, path):
    with volume.create(path) as file:
        file.chown(1234, 2345)
    volume.link(path, path + ".b")
    assert volume.stat(path + ".b").links == 2
    with pytest.raises(FileExistsError):
        volume.link(path, path + ".b")
    volume.unlink(path)
    volume.rename(path + ".b", path)
    volume.chown(path, 1235, 2346)
    assert (volume.stat(path).uid, volume.stat(path).gid) == (1235, 2346)
    assert not volume.access(path + ".b")


def test_an_attribute_keeps_nul_and_length(volume, path):
    volume.create(path).close()
    value = b"a\0b" + bytes(range(256)) + b"\0"
    volume.setxattr(path, "user.x", value)
    volume.setxattr(path, "user.y", b"")
    assert volume.getxattr(path, "user.x") == value
    with pytest.raises(OSError) as caught:
        volume.getxattr(path, "user.z")
    assert caught.value.errno == errno.ENODATA


def test_an_attribute_longer_than_the_first_buffer(small_attributes, plain_volume):
    plain_volume.create("long").close()
    value = os.urandom(small_attributes)
    plain_volume.setxattr("long", "user.x", value)
    assert plain_volume.getxattr("long", "user.x") == value
    plain_volume.unlink("long")


@pytest.fixture
def small_attributes(monkeypatch):
    # ext4 keeps no attribute above 4 KiB, so the buffer is made smaller instead.
    monkeypatch.setattr("ganeti_gluster.tools.gfapi.volume._XATTR_ROOM", 16)
    return 1000


def test_a_directory_lists_names_sizes_and_modes(volume, directory):
    volume.mkdir(directory)
    volume.mkdir(directory + "/below")
    with volume.create(directory + "/ünï") as file:
        file.truncate(12345)
    entries = {entry.name: entry for entry in volume.scandir(directory)}
    assert sorted(entries) == ["below", "ünï"]
    assert S_ISDIR(entries["below"].stat.mode)
    assert entries["ünï"].stat.size == 12345
    assert entries["ünï"].stat.mode == 0o100600
    assert entries["ünï"].readable


def test_a_name_that_is_not_utf8_is_listed_and_usable(volume, directory):
    volume.mkdir(directory)
    name = os.fsdecode(b"bad-\xff\xfe")
    volume.create("%s/%s" % (directory, name)).close()
    volume.create(directory + "/good").close()
    assert {e.name: e.readable for e in volume.scandir(directory)} == {name: False, "good": True}
    volume.unlink("%s/%s" % (directory, name))
    assert [entry.name for entry in volume.scandir(directory)] == ["good"]


def test_a_nul_in_a_path_is_refused(volume):
    with pytest.raises(ValueError, match="null"):
        volume.stat("a\0b")


def test_space_is_that_of_the_volume(volume):
    space = volume.space()
    assert 0 < space.free <= space.total


def test_the_graph_is_exactly_the_volfile(volume, spec, gluster_command):
    text = volume.volfile()
    assert text.startswith("volume ") and text.endswith("end-volume\n")
    shape = topology.parse(text)
    info = gluster_command("volume", "info", spec.name)
    bricks = [brick.findtext("name") for brick in info.iter("brick")]
    assert ["%s:%s" % (brick.host, brick.path) for brick in shape.bricks] == bricks
    assert shape.volume == spec.name
    assert shape.sharded and shape.replicated


@pytest.mark.parametrize(
    ("name", "bricks", "shape", "expected"),
    [
        ("arb", 3, ("replica", "3", "arbiter", "1"), [("replicate", 3, 1)]),
        ("dst", 2, (), [("single", 1, 0), ("single", 1, 0)]),
        ("dr", 6, ("replica", "3"), [("replicate", 3, 0), ("replicate", 3, 0)]),
        ("ec", 3, ("disperse", "3", "redundancy", "1"), [("disperse", 3, 0)]),
    ],
)
def test_the_topology_of_a_running_volume(make_volume, name, bricks, shape, expected):
    made = make_volume(name, bricks, *shape)
    with connect(made.spec) as connected:
        found = topology.parse(connected.volfile())
    subvolumes = [(s.kind, len(s.bricks), s.arbiters) for s in found.subvolumes]
    assert subvolumes == expected
    assert [brick.path for brick in found.bricks] == [str(path) for path in made.bricks]
    assert not found.sharded


LOCKER = """
import fcntl
file = connect(sys.argv[1]).open(sys.argv[2], write=True)
file.set_lock_owner(b"other")
file.lock(fcntl.F_WRLCK)
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_lock_excludes_another_process_and_goes_with_it(volume, path, spec, start_program, wait):
    volume.create(path).close()
    other = start_program(LOCKER, spec.name, path)
    assert other.stdout.readline() == "locked\n"

    with volume.open(path, write=True) as file:
        file.set_lock_owner(b"this")
        with pytest.raises(BlockingIOError):
            file.lock(fcntl.F_WRLCK)
        other.kill()

        def granted():
            try:
                file.lock(fcntl.F_WRLCK)
            except BlockingIOError:
                return False
            return True

        wait("the lock is free after its holder's death", granted, seconds=10)
        file.lock(fcntl.F_UNLCK)


def test_leaving_the_volume_closes_its_files(spec, directory):
    with connect(spec) as volume:
        assert isinstance(volume, Volume)
        volume.mkdir(directory)
        file = volume.create(directory + "/open")
        file.pwrite(b"x", 0)
    with pytest.raises(ValueError, match="closed"):
        file.pread(1, 0)
