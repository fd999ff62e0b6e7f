"""What a server answers, or that it does not."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ganeti_gluster.core.serve import control, files
from ganeti_gluster.core.serve.control import NoAnswer, NoServer, ServerStatus

from .conftest import Serve, status


def test_a_status_is_read(serve: Serve) -> None:
    serve("k", {"status": [status(
        state="waiting", mode="shared", peers="12 345", users="2", waiting="1700000000.125",
        why="write: No space left on device", requests="2", connected="1",
        full="1",
    )]})  # fmt: skip
    assert control.status("k") == ServerStatus(
        state=control.WAITING,
        mode="shared",
        size=1048576,
        block=512,
        peers=(12, 345),
        users=2,
        waiting=1700000000.125,
        why="write: No space left on device",
        requests=2,
        bricks=3,
        connected=1,
        version="0.9",
        full=True,
    )


def test_a_server_without_clients_has_no_peers(serve: Serve) -> None:
    serve("k", {"status": [status(peers="")]})
    found = control.status("k")
    assert found is not None
    assert found.peers == ()


def test_a_server_that_replaces_itself_is_asked_again(serve: Serve) -> None:
    serve("k", {"status": ["", status()]})
    found = control.status("k")
    assert found is not None
    assert found.state == control.SERVING


def test_a_server_that_has_ended_has_no_status(serve: Serve) -> None:
    serve("k", {"status": [""]})
    assert control.status("k") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ok\n", {"ok": ""}),
        ("held=1177 shared\n", {"held": "1177 shared"}),
        ("busy=12 345\n", {"busy": "12 345"}),
        ("error=not flushed\n", {"error": "not flushed"}),
        ("", {}),
    ],
)
def test_an_answer_is_read(serve: Serve, text: str, expected: dict[str, str]) -> None:
    server = serve("k", {"grow 4096": [text]})
    assert control.ask("k", "grow 4096", timeout=5) == expected
    assert server.asked == ["grow 4096"]


def test_there_is_no_server_of_an_image_that_is_not_open(serve: Serve) -> None:
    with pytest.raises(NoServer) as caught:
        control.ask("k", "status", timeout=5)
    assert str(caught.value) == "the image has no server here"
    assert control.status("k") is None


def test_a_socket_that_a_dead_server_left_is_none(serve: Serve) -> None:
    serve("k").end()
    with pytest.raises(NoServer):
        control.ask("k", "status", timeout=5)
    assert control.status("k") is None


@pytest.fixture
def hung(serve: Serve) -> Iterator[socket.socket]:
    """The socket of a server that does nothing any more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(files.path("k", "ctl"))
        listener.listen(0)
        yield listener


def test_a_server_that_hangs_does_not_hold_us_up(hung: socket.socket) -> None:
    with pytest.raises(NoAnswer) as caught:
        control.status("k", timeout=0.01)
    assert str(caught.value) == "its server does not answer within 0.01 s"


def test_a_server_that_hangs_for_long_is_no_other(hung: socket.socket) -> None:
    for _ in range(2):  # connections that it does not take fill its queue
        with pytest.raises(NoAnswer):
            control.ask("k", "status", timeout=0.01)
