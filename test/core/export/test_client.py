"""Requests to an image's server that may die at any time."""

from __future__ import annotations

import errno
import sys
from types import SimpleNamespace

import pytest

from ganeti_gluster.core.export import client
from ganeti_gluster.core.export.served import ServedImage, WrongSize

KIB = 1 << 10
MIB = 1 << 20
SOCKET = "/run/x.nbd"


class Error(Exception):
    """libnbd's."""

    def __init__(self, string: str, errnum: int) -> None:
        super().__init__(string, errnum)
        self.string, self.errnum = string, errnum


class AServer:
    """An image's server, as its clients see it."""

    def __init__(self) -> None:
        self.data = bytearray(MIB)
        self.size = MIB
        self.block = 512
        self.is_there = True
        self.answers = True
        self.deaths = 0  # before it answers a request
        self.error = 0
        self.generation = 0
        self.log: list[tuple[object, ...]] = []

    def drop_all(self) -> None:
        self.generation += 1


class Handle:
    """libnbd's handle."""

    def __init__(self, server: AServer) -> None:
        self.server = server
        self.state = "created"
        self.generation = -1

    def set_strict_mode(self, mode: int) -> None:
        assert mode == 0, "libnbd would refuse what is behind the size that it knows"

    def set_request_structured_replies(self, wanted: bool) -> None:
        assert not wanted

    def aio_connect_unix(self, path: str) -> None:
        assert path == SOCKET
        self.server.log.append(("connect",))
        if not self.server.is_there:
            self.state = "dead"
            raise Error("connect: No such file or directory", errno.ENOENT)
        self.state = "connecting"

    def poll(self, milliseconds: int) -> None:
        assert milliseconds > 0
        if self.server.answers:
            self.state, self.generation = "ready", self.server.generation

    def aio_is_connecting(self) -> bool:
        return self.state == "connecting"

    def aio_is_ready(self) -> bool:
        return self.state == "ready"

    def get_size(self) -> int:
        return self.server.size

    def get_block_size(self, which: int) -> int:
        assert which == 0
        return self.server.block

    def _ask(self, *what: object) -> None:
        server = self.server
        server.log.append(what)
        if server.deaths:
            server.deaths -= 1
            server.drop_all()
        if self.generation != server.generation:
            self.state = "dead"
            raise Error("Transport endpoint is not connected", errno.ENOTCONN)
        if server.error:
            raise Error("command failed", server.error)

    def pread(self, count: int, offset: int) -> bytearray:
        self._ask("read", offset, count)
        assert not (count | offset) % self.server.block
        return self.server.data[offset : offset + count]

    def pwrite(self, data: memoryview, offset: int) -> None:
        self._ask("write", offset, len(data))
        assert not (len(data) | offset) % self.server.block
        self.server.data[offset : offset + len(data)] = data

    def flush(self) -> None:
        self._ask("flush")

    def zero(self, count: int, offset: int, flags: int) -> None:
        self._ask("zero", offset, count, flags)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> AServer:
    server = AServer()
    monkeypatch.setitem(
        sys.modules, "nbd", SimpleNamespace(NBD=lambda: Handle(server), Error=Error)
    )
    monkeypatch.setattr(client, "RETRY_SECONDS", 0)
    return server


def an_image(seconds: float = 60) -> ServedImage:
    image = ServedImage(SOCKET, seconds)
    image.learn_size(seconds=60)
    return image


def write(image: ServedImage, data: bytes, offset: int) -> None:
    image.pwrite(memoryview(data), offset)


def test_what_is_written_is_read(server: AServer) -> None:
    image = an_image()
    write(image, b"a" * 4096, 8192)
    assert bytes(image.pread(4096, 8192)) == b"a" * 4096
    assert bytes(image.pread(4096, MIB - 512)) == bytes(512), "what is behind its end is missing"
    assert not image.pread(512, MIB)


def test_a_thread_keeps_its_connection(server: AServer) -> None:
    image = an_image()
    server.log.clear()
    image.flush()
    image.flush()
    assert server.log == [("connect",), ("flush",), ("flush",)]


