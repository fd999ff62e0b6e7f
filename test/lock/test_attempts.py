"""Connections that are not made for too long."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest

from ganeti_gluster.lock import attempts
from ganeti_gluster.lock.attempts import Attempts


@pytest.fixture
def attempt() -> Iterator[socket.socket]:
    """A connection to one that takes no more of them, and does not say so."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        clients: list[socket.socket] = []
        while not (clients and attempts._is_attempt(clients[-1])):
            clients.append(socket.socket())
            clients[-1].setblocking(False)
            assert clients[-1].connect_ex(listener.getsockname()) == errno.EINPROGRESS
        yield clients[-1]
        for client in clients:
            client.close()


def test_what_is_being_connected_for_too_long_is_given_up(
    attempt: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Attempts()
    assert seen.give_up_old() == 0
    assert attempts._is_attempt(attempt)
    monkeypatch.setattr(attempts, "_PATIENCE", 0.0)
    assert seen.give_up_old() == 1
    assert attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    assert seen.give_up_old() == 0


def test_what_is_connected_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_PATIENCE", -1.0)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
    ):
        assert Attempts().give_up_old() == 0
        client.sendall(b"x")
