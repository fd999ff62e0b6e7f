"""Whether a guest boots, as its console or its agent tells."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ganeti_gluster.core.backup import boot
from ganeti_gluster.core.backup.boot import DidNotBoot

LOGIN = re.compile("login:")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[str, Callable[[socket.socket], None]], str]]:
    """Listens at a socket of this name, and talks to whoever connects; gives its path."""
    threads, listeners = [], []

    def start(name: str, talk: Callable[[socket.socket], None]) -> str:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(tmp_path / name))
        listener.listen(1)
        listeners.append(listener)

        def run() -> None:
            try:
                connection, _ = listener.accept()
            except OSError:  # nobody came
                return
            with connection:
                talk(connection)

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()
        return str(tmp_path / name)

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join(10)


def test_a_line_of_the_console_that_comes_in_pieces(serve) -> None:  # type: ignore[no-untyped-def]
    running = threading.Event()

    def guest(stream: socket.socket) -> None:
        running.wait(10)  # what is said before anybody hears it is lost
        for part in (b"Welcome\nvm1 lo", b"gin: "):
            stream.sendall(part)

    path = serve("serial", guest)
    assert boot.watch(path, None, LOGIN, 10, running.set) == "the console said 'login:'"


def test_the_agent_answers(serve, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(boot, "ASK_SECONDS", 0.0)

    def agent(stream: socket.socket) -> None:
        asked = json.loads(stream.recv(4096).lstrip(b"\xff"))
        answer = {"return": asked["arguments"]["id"]}
        stream.sendall(b"\xff" + json.dumps(answer).encode() + b"\n")

    path = serve("agent", agent)
    seen = boot.watch(str(Path(path).parent / "none"), path, LOGIN, 10, lambda: None)
    assert seen == "the guest's agent answered"


def test_a_guest_that_does_not_boot(serve) -> None:  # type: ignore[no-untyped-def]
    path = serve("serial", lambda stream: stream.sendall(b"No bootable device."))
    said = "no boot was seen within 1 s; the console said last: No bootable device."
    with pytest.raises(DidNotBoot, match=re.escape(said)):
        boot.watch(path, None, LOGIN, 1, lambda: None)