def test_what_a_server_did_not_answer_is_asked_again(
    server: AServer, capfd: pytest.CaptureFixture[str]
) -> None:
    image = an_image()
    server.log.clear()
    server.deaths = 3
    write(image, b"b" * 512, 512)
    assert server.log == [("connect",), ("write", 512, 512)] * 4
    assert server.data[512:1024] == b"b" * 512
    told = capfd.readouterr().err.splitlines()
    assert told[0] == (
        "the image server is unavailable, and requests are waiting: Transport endpoint is"
        " not connected"
    )
    assert told[1].startswith("the image server is available again after 0.")
    assert len(told) == 2, "an outage is told once, however many attempts it takes"


def test_a_connection_that_the_server_ended_meanwhile_is_made_again(server: AServer) -> None:
    image = an_image()
    image.flush()
    server.drop_all()
    image.flush()


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_an_error_that_the_server_answers_is_the_requests_and_the_connection_stays(
    server: AServer, code: int
) -> None:
    image = an_image()
    server.error = code
    with pytest.raises(OSError) as caught:
        image.flush()
    assert caught.value.errno == code
    server.error = 0
    server.log.clear()
    image.flush()
    assert server.log == [("flush",)]


@pytest.mark.parametrize("what", ["gone", "silent", "dying"])
def test_a_server_that_is_away_for_too_long_is_an_error_of_the_device(
    server: AServer, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = an_image(seconds=0)
    server.is_there = what != "gone"
    server.answers = what != "silent"
    server.deaths = 1 if what == "dying" else 0
    with monkeypatch.context() as quick:
        if what == "silent":
            quick.setattr(client, "LAST_SECONDS", 0)
        with pytest.raises(OSError, match="the image server is unavailable: ") as caught:
            image.flush()
    assert caught.value.errno == errno.EIO
    server.is_there = server.answers = True
    image.flush()


def test_requests_are_given_up_together_however_late_they_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(client, "time", SimpleNamespace(monotonic=lambda: now))
    outage = client.Outage(60)
    assert outage.begin() == 1060
    now = 1050.0
    assert outage.begin() == 1060
    outage.end()
    assert outage.begin() == 1110, "it has been there in between"


def test_its_size_is_asked_anew(server: AServer) -> None:
    image = an_image()
    server.size = 2 * MIB
    image.learn_size(2 * MIB, seconds=60)
    assert image.size == 2 * MIB
    with pytest.raises(WrongSize, match=r"^its server reports 2097152 bytes instead of 3145728"):
        image.learn_size(3 * MIB, seconds=60)
    server.size = MIB
    with pytest.raises(WrongSize, match=r"^its server reports 1048576 bytes instead of 2097152"):
        image.learn_size(MIB, seconds=60)
    assert image.size == 2 * MIB


def test_a_server_that_does_not_come_is_not_waited_for_when_an_export_starts(
    server: AServer,
) -> None:
    server.is_there = False
    with pytest.raises(
        client.ServerAway, match=r"unavailable: connect: No such file or directory$"
    ):
        ServedImage(SOCKET, 900).learn_size(seconds=0)


def test_a_size_is_that_of_whole_blocks(server: AServer) -> None:
    image = an_image()
    image.learn_size(MIB + 100, seconds=60)
    assert image.size == MIB


def test_holes_are_zeroes_that_need_not_keep_their_blocks(server: AServer) -> None:
    image = an_image()
    server.log.clear()
    image.discard(512, 1024)
    image.zero(4096, 1024)
    assert server.log == [("connect",), ("zero", 512, 1024, 16), ("zero", 4096, 1024, 2)]


def test_a_range_beyond_what_one_request_can_name_is_several(server: AServer) -> None:
    image = an_image()
    server.log.clear()
    image.discard(512, 5 << 30)
    requests = server.log[1:]
    assert [what[1] for what in requests] == [512 + (i << 30) for i in range(5)]
    assert {what[2] for what in requests} == {1 << 30}


@pytest.mark.parametrize(
    ("offset", "size"),
    [(0, 4096), (512, 512), (3584, 1024), (512, 16 * KIB), (4096, 512), (7680, 512)],
)
def test_bricks_with_large_sectors_get_whole_ones(server: AServer, offset: int, size: int) -> None:
    server.block = 4096
    server.data[: 64 * KIB] = before = bytes(range(256)) * 256
    image = an_image()
    assert bytes(image.pread(size, offset)) == before[offset : offset + size]
    write(image, b"x" * size, offset)
    after = before[:offset] + b"x" * size + before[offset + size :]
    assert server.data[: 64 * KIB] == after
