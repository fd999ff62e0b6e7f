"""Requests of the kernel, and what they are answered with."""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganeti_gluster.core.export import control, fuse
from ganeti_gluster.core.export.server import FuseServer

MIB = 1 << 20


class Memory:
    """An image in memory."""

    def __init__(self, size: int = MIB) -> None:
        self.data = bytearray(size)
        self.log: list[tuple[object, ...]] = []
        self.fail: OSError | None = None

    @property
    def size(self) -> int:
        return len(self.data)

    def pread(self, size: int, offset: int) -> memoryview:
        if self.fail:
            raise self.fail
        return memoryview(self.data)[offset : offset + size]

    def pwrite(self, data: memoryview, offset: int) -> None:
        self.data[offset : offset + len(data)] = data

    def flush(self) -> None:
        self.log.append(("flush",))

    def discard(self, offset: int, length: int) -> None:
        self.log.append(("discard", offset, length))

    def zero(self, offset: int, length: int) -> None:
        self.log.append(("zero", offset, length))


class Kernel:
    """The kernel's end of /dev/fuse."""

    def __init__(self, image: Memory) -> None:
        self.image = image
        self.socket, self.other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(5)
        self.server = FuseServer(self.other.fileno(), image)
        self.buffer = bytearray(fuse.REQUEST_SIZE)
        self.more = True

    def send(self, opcode: int, body: bytes = b"") -> None:
        head = struct.pack("=IIQQIIII", 40 + len(body), opcode, 99, fuse.ROOT, 0, 0, 0, 0)
        self.socket.send(head + body)
        self.more = self.server.step(self.buffer)

    def ask(self, opcode: int, body: bytes = b"") -> tuple[int, bytes]:
        """The errno and the body of an answer."""
        self.send(opcode, body)
        answer = self.socket.recv(fuse.REQUEST_SIZE)
        length, error, unique = struct.unpack_from("=IiQ", answer)
        assert (length, unique) == (len(answer), 99)
        return -error, answer[16:]


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    kernel = Kernel(Memory())
    yield kernel
    kernel.socket.close()
    kernel.other.close()


def a_range(offset: int, size: int) -> bytes:
    return struct.pack("=QQIIQII", 0, offset, size, 0, 0, 0, 0)


def test_it_agrees_on_the_protocol(kernel: Kernel) -> None:
    code, body = kernel.ask(fuse.INIT, struct.pack("=IIII", 7, 40, 131072, 0xFFFFFFFF) + bytes(48))
    assert (code, len(body)) == (0, 64)
    major, minor, _, flags, background, _, max_write = struct.unpack_from("=IIIIHHI", body)
    assert (major, minor, background, max_write) == (7, 31, fuse.MAX_BACKGROUND, fuse.MAX_DATA)
    assert not flags & (1 << 16), "no write-back cache: a write is a write"


def test_a_kernel_that_is_too_old_is_refused(kernel: Kernel) -> None:
    code, _ = kernel.ask(fuse.INIT, struct.pack("=IIII", 7, 30, 0, 0))
    assert code == errno.EPROTO


def test_what_is_written_is_read(kernel: Kernel) -> None:
    data = os.urandom(4096)
    assert kernel.ask(fuse.WRITE, a_range(8192, 4096) + data) == (0, struct.pack("=II", 4096, 0))
    assert kernel.ask(fuse.READ, a_range(8192, 4096)) == (0, data)
    assert kernel.ask(fuse.READ, a_range(MIB - 512, 4096)) == (0, bytes(512))


def test_an_error_of_the_image_is_the_kernels(kernel: Kernel) -> None:
    kernel.image.fail = OSError(errno.ENOSPC, "no room")
    assert kernel.ask(fuse.READ, a_range(0, 512)) == (errno.ENOSPC, b"")
    kernel.image.fail = None
    assert kernel.ask(fuse.READ, a_range(0, 512)) == (0, bytes(512))


