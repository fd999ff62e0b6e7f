"""Files on another host by SFTP (version 3), through OpenSSH's client.

The other host needs nothing but its SSH server, and its account may be confined to SFTP and to a
directory.  No shell takes part.  Replacing a file and having it on the disk are extensions of
OpenSSH's server, which has to have them.  What the server says is bounded and checked.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import subprocess
import threading
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import IO, NamedTuple

from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import decode

#: Bytes of one read or write: as many as any server takes.
STEP = 32768
#: Bytes of one answer: OpenSSH's own limit.
LONGEST = 256 << 10
#: Entries of one directory.
MOST_ENTRIES = 1 << 20
#: Requests under way at a time.
_AT_ONCE = 64
_END_SECONDS = 10

_INIT, _OPEN, _CLOSE, _READ, _WRITE, _FSTAT = 1, 3, 4, 5, 6, 8
_OPENDIR, _READDIR, _REMOVE, _MKDIR, _STAT, _EXTENDED = 11, 12, 13, 14, 17, 200
_VERSION, _STATUS, _HANDLE, _DATA, _NAME, _ATTRS = 2, 101, 102, 103, 104, 105
_OK, _EOF = 0, 1
_ERRORS = {2: errno.ENOENT, 3: errno.EACCES, 8: errno.EOPNOTSUPP}
_READING, _CREATING = 1, 2 | 8 | 16 | 32  # write, create, truncate, exclusive
_SIZE, _OWNER, _MODE, _TIMES, _MORE = 1, 2, 4, 8, 0x80000000

_RENAME, _FSYNC = b"posix-rename@openssh.com", b"fsync@openssh.com"


class SftpFailed(GanetiGlusterError):
    """The server cannot be reached, has gone, or says what it must not."""


class Attributes(NamedTuple):
    """What is known of a file."""

    size: int
    mode: int

    @property
    def is_directory(self) -> bool:
        return self.mode & 0o170000 == 0o040000


def argv(
    host: str, *, user: str = "", port: int | None = None, options: Sequence[str] = ()
) -> list[str]:
    """The command that connects to a host's SFTP server, and asks nobody for anything."""
    words = ["ssh", "-oBatchMode=yes", "-oStrictHostKeyChecking=yes", "-oConnectTimeout=20"]
    words += ["-oServerAliveInterval=15", "-oServerAliveCountMax=4", "-oForwardAgent=no", "-x"]
    words += ["-o%s" % option for option in options]
    words += ["-p%d" % port] if port is not None else []
    return [*words, "-s", "%s@%s" % (user, host) if user else host, "sftp"]


