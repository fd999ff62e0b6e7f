"""Files and connections over a libgfapi of our own, which can misbehave."""

from __future__ import annotations

import ctypes
import errno
from pathlib import Path

import pytest

from ganeti_gluster.tools.gfapi import ConnectionSpec, Volume
from ganeti_gluster.tools.gfapi import volume as gfapi_volume
from ganeti_gluster.tools.gfapi.connection import Connection
from ganeti_gluster.tools.gfapi.library import Library
from ganeti_gluster.tools.gfapi.prototypes import PROTOTYPES

DATA = Path(__file__).parent / "data"


class FakeLibrary(Library):
    """Notes every call; answers 0, or what `answers` has for the function."""

    def __init__(self):
        self.calls = []
        self.answers = {"glfs_creat": 99, "glfs_pwrite": lambda fd, data, size, *rest: size}
        self.functions = {name: self.function(name) for name in PROTOTYPES}

    def function(self, name):
        def call(*args):
            self.calls.append(name)
            answer = self.answers.get(name, 0)
            answer = answer(*args) if callable(answer) else answer
            if answer is not None and answer < 0:
                ctypes.set_errno(-answer)
                return -1
            return answer

        return call


@pytest.fixture
def library():
    return FakeLibrary()


@pytest.fixture
def volume(library):
    return Volume(Connection(library, 1, ConnectionSpec("gv0", (("node1", 24007),))))


def test_an_error_has_errno_text_and_path(library, volume):
    library.answers["glfs_unlink"] = -errno.EACCES
    with pytest.raises(PermissionError) as caught:
        volume.unlink("a/b")
    assert str(caught.value) == "[Errno 13] Permission denied: 'a/b'"


def test_a_null_pointer_is_an_error_even_without_errno(library, volume):
    library.answers["glfs_open"] = None
    with pytest.raises(OSError) as caught:
        volume.open("a")
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, "a")


def test_a_short_write_is_continued(library, volume):
    written = []

    def short(fd, data, size, offset, *rest):
        written.append((bytes(data)[:3], offset))
        return min(size, 3)

    library.answers["glfs_pwrite"] = short
    with volume.create("a") as file:
        file.pwrite(b"abcdefgh", 100)
    assert written == [(b"abc", 100), (b"def", 103), (b"gh", 106)]


def test_a_write_of_nothing_is_an_error_not_a_loop(library, volume):
    library.answers["glfs_pwrite"] = 0
    with pytest.raises(OSError, match="nothing was written"), volume.create("a") as file:
        file.pwrite(b"x", 0)


def test_a_short_read_is_continued_until_the_end(library, volume):
    content = b"abcdefgh"

    def short(fd, buffer, size, offset, *rest):
        part = content[offset : offset + min(size, 3)]
        ctypes.memmove(buffer, part, len(part))
        return len(part)

    library.answers["glfs_pread"] = short
    with volume.create("a") as file:
        assert file.pread(100, 1) == b"bcdefgh"
        assert file.pread(4, 1) == b"bcde"
        assert file.pread(4, 8) == b""


def test_close_syncs_only_what_is_not_yet_synced(library, volume):
    with volume.create("a") as file:
        file.pwrite(b"x", 0)
    assert library.calls == ["glfs_creat", "glfs_pwrite", "glfs_fsync", "glfs_close"]
    library.calls.clear()
    volume.create("a").close()
    assert library.calls == ["glfs_creat", "glfs_close"]


def test_a_failed_sync_fails_the_close_and_still_closes(library, volume):
    library.answers["glfs_fsync"] = -errno.ENOTCONN
    file = volume.create("a")
    file.pwrite(b"x", 0)
    with pytest.raises(OSError) as caught:
        file.close()
    assert caught.value.errno == errno.ENOTCONN
    assert library.calls[-1] == "glfs_close"
    file.close()
    assert library.calls.count("glfs_close") == 1


def test_the_first_error_is_not_hidden_by_those_of_closing(library, volume):
    library.answers["glfs_close"] = -errno.EIO
    with pytest.raises(KeyError), volume.create("a") as file:
        file.pwrite(b"x", 0)
        raise KeyError
    assert "glfs_fsync" not in library.calls
    assert library.calls[-1] == "glfs_close"