def test_what_nobody_expected_is_an_error_and_not_the_end(
    kernel: Kernel, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise TypeError("a mistake")

    monkeypatch.setattr(kernel.image, "flush", broken)
    assert kernel.ask(fuse.FSYNC, bytes(16)) == (errno.EIO, b"")
    assert "a mistake" in capfd.readouterr().err
    assert kernel.more


@pytest.mark.parametrize(
    ("mode", "call"),
    [
        (fuse.FALLOC_FL_PUNCH_HOLE | fuse.FALLOC_FL_KEEP_SIZE, "discard"),
        (fuse.FALLOC_FL_ZERO_RANGE, "zero"),
        (fuse.FALLOC_FL_ZERO_RANGE | fuse.FALLOC_FL_KEEP_SIZE, "zero"),
    ],
)
def test_holes_are_discards_and_zeroes_are_zeroes(kernel: Kernel, mode: int, call: str) -> None:
    body = struct.pack("=QQQII", 0, 5 << 32, 1 << 33, mode, 0)
    assert kernel.ask(fuse.FALLOCATE, body) == (0, b"")
    assert kernel.image.log == [(call, 5 << 32, 1 << 33)]


def test_other_modes_of_fallocate_are_refused(kernel: Kernel) -> None:
    code, _ = kernel.ask(fuse.FALLOCATE, struct.pack("=QQQII", 0, 0, 4096, 0, 0))
    assert code == errno.EOPNOTSUPP


def test_a_flush_is_a_sync(kernel: Kernel) -> None:
    assert kernel.ask(fuse.FSYNC, bytes(16)) == (0, b"")
    assert kernel.image.log == [("flush",)]


def test_attributes_are_those_of_one_regular_file(kernel: Kernel) -> None:
    code, body = kernel.ask(fuse.GETATTR, bytes(16))
    assert (code, len(body)) == (0, 104)
    _, _, _, inode, size = struct.unpack_from("=QII2Q", body)
    assert (inode, size) == (fuse.ROOT, MIB)
    assert struct.unpack_from("=I", body, 76)[0] == 0o100600


def test_what_is_not_needed_is_said_once_and_what_has_no_answer_gets_none(kernel: Kernel) -> None:
    assert kernel.ask(fuse.GETXATTR, bytes(8))[0] == errno.ENOSYS
    assert kernel.ask(fuse.LOOKUP, b"x\0")[0] == errno.ENOENT
    kernel.send(fuse.FORGET, bytes(8))
    kernel.send(fuse.INTERRUPT, bytes(8))
    kernel.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        kernel.socket.recv(1)


def test_the_end_of_the_mount_is_the_servers(kernel: Kernel) -> None:
    assert kernel.ask(fuse.DESTROY) == (0, b"")
    assert not kernel.more


def test_the_exporter_is_asked_over_a_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "x")

    def handle(question: dict[str, object]) -> dict[str, object]:
        if question.get("resize") == 1:
            raise OSError(errno.EINVAL, "it cannot shrink")
        return {"size": question.get("resize")}

    control.Listener(path, handle).start()
    assert control.ask(path, {"resize": 5}, timeout=5) == {"size": 5}
    with pytest.raises(control.ControlFailed, match="it cannot shrink"):
        control.ask(path, {"resize": 1}, timeout=5)
    with pytest.raises(control.ExporterGone, match="cannot be reached: No such file"):
        control.ask(path + "y", {}, timeout=5)
    assert control.is_there(path)
    assert not control.is_there(path + "y")


def test_an_exporter_that_is_held_up_is_there_and_one_that_ends_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "PING_SECONDS", 0.1)
    path = str(tmp_path / "x")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(control.socket_path(path))
        listener.listen()
        assert control.is_there(path)
        ending = threading.Thread(target=lambda: [listener.accept()[0].close() for _ in "12"])
        ending.start()  # the first connection waits already
        assert not control.is_there(path)
        ending.join(5)
    assert not control.is_there(path)
