"""A server of an image that answers as it is told to, on a real socket."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ganeti_gluster import constants
from ganeti_gluster.core.serve import files

STATUS = {
    "state": "serving",
    "mode": "exclusive",
    "size": "1048576",
    "block": "512",
    "clients": "1",
    "peers": "4711",
    "waiting": "0.000",
    "why": "",
    "requests": "0",
    "bricks": "3",
    "connected": "3",
    "started": "1.000",
    "version": "0.9",
}


def status(**changed: str) -> str:
    """What a server answers when it is asked for its status."""
    return "".join("%s=%s\n" % value for value in {**STATUS, **changed}.items())


class FakeServer:
    """Answers each question with the next of its answers, the last one for ever.

    An answer of "" is the server's end instead of one.  `asked` are all questions but that
    for the status.
    """

    def __init__(self, key: str, answers: dict[str, list[str]]) -> None:
        self.asked: list[str] = []
        self._answers = answers
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(files.path(key, "ctl"))
        self._listener.listen(8)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # the test has ended
                return
            with connection:
                question = connection.recv(256).decode()
                if question != "status":
                    self.asked.append(question)
                answers = self._answers[question]
                text = answers.pop(0) if len(answers) > 1 else answers[0]
                if text:
                    connection.send(text.encode())

    def end(self) -> None:
        with contextlib.suppress(OSError):  # it has ended before
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()


Serve = Callable[..., FakeServer]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the servers of this test leave their files."""
    monkeypatch.setattr(constants, "RUN_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(constants, "IMAGE_SERVER_DIR", str(tmp_path / "run/images"))
    monkeypatch.setattr(constants, "IMAGE_SOCKET_DIR", str(tmp_path / "sockets"))
    return tmp_path / "run/images"


@pytest.fixture
def serve(directory: Path) -> Iterator[Serve]:
    """`serve(key, {question: [answer, …]})`: a server; it serves without more being said."""
    files.make_directories()
    with contextlib.ExitStack() as stack:

        def start(key: str, answers: dict[str, list[str]] | None = None) -> FakeServer:
            server = FakeServer(key, {"status": [status()], **(answers or {})})
            stack.callback(server.end)
            return server

        yield start