class _Reader:
    """Takes apart what a server says; raises `SftpFailed` where it is not what it should be."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def number(self, form: str = ">I") -> int:
        size = struct.calcsize(form)
        return int(struct.unpack(form, self._take(size))[0])

    def text(self) -> bytes:
        return self._take(self.number())

    def attributes(self) -> Attributes:
        flags = self.number()
        size = self.number(">Q") if flags & _SIZE else 0
        self._take(8 if flags & _OWNER else 0)
        mode = self.number() if flags & _MODE else 0
        self._take(8 if flags & _TIMES else 0)
        if flags & _MORE:
            for _ in range(self.number()):
                self.text(), self.text()
        return Attributes(size, mode)

    @property
    def ended(self) -> bool:
        return self._place == len(self._data)

    def _take(self, count: int) -> bytes:
        part = self._data[self._place : self._place + count]
        if len(part) != count:
            raise SftpFailed("the SFTP server's answer is cut off")
        self._place += count
        return part


def _text(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


class Sftp:
    """A connection; a context manager that ends it.  For several threads, who take turns.

    Failures are `OSError` with the path, or `SftpFailed`.
    """

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._complaints: IO[bytes] | None = None
        self._turn = threading.RLock()
        self._next = 0

    def __enter__(self) -> Sftp:
        self._complaints = open(os.memfd_create("complaints"), "w+b")
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env={**os.environ, "LC_ALL": "C"},
        )
        try:
            self._send(_INIT, struct.pack(">I", 3))
            kind, answer = self._receive()
            if kind != _VERSION or answer.number() < 3:
                raise SftpFailed("%s has no SFTP server of version 3" % self.name)
            known = set()
            while not answer.ended:
                known.add(answer.text())
                answer.text()
            if not {_RENAME, _FSYNC} <= known:
                raise SftpFailed(
                    "the SFTP server of %s lacks posix-rename or fsync" % self.name,
                    hint="use a host with OpenSSH's SFTP server",
                )
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        process = self._process
        if process is None:
            return
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                assert stream is not None
                stream.close()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert self._complaints is not None
        self._complaints.close()
        self._process = None

    # -- files

    def write(self, path: str, data: bytes | bytearray | memoryview) -> None:
        """Make a file, which must not be there, with this content on the disk."""
        view = memoryview(data)
        with self._turn, self._opened(path, _CREATING) as handle:
            self._each(
                (
                    (
                        _WRITE,
                        _text(handle)
                        + struct.pack(">Q", place)
                        + _text(bytes(view[place : place + STEP])),
                    )
                    for place in range(0, len(view), STEP)
                ),
                path,
            )
            self._done(_EXTENDED, _text(_FSYNC) + _text(handle), path)

    def sync(self, path: str) -> None:
        """Have a file, and with a journal its name as well, on the disk."""
        with self._turn, self._opened(path, _READING) as handle:
            self._done(_EXTENDED, _text(_FSYNC) + _text(handle), path)

    def read(self, path: str, offset: int = 0, length: int | None = None) -> bytes:
        """A part of a file; fewer bytes only at its end."""
        with self._turn, self._opened(path, _READING) as handle:
            left = self._size(handle, path) - offset
            length = left if length is None else min(left, length)
            parts: list[bytes] = []
            for first in range(offset, offset + max(0, length), STEP * _AT_ONCE):
                end = min(first + STEP * _AT_ONCE, offset + length)
                parts += self._read(handle, path, first, end)
        return b"".join(parts)

    def _read(self, handle: bytes, path: str, start: int, end: int) -> list[bytes]:
        wanted = [(place, min(STEP, end - place)) for place in range(start, end, STEP)]
        numbers = [self._ask(_READ, _text(handle) + struct.pack(">QI", *each)) for each in wanted]
        answers = self._answers(numbers)
        parts = []
        for (place, length), number in zip(wanted, numbers, strict=True):
            kind, answer = answers[number]
            if kind != _DATA:
                self._raise(kind, answer, path)
            part = answer.text()
            if len(part) > length:
                raise self._wrong()
            while len(part) < length:  # a server may give less than it is asked for
                more = self._one(
                    _READ,
                    _text(handle) + struct.pack(">QI", place + len(part), length - len(part)),
                )
                if more[0] != _DATA:
                    self._raise(*more, path)
                got = more[1].text()
                if not 0 < len(got) <= length - len(part):
                    raise self._wrong()
                part += got
            parts.append(part)
        return parts

    def rename(self, old: str, new: str) -> None:
        """Rename, replacing what `new` names."""
        self._done(_EXTENDED, _text(_RENAME) + _text(_bytes(old)) + _text(_bytes(new)), old)

    def remove(self, path: str) -> None:
        """Remove a file."""
        self._done(_REMOVE, _text(_bytes(path)), path)

    def mkdir(self, path: str, mode: int) -> None:
        """Make a directory."""
        self._done(_MKDIR, _text(_bytes(path)) + struct.pack(">II", _MODE, mode), path)

    def stat(self, path: str) -> Attributes:
        """What is known of a file."""
        with self._turn:
            kind, answer = self._one(_STAT, _text(_bytes(path)))
            if kind != _ATTRS:
                self._raise(kind, answer, path)
            return answer.attributes()

    def scandir(self, path: str) -> list[tuple[str, int]]:
        """The names in a directory, each with its size, without `.` and `..`."""
        entries: list[tuple[str, int]] = []
        with self._turn:
            handle = self._open(_OPENDIR, _text(_bytes(path)), path)
            try:
                while True:
                    kind, answer = self._one(_READDIR, _text(handle))
                    if kind != _NAME:
                        if self._is_end(kind, answer, path):
                            return entries
                        raise self._wrong()
                    for _ in range(answer.number()):
                        name, _, about = answer.text(), answer.text(), answer.attributes()
                        if name not in (b".", b".."):
                            entries.append((name.decode("utf-8", "surrogateescape"), about.size))
                    if len(entries) > MOST_ENTRIES:
                        raise self._wrong()
            finally:
                self._done(_CLOSE, _text(handle), path)

    @contextlib.contextmanager
    def _opened(self, path: str, flags: int) -> Iterator[bytes]:
        handle = self._open(
            _OPEN,
            _text(_bytes(path)) + struct.pack(">III", flags, _MODE, 0o600),
            path,
        )
        try:
            yield handle
        except BaseException:
            with contextlib.suppress(OSError, GanetiGlusterError):
                self._done(_CLOSE, _text(handle), path)
            raise
        self._done(_CLOSE, _text(handle), path)

    def _open(self, kind: int, body: bytes, path: str) -> bytes:
        answered, answer = self._one(kind, body)
        if answered != _HANDLE:
            self._raise(answered, answer, path)
        return answer.text()

    def _size(self, handle: bytes, path: str) -> int:
        kind, answer = self._one(_FSTAT, _text(handle))
        if kind != _ATTRS:
            self._raise(kind, answer, path)
        return answer.attributes().size

    # -- requests

    def _each(self, requests: Iterator[tuple[int, bytes]], path: str) -> None:
        """Make many requests, of which some are under way at a time; each has to succeed."""
        numbers: list[int] = []
        for kind, body in requests:
            numbers.append(self._ask(kind, body))
            if len(numbers) == _AT_ONCE:
                self._succeeded(numbers, path)
                numbers = []
        self._succeeded(numbers, path)

    def _succeeded(self, numbers: list[int], path: str) -> None:
        for kind, answer in self._answers(numbers).values():
            self._check(kind, answer, path)

    def _done(self, kind: int, body: bytes, path: str) -> None:
        with self._turn:
            self._check(*self._one(kind, body), path)

    def _one(self, kind: int, body: bytes) -> tuple[int, _Reader]:
        with self._turn:
            number = self._ask(kind, body)
            return self._answers([number])[number]

    def _ask(self, kind: int, body: bytes) -> int:
        self._next = (self._next + 1) & 0xFFFFFFFF
        self._send(kind, struct.pack(">I", self._next) + body)
        return self._next

    def _answers(self, numbers: Sequence[int]) -> dict[int, tuple[int, _Reader]]:
        """The answers to these requests, which may come in any order."""
        answers: dict[int, tuple[int, _Reader]] = {}
        for _ in numbers:
            kind, answer = self._receive()
            number = answer.number()
            if number not in numbers or number in answers:
                raise self._wrong()
            answers[number] = kind, answer
        return answers

    def _check(self, kind: int, answer: _Reader, path: str) -> None:
        if kind != _STATUS:
            raise self._wrong()
        code = answer.number()
        if code != _OK:
            self._raise_code(code, answer, path)

    def _is_end(self, kind: int, answer: _Reader, path: str) -> bool:
        if kind != _STATUS:
            return False
        code = answer.number()
        if code != _EOF:
            self._raise_code(code, answer, path)
        return True

    def _raise(self, kind: int, answer: _Reader, path: str) -> None:
        if kind != _STATUS:
            raise self._wrong()
        self._raise_code(answer.number(), answer, path)

    def _raise_code(self, code: int, answer: _Reader, path: str) -> None:
        said = "" if answer.ended else answer.text().decode("utf-8", "replace")
        number = _ERRORS.get(code, errno.EIO)
        # "Failure" is what it says of any error that the protocol does not have.
        text = os.strerror(number) if code in _ERRORS else decode.printable(said or "failed")
        raise OSError(number, text, "%s:%s" % (self.name, path))

    def _wrong(self) -> SftpFailed:
        return SftpFailed("the answer of the SFTP server of %s is not understood" % self.name)

    def _send(self, kind: int, body: bytes) -> None:
        process = self._alive()
        assert process.stdin is not None
        try:
            process.stdin.write(struct.pack(">IB", len(body) + 1, kind) + body)
            process.stdin.flush()
        except (OSError, ValueError) as err:
            raise self._gone() from err

    def _receive(self) -> tuple[int, _Reader]:
        length, kind = struct.unpack(">IB", self._exactly(5))
        if not 1 <= length <= LONGEST:
            raise self._wrong()
        return kind, _Reader(self._exactly(length - 1))

    def _exactly(self, count: int) -> bytes:
        process = self._alive()
        assert process.stdout is not None
        try:
            data = process.stdout.read(count)
        except (OSError, ValueError) as err:
            raise self._gone() from err
        if len(data) != count:
            raise self._gone()
        return data

    def _alive(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise SftpFailed("%s is not connected" % self.name)
        return self._process

    def _gone(self) -> SftpFailed:
        assert self._process is not None and self._complaints is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        self._complaints.seek(0)
        said = self._complaints.read(4096).decode("utf-8", "replace").strip().splitlines()
        why = ": %s" % decode.printable(said[-1]) if said else ""
        return SftpFailed("the connection to %s has ended%s" % (self.name, why))


def _bytes(path: str) -> bytes:
    if "\0" in path:
        raise ValueError("embedded null character in path")
    return path.encode("utf-8", "surrogateescape")
