"""Where the page listens, and with what."""

from __future__ import annotations

import socket
import threading

import pytest

from ganeti_gluster.errors import InvalidParameter
from ganeti_gluster.web.processes import wait_for
from ganeti_gluster.web.server import CannotListen, Listen, bind, choose, refuse


@pytest.mark.parametrize(
    ("address", "tls", "url"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:5083/"),
        ("::1", False, "http://[::1]:5083/"),
        ("127.0.0.1", True, "https://127.0.0.1:5083/"),
        ("192.0.2.2", False, "https://192.0.2.2:5083/"),
        ("0.0.0.0", False, "https://0.0.0.0:5083/"),
        ("::", False, "https://[::]:5083/"),
    ],
)
def test_all_but_loopback_has_tls(address: str, tls: bool, url: str) -> None:
    assert choose(address, 5083, "/c.pem", tls=tls).url == url


@pytest.mark.parametrize(
    ("address", "port", "said"),
    [
        ("node1", 5083, "not an IP address: node1"),
        ("", 5083, "not an IP address"),
        ("127.0.0.1", 443, "not a port for the page: 443"),
        ("127.0.0.1", 65536, "not a port for the page: 65536"),
    ],
)
def test_what_cannot_be_listened_on(address: str, port: int, said: str) -> None:
    with pytest.raises(InvalidParameter, match=said):
        choose(address, port, "/c.pem", tls=False)


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen) as caught:
            bind(Listen("127.0.0.1", port))
    assert str(caught.value) == (
        "cannot listen on 127.0.0.1 port %d: Address already in use;"
        " choose others with --bind and --port" % port
    )


@pytest.mark.parametrize(
    ("address", "loopback"),
    [("127.0.0.1", True), ("127.0.0.2", True), ("::1", True), ("192.0.2.2", False), ("::", False)],
)
def test_what_is_for_this_machine_alone(address: str, loopback: bool) -> None:
    assert Listen(address).loopback == loopback


def test_nobody_is_served_while_a_node_waits_to_be_the_master() -> None:
    with bind(Listen("127.0.0.1", 0)) as listening:
        answers = []

        def connect() -> None:
            with socket.create_connection(listening.getsockname(), timeout=10) as client:
                answers.append(client.recv(1))

        states = iter([False, False, True])
        client = threading.Thread(target=connect)
        client.start()
        wait_for(lambda: bool(answers) and next(states), lambda _: refuse(listening, 0.05))
        client.join()
    assert answers == [b""]
