"""Which servers answer: against sockets of this process."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from threading import Thread

import pytest

from ganeti_gluster.tools.gfapi.probe import Address, Probe, probe

SILENT_SECONDS = 0.5


@pytest.fixture
def silent() -> Iterator[Address]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()


@pytest.fixture
def dead() -> Address:
    """A server that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address: Address = listening.getsockname()
    return address


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Iterator[Address]:
    """A server that ends each connection, which is an answer."""

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    listening.accept()[0].close()
                except OSError:
                    return

        Thread(target=serve, daemon=True).start()
        yield listening.getsockname()
        listening.shutdown(socket.SHUT_RDWR)


def test_each_answer_is_told_in_the_order_asked(live: Address, dead: Address) -> None:
    assert list(probe([dead, live]).items()) == [(dead, "Connection refused"), (live, None)]


def test_the_best_one_is_enough(live: Address, silent: Address) -> None:
    started = time.monotonic()
    found = Probe([live, silent], timeout=60).until_best()
    assert found == {live: None, silent: "was not waited for"}
    assert time.monotonic() - started < 30


def test_a_later_one_that_answers_waits_for_the_better(silent: Address, live: Address) -> None:
    found = Probe([silent, live], timeout=SILENT_SECONDS).until_best()
    assert found[live] is None
    assert found[silent] is not None and found[silent] != "was not waited for"


def test_where_none_answers_each_has_its_reason(silent: Address, dead: Address) -> None:
    found = Probe([silent, dead], timeout=SILENT_SECONDS).until_best()
    assert found == {
        silent: "accepts the connection, but does not answer",
        dead: "Connection refused",
    }


def test_names_do_not_load_the_tables_of_international_ones(
    live: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "encodings.idna", raising=False)
    assert probe([("localhost", live[1])])
    assert "encodings.idna" not in sys.modules