def test_leaving_a_volume_closes_every_file_and_tells_the_first_error(library, volume):
    answers = iter([-errno.EIO, 0, -errno.EACCES])
    library.answers["glfs_close"] = lambda fd: next(answers)
    with pytest.raises(OSError) as caught, volume:
        for name in "abc":
            volume.create(name)
    assert caught.value.errno == errno.EIO
    assert library.calls.count("glfs_close") == 3
    assert "glfs_fini" not in library.calls


def test_a_closed_file_is_not_used(volume):
    file = volume.create("a")
    file.close()
    for use in (lambda: file.pread(1, 0), file.fsync, lambda: file.truncate(1)):
        with pytest.raises(ValueError, match="a is closed"):
            use()


def test_fini_is_run_once_and_ends_the_connection(library, volume):
    volume.create("a")
    volume.fini()
    assert library.calls == ["glfs_creat", "glfs_close", "glfs_fini"]
    with pytest.raises(ValueError, match="is closed"):
        volume.unlink("a")


def test_an_empty_file_is_extended_before_a_later_range_is_allocated(library, volume):
    # A sharded volume would never answer.
    library.Stat = lambda: type("Stat", (ctypes.Structure,), {"_fields_": FIELDS})()
    with volume.create("a") as file:
        file.allocate(4096, 4096)
        file.allocate(0, 4096)
        file.allocate(4096, 4096, keep_size=True)
    operations = [name for name in library.calls if name not in ("glfs_creat", "glfs_close")]
    assert operations == [
        "glfs_fstat",
        "glfs_ftruncate",
        "glfs_fallocate",
        "glfs_fallocate",
        "glfs_fallocate",
        "glfs_fsync",
    ]


def test_a_name_without_a_stat_is_asked_for_and_may_be_gone(library, volume, monkeypatch):
    library.Stat = lambda: type("Stat", (ctypes.Structure,), {"_fields_": FIELDS})()
    library.Dirent = type(
        "Dirent", (ctypes.Structure,), {"_fields_": [("d_name", ctypes.c_char * 256)]}
    )
    names = iter([b".", b"here", b"gone", None])

    def read(fd, stat, dirent, end):
        name = next(names)
        dirent._obj.d_name = name or b""
        end._obj.value = 1 if name else None
        return 0

    def lstat(fs, path, stat):
        if path == b"d/gone":
            return -errno.ENOENT
        stat._obj.st_mode, stat._obj.st_size = 0o100600, 7
        return 0

    library.answers.update(glfs_opendir=5, glfs_readdirplus_r=read, glfs_lstat=lstat)
    (entry,) = volume.scandir("d")
    assert (entry.name, entry.stat.size, entry.stat.is_file) == ("here", 7, True)
    assert library.calls[-1] == "glfs_closedir"


def test_an_error_while_listing_is_raised_and_closes(library, volume):
    library.Stat = library.Dirent = ctypes.c_long
    library.answers.update(glfs_opendir=5, glfs_readdirplus_r=-errno.EIO)
    with pytest.raises(OSError) as caught:
        volume.scandir("d")
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, "d")
    assert library.calls[-1] == "glfs_closedir"


def test_a_graph_that_a_new_connection_does_not_have_yet_is_awaited(library, volume, monkeypatch):
    text = b"volume gv0\nend-volume\n"
    read = library.functions["glfs_get_volfile"]

    def get_volfile(handle, buffer, size):
        read(handle, buffer, size)
        if len(library.calls) <= 2:
            return 0  # it has none yet
        if size < len(text):
            return size - len(text)
        buffer[: len(text)] = text
        return len(text)

    library.functions["glfs_get_volfile"] = get_volfile
    assert volume.volfile() == text.decode()
    assert len(library.calls) == 4
    library.functions["glfs_get_volfile"] = lambda *args: 0
    monkeypatch.setattr(gfapi_volume, "VOLFILE_SECONDS", 0.03)
    with pytest.raises(OSError, match="does not return the graph"):
        volume.volfile()


FIELDS = [
    ("st_" + name, ctypes.c_ulong)
    for name in ("mode", "size", "blocks", "uid", "gid", "mtime", "mtimensec", "ino", "nlink")
]
