"""Who may connect to which server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ganeti_gluster.core.serve import files, owner
from ganeti_gluster.core.serve.owner import OwnerNotSet

from .conftest import FakeServer

Serving = Callable[..., FakeServer]

DONE = {"owner 4100": ["ok\n"], "owner 0": ["ok\n"]}


@pytest.fixture(autouse=True)
def processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """One process is user 4100's, another root's; there are no more."""
    monkeypatch.setattr(owner.processes, "user_of", {11: 4100, 12: 0}.get)


def test_each_server_is_told(directory: Path, serve: Serving) -> None:
    servers = [serve(key, DONE) for key in ("gv0-01", "gv0-02")]
    owner.give([files.path("gv0-02", "nbd"), files.path("gv0-01", "nbd")], 4100)
    owner.give([files.path("gv0-01", "nbd")], 0)
    assert [server.asked for server in servers] == [["owner 4100", "owner 0"], ["owner 4100"]]


def test_a_socket_without_a_server_is_left_alone(directory: Path) -> None:
    files.make_directories()
    owner.give([files.path("gv0-01", "nbd")], 4100)


@pytest.mark.parametrize(
    ("answer", "why"),
    [("error=the storage is unavailable: no quorum\n", "no quorum"), ("", "it ended")],
)
def test_a_server_that_does_not_do_it_is_an_error(
    directory: Path, serve: Serving, answer: str, why: str
) -> None:
    serve("gv0-01", {"owner 4100": [answer]})
    with pytest.raises(
        OwnerNotSet, match="cannot give user 4100 access to image server gv0-01: .*" + why
    ):
        owner.give([files.path("gv0-01", "nbd")], 4100)


@pytest.mark.parametrize(
    ("held", "asked"),
    [
        ("owner=4100\nclients=13/5 12/7\n", ["owner 0"]),  # ended, and a process of root's
        ("owner=4100\nclients=\n", ["owner 0"]),
        ("owner=4100\nclients=13/5 11/9\n", []),  # it lives
        ("owner=4101\nclients=13/5\n", []),
        ("owner=0\nclients=13/5\n", []),
        ("clients=13/5\n", []),
    ],
)
def test_a_user_loses_the_images_of_a_qemu_that_has_died(
    directory: Path, serve: Serving, held: str, asked: list[str]
) -> None:
    serve("gv0-01", DONE)
    other = serve("gv0-02", DONE)
    for key in ("gv0-01", "gv0-02"):
        Path(files.path(key, "conf")).touch()
        Path(files.path(key, "held")).write_text(held)
    owner.give([files.path("gv0-01", "nbd")], 4100)
    assert other.asked == asked
