"""What is ours is root's alone, whatever was there before."""

from __future__ import annotations

import fcntl
import os
import re
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganeti_gluster import constants
from ganeti_gluster.tools import private
from ganeti_gluster.tools.private import NotPrivate


@pytest.fixture(autouse=True)
def generous() -> Iterator[None]:
    """A umask that keeps nobody off."""
    before = os.umask(0)
    yield
    os.umask(before)


# A brick's directory is the administrator's, and so is a repository's.
ELSEWHERE = {"tools/private.py", "core/pool/place.py", "core/backup/directory.py"}
LIB = Path(private.__file__).parents[1]


def test_our_directories_are_made_in_one_place() -> None:
    making = {
        str(path.relative_to(LIB))
        for path in LIB.rglob("*.py")
        if re.search(r"\bos\.(makedirs|mkdir)\(", path.read_text())
    }
    assert making == ELSEWHERE


def test_files_are_replaced_and_locked_in_one_place() -> None:
    ways = r"\bos\.(replace|rename)\(|\btempfile\b|\bfcntl\.(flock|lockf|fcntl)\("
    found = {path.name for path in LIB.rglob("*.py") if re.search(ways, path.read_text())}
    assert found == {"private.py"}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "run"
    monkeypatch.setattr(constants, "RUN_DIR", str(found))
    return found


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_directory_is_made_with_those_above_it(run: Path) -> None:
    inner = run / "a" / "b"
    assert private.directory(str(inner)) == str(inner)
    assert [mode(path) for path in (run, run / "a", inner)] == [0o700] * 3


def test_directories_that_exist_are_mended_up_to_our_own(run: Path, tmp_path: Path) -> None:
    (run / "a").mkdir(parents=True)
    tmp_path.chmod(0o755)
    private.directory(str(run / "a"))
    assert [mode(path) for path in (tmp_path, run, run / "a")] == [0o755, 0o700, 0o700]


def test_a_directory_that_is_another_s_is_left_as_it_is(run: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir(0o770)
    with private.append(str(log / "ours.log")) as stream:
        stream.write("a line\n")
    assert (mode(log), mode(log / "ours.log")) == (0o770, 0o600)


def test_a_link_is_no_directory_of_ours(run: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(0o755)
    run.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotPrivate, match="run: it is not a directory; mount a file system there"):
        private.directory(str(run))
    assert mode(tmp_path / "elsewhere") == 0o755


def test_a_file_is_made_and_one_that_exists_is_mended(run: Path) -> None:
    path = run / "file"
    for _ in range(2):
        os.close(private.open_file(str(path), os.O_RDWR | os.O_CREAT))
        assert (mode(run), mode(path)) == (0o700, 0o600)
        run.chmod(0o777)
        path.chmod(0o666)


def test_no_link_is_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("as it was")
    (tmp_path / "ours.log").symlink_to(precious)
    with pytest.raises(
        NotPrivate, match=r"ours\.log: it is a symbolic link, which is not followed"
    ):
        private.append(str(tmp_path / "ours.log"))
    assert precious.read_text() == "as it was"
    assert mode(precious) == 0o666


def test_a_file_with_another_name_is_not_ours(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.touch()
    (tmp_path / "ours.log").hardlink_to(precious)
    with pytest.raises(NotPrivate, match="it is not a regular file with a single link"):
        private.append(str(tmp_path / "ours.log"))
    assert mode(precious) == 0o666


def test_a_pipe_holds_nobody_up(run: Path) -> None:
    run.mkdir()
    os.mkfifo(run / "file")
    with pytest.raises(NotPrivate, match="it is not a regular file with a single link"):
        private.open_file(str(run / "file"), os.O_RDWR | os.O_CREAT)


def test_a_lock_that_others_may_have_gives_way(run: Path) -> None:
    path = run / "lock"
    run.mkdir()
    path.touch(0o644)
    with path.open() as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        ours = private.open_lock(str(path))
        fcntl.flock(ours, fcntl.LOCK_EX | fcntl.LOCK_NB)
    again = private.open_lock(str(path))
    with pytest.raises(BlockingIOError):
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(ours)
    os.close(again)


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_as_a_whole(run: Path, durable: bool) -> None:
    path = run / "file"
    private.write(str(path), "old")
    path.chmod(0o644)
    with path.open() as reader:
        private.write(str(path), "new", durable=durable)
        assert reader.read() == "old"
    assert (path.read_text(), mode(path)) == ("new", 0o600)
    private.touch(str(path))
    assert path.read_text() == ""
    assert list(run.iterdir()) == [path]


def test_what_cannot_be_written_leaves_nothing(run: Path) -> None:
    (run / "file").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        private.write(str(run / "file"), "text")
    assert [path.name for path in run.iterdir()] == ["file"]


def test_a_link_takes_the_place_of_another(run: Path) -> None:
    path = run / "devices" / "x"
    for target in ("/dev/loop1", "/dev/loop2"):
        private.link(target, str(path))
        assert os.readlink(path) == target
    assert os.listdir(path.parent) == ["x"]
    assert mode(path.parent) == 0o700


@pytest.mark.parametrize("what", [{}, {"byte": 7}])
def test_threads_keep_each_other_from_a_lock(run: Path, what: dict[str, int]) -> None:
    path, order = str(run / "lock"), []

    def work() -> None:
        with private.locked(path, **what):
            order.append("second")

    second = threading.Thread(target=work)
    with private.locked(path, **what):
        second.start()
        with private.locked(path, byte=8):  # another one
            pass
        second.join(0.05)
        order.append("first")
    second.join()
    assert order == ["first", "second"]


def test_a_lock_is_not_waited_for_longer_than_wanted(run: Path) -> None:
    path = str(run / "lock")
    with private.locked(path):
        with pytest.raises(BlockingIOError), private.locked(path, seconds=0):
            pass
        refusal = ValueError("busy")
        with (
            pytest.raises(ValueError, match="busy"),
            private.locked(path, refusal=refusal, seconds=0),
        ):
            pass
    with private.locked(path, seconds=0):
        pass
