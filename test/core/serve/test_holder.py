"""Who has an image open."""

from __future__ import annotations

import contextlib
import errno
import fcntl
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from ganeti_gluster.core.serve import holder
from ganeti_gluster.core.serve.files import EXCLUSIVE, SHARED
from ganeti_gluster.core.serve.holder import LastUser, LockHolder, OpenElsewhere, node_number
from ganeti_gluster.tools.gfapi import File, Volume

IMAGE = "ganeti/x.0"


class FakeFile:
    """An open image, and the lock that another has on it."""

    path = IMAGE

    def __init__(self, conflict: tuple[int, int] | None) -> None:
        self.conflict = conflict
        self.calls: list[Any] = []
        self.owner = b""

    def set_lock_owner(self, owner: bytes) -> None:
        self.owner = owner

    def conflicting_lock(self, kind: int) -> tuple[int, int] | None:
        assert self.owner.startswith(b"ganeti-gluster-")
        self.calls.append(kind)
        return self.conflict

    def lock(self, kind: int) -> None:
        self.calls.append(kind)
        raise OSError(errno.ENOTCONN, "the brick is away")

    def abandon(self) -> None:
        self.calls.append("abandoned")


class FakeVolume:
    """A volume with one image."""

    def __init__(
        self, conflict: tuple[int, int] | None = None, word: bytes | int = errno.ENODATA
    ) -> None:
        self.file = FakeFile(conflict)
        self._word = word

    @contextlib.contextmanager
    def open(self, path: str, *, write: bool) -> Iterator[FakeFile]:
        assert (path, write) == (IMAGE, True)
        yield self.file

    def getxattr(self, path: str, name: str) -> bytes:
        assert (path, name) == (IMAGE, "user.ganeti-gluster.holder")
        if isinstance(self._word, int):
            raise OSError(self._word, "no word")
        return self._word


def volume(conflict: tuple[int, int] | None = None, word: bytes | int = errno.ENODATA) -> Volume:
    return cast(Volume, FakeVolume(conflict, word))


def test_a_holder_is_known_by_its_number() -> None:
    nodes = ["node1.example.com", "node2.example.com"]
    found = LockHolder(node_number(nodes[1]), EXCLUSIVE)
    assert found.name(nodes) == "node node2.example.com"
    assert found.name(nodes[:1]) == "an unknown node (%d)" % found.number


def test_nodes_of_one_number_are_both_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holder, "node_number", lambda node: 1)
    assert LockHolder(1, SHARED).name(["node1", "node2"]) == "node node1 or node2"


def test_numbers_fit_into_a_pid() -> None:
    numbers = {node_number("node%d" % index) for index in range(1000)}
    assert len(numbers) == 1000
    assert min(numbers) > 0
    assert max(numbers) < 1 << 31


def test_a_refusal_names_the_image() -> None:
    assert str(OpenElsewhere(IMAGE, None)) == "image ganeti/x.0 is open on another node"
    assert str(LastUser(IMAGE, 7, "w")) == ("the last user of image ganeti/x.0 has not closed it")


@pytest.mark.parametrize(
    ("left", "expected"),
    [
        (errno.ENODATA, ("", 0)),
        (b"5fe0 1177", ("5fe0", 1177)),
        (b"evicted 0", ("evicted", 0)),
        (b"5fe0", ("5fe0", 0)),
        (b"5fe0 x", ("5fe0", 0)),
        (b"\xff 1", ("\ufffd", 1)),
    ],
)
def test_the_word_on_an_image(left: bytes | int, expected: tuple[str, int]) -> None:
    assert holder.word_of(volume(word=left), IMAGE) == expected


def test_a_volume_that_does_not_tell_the_word_is_an_error() -> None:
    with pytest.raises(OSError, match="no word"):
        holder.word_of(volume(word=errno.ENOTCONN), IMAGE)


def ask_bricks(
    monkeypatch: pytest.MonkeyPatch, *conflicts: tuple[int, int] | None
) -> list[Volume]:
    """Let the bricks answer; returns those that were asked."""
    bricks = [volume(conflict) for conflict in conflicts]
    asked: list[Volume] = []

    def ask_each(whole: Volume, question: Callable[[Volume], Any]) -> list[Any]:
        asked.extend(bricks)
        return [question(brick) for brick in bricks]

    monkeypatch.setattr(holder, "ask_each", ask_each)
    return asked


@pytest.mark.parametrize(("kind", "mode"), [(fcntl.F_RDLCK, SHARED), (fcntl.F_WRLCK, EXCLUSIVE)])
def test_a_lock_tells_who_has_the_image(
    monkeypatch: pytest.MonkeyPatch, kind: int, mode: str
) -> None:
    asked = ask_bricks(monkeypatch)
    opened = volume((kind, 1177))
    assert holder.holder_of(opened, IMAGE) == LockHolder(1177, mode)
    assert cast(FakeVolume, opened).file.calls == [fcntl.F_WRLCK]
    assert asked == []


def test_a_lock_that_one_brick_alone_remembers_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    ask_bricks(monkeypatch, None, (fcntl.F_RDLCK, 9), None)
    assert holder.holder_of(volume(), IMAGE) == LockHolder(9, SHARED)


def test_an_image_without_a_lock_on_any_brick_is_nobodys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = ask_bricks(monkeypatch, None, None)
    assert holder.holder_of(volume(), IMAGE) is None
    assert len(asked) == 2


def test_all_holders_are_known_by_the_bricks(monkeypatch: pytest.MonkeyPatch) -> None:
    ask_bricks(monkeypatch, (fcntl.F_RDLCK, 1), (fcntl.F_RDLCK, 2), None)
    found = holder.holders_of(volume((fcntl.F_RDLCK, 1)), IMAGE)
    assert found == {LockHolder(1, SHARED), LockHolder(2, SHARED)}
    assert holder.holders_of(volume(), IMAGE) == {LockHolder(1, SHARED), LockHolder(2, SHARED)}


def test_a_file_is_let_go_whatever_its_brick_says() -> None:
    file = FakeFile(None)
    holder.let_go(cast(File, file))
    assert file.calls == [fcntl.F_UNLCK, "abandoned"]


def test_words_and_owners_are_unlike_any_other() -> None:
    assert len({holder.new_word() for _ in range(100)}) == 100
    assert len({holder.new_owner() for _ in range(100)}) == 100
    assert not holder.new_word().startswith(holder.EVICTED)
