"""A real server on loopback, and clients that would keep it busy for ever."""

from __future__ import annotations

import http.client
import select
import socket
import threading
from collections.abc import Iterable, Iterator

import pytest

from ganeti_gluster.web import connections, crowd
from ganeti_gluster.web.connections import Deadline, Timed
from ganeti_gluster.web.server import Listen, WebServer, bind

# Threads that the server has, and some more.
MANY = 40
PART = b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
HEADER = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n"


def app(environ: dict[str, object], start: object) -> Iterable[bytes]:
    """Tells how long the body was."""
    body = environ["wsgi.input"].read()  # type: ignore[attr-defined]
    start("200 OK", [("Content-Type", "text/plain")])  # type: ignore[operator]
    return [b"%d" % len(body)]


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a server for this machine."""
    listening = bind(Listen("127.0.0.1", 0))
    server = WebServer(listening, None, app)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    yield listening.getsockname()[1]
    server.stop()
    thread.join(10)


def ask(port: int, body: bytes = b"") -> bytes:
    """What an honest client is answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("POST", "/", body)
    answer = connection.getresponse().read()
    connection.close()
    return answer


def dribble(client: socket.socket, *, most: int) -> bool:
    """Say a byte now and then; whether the server put an end to it, before `most` of them."""
    for _ in range(most):
        if select.select([client], [], [], 0.02)[0]:
            return True
        try:
            client.send(b"x")
        except OSError:
            return True
    return False


@pytest.mark.parametrize("begin", [b"", PART, HEADER])
def test_many_that_say_a_byte_now_and_then_stop_nobody(
    port: int, monkeypatch: pytest.MonkeyPatch, begin: bytes
) -> None:
    clients = []
    for _ in range(MANY):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(begin)
        clients.append(client)
    assert ask(port, b"four") == b"4"
    for client in clients:
        client.close()


@pytest.mark.parametrize("begin", [b"", PART, HEADER])
def test_a_request_has_an_end_however_often_its_client_says_something(
    port: int, monkeypatch: pytest.MonkeyPatch, begin: bytes
) -> None:
    monkeypatch.setattr(connections, "REQUEST_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(begin)
        # A minute's worth, at 50 bytes a second.
        assert dribble(client, most=3000)
    assert ask(port) == b"0"


def test_a_connection_is_kept_for_further_requests(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for number in range(3):
        connection.request("POST", "/", b"x" * number)
        assert connection.getresponse().read() == b"%d" % number
    connection.close()


def test_the_oldest_of_an_address_goes_for_the_youngest(port: int) -> None:
    first, *rest = [
        socket.create_connection(("127.0.0.1", port)) for _ in range(crowd.PER_ADDRESS + 1)
    ]
    first.settimeout(10)
    assert first.recv(1) == b""
    for client in rest:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.makefile("rb").readline().startswith(b"HTTP/1.1 200")
        client.close()
    first.close()


class Clock:
    """A clock that a test turns."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_deadline_counts_from_its_beginning() -> None:
    clock = Clock()
    deadline = Deadline(clock=clock)
    assert (deadline.begun, deadline.limit(3)) == (False, 3)
    deadline.begin(5)
    assert (deadline.begun, deadline.limit(3)) == (True, 3)
    clock.now = 4
    assert deadline.limit(3) == 1
    clock.now = 5
    with pytest.raises(TimeoutError, match="timed out"):
        deadline.limit(3)
    deadline.forget()
    assert deadline.limit(3) == 3


def test_what_is_there_is_not_read_after_the_deadline() -> None:
    clock = Clock()
    ours, theirs = socket.socketpair()
    with theirs, Timed(fileno=ours.detach()) as timed:
        timed.open(clock=clock)
        timed.exchange()
        theirs.sendall(b"ab")
        assert timed.recv_into(bytearray(1)) == 1
        clock.now = connections.REQUEST_SECONDS
        with pytest.raises(TimeoutError, match="timed out"):
            timed.recv_into(bytearray(1))
        # Its answer has its own, from its first part on.
        assert timed.send(b"c") == 1
        clock.now += connections.ANSWER_SECONDS
        with pytest.raises(TimeoutError, match="timed out"):
            timed.send(b"c")
        timed.exchange()
        assert (timed.recv_into(bytearray(1)), timed.send(b"d")) == (1, 1)


def test_a_port_is_ours_from_the_first_moment_on() -> None:
    with bind(Listen("127.0.0.1", 0)) as listening, socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="Address already in use"):
            other.bind(listening.getsockname())
