"""An image that is in use: its server and its device, one with the other."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.core import in_use
from ganeti_gluster.core.export import ExportFailed
from ganeti_gluster.core.in_use import ImageInUse
from ganeti_gluster.core.serve import control, opening
from ganeti_gluster.core.serve.files import EXCLUSIVE
from ganeti_gluster.core.serve.holder import LastUser
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError

SPEC = VolumeSpec.from_params({"host": "node1", "volume": "gv0"})
OPEN: tuple[str, dict[str, Any]] = (
    "open",
    {"number": 7, "mode": EXCLUSIVE, "locking": True, "patience": 60},
)


class Node:
    """A node with one image: what there is of it, and what was done."""

    def __init__(self) -> None:
        self.state: str | None = None
        self.size = 4096
        self.device: str | None = None
        self.peers: tuple[int, ...] = ()
        self.users: list[str] = []
        self.calls: list[Any] = []
        self.failing: dict[str, GanetiGlusterError] = {}

    def do(self, what: str, *details: Any) -> None:
        self.calls.append((what, *details) if details else what)
        if what in self.failing:
            raise self.failing[what]


class Server:
    """Stands for `ImageServer`."""

    spec, path = SPEC, "ganeti/x.0"
    socket_path = "/run/ganeti-gluster-nbd/gv0-01.nbd"

    def __init__(self, node: Node) -> None:
        self._node = node

    def status(self) -> Any:
        node = self._node
        return node.state and SimpleNamespace(state=node.state, size=node.size, peers=node.peers)

    def open(self, **wanted: Any) -> None:
        self._node.do("open", wanted)
        self._node.state = control.SERVING

    def close(self) -> None:
        self._node.do("close")
        self._node.state = None

    def flush(self) -> None:
        self._node.do("server flush")

    def grow(self, size: int) -> bool:
        self._node.do("server grow", size)
        return self._node.state is not None


class Export:
    """Stands for the image's `Export`."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def device(self) -> str | None:
        return self._node.device

    def start(self, size: int | None) -> str:
        self._node.do("show", size)
        self._node.device = "/dev/nbd0"
        return self._node.device

    def stop(self) -> None:
        self._node.do("hide")
        self._node.device = None

    def flush(self) -> None:
        self._node.do("device flush")

    def grow(self, size: int) -> bool:
        self._node.do("device grow", size)
        return True


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def image(node: Node, monkeypatch: pytest.MonkeyPatch) -> ImageInUse:
    monkeypatch.setattr(in_use, "ImageServer", lambda spec, path: Server(node))
    monkeypatch.setattr(opening, "connect", lambda spec: contextlib.nullcontext("volume"))
    monkeypatch.setattr(opening, "word_of", lambda volume, path: ("", 0))
    monkeypatch.setattr(ImageInUse, "export", property(lambda self: Export(node)))
    return ImageInUse(SPEC, "ganeti/x.0", 60)


def test_an_image_needs_neither_to_be_named(image: ImageInUse, node: Node) -> None:
    assert image.uri == (
        "nbd+unix:///?socket=/run/ganeti-gluster-nbd/gv0-01.nbd,file.reconnect-delay=120"
    )
    assert image.status() is image.size() is None
    assert node.calls == []


@pytest.mark.parametrize(
    ("state", "size", "expected"),
    [
        (control.SERVING, 4096, 4096),
        (control.WAITING, 4096, 4096),
        (control.WAITING, 0, None),  # it has not been open yet
        (control.LOST, 4096, None),
    ],
)
def test_the_size_is_what_a_server_that_has_the_image_says(
    image: ImageInUse, node: Node, state: str, size: int, expected: int | None
) -> None:
    node.state, node.size = state, size
    assert image.size() == expected


def test_a_server_that_has_lost_the_image_does_not_count(image: ImageInUse, node: Node) -> None:
    node.state = control.LOST
    assert image.status() is None
    assert image.grow(8192) is False
    assert node.calls == []


def test_a_device_is_made_in_the_images_size(image: ImageInUse, node: Node) -> None:
    node.state = control.SERVING
    assert image.show_device() == "/dev/nbd0"
    assert node.calls == [("show", 4096)]


def test_the_device_is_flushed_before_the_server(image: ImageInUse, node: Node) -> None:
    image.flush()
    assert node.calls == ["device flush", "server flush"]


@pytest.mark.parametrize(
    ("state", "peers", "expected"),
    [(None, (), False), (control.SERVING, (), False), (control.SERVING, (17,), True)],
)
def test_a_client_of_the_server_is_a_user(
    image: ImageInUse, node: Node, state: str | None, peers: tuple[int, ...], expected: bool
) -> None:
    node.state, node.peers = state, peers
    assert image.has_user() is expected
    assert node.calls == []


def test_what_has_the_device_is_a_user_and_what_feeds_it_is_none(
    image: ImageInUse, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.state, node.peers, node.device = control.SERVING, (17,), "/dev/nbd0"
    monkeypatch.setattr("ganeti_gluster.core.export.users.of", lambda device: node.users)
    assert not image.has_user()
    node.failing = {"device flush": ExportFailed("the kernel itself has it")}
    assert image.has_user()
    node.failing, node.users = {}, ["qemu-system-x86 (process 4)"]
    assert image.has_user()
    assert node.calls == ["device flush", "device flush"]


def test_the_device_grows_after_the_image(image: ImageInUse, node: Node) -> None:
    node.state = control.SERVING
    assert image.grow(8192) is True
    assert node.calls == [("server grow", 8192), ("device grow", 8192)]


def test_what_is_not_open_does_not_grow(image: ImageInUse, node: Node) -> None:
    assert image.grow(8192) is False
    assert node.calls == []


def test_the_device_is_taken_away_before_the_image_is_given_back(
    image: ImageInUse, node: Node
) -> None:
    image.end()
    assert node.calls == ["hide", "close"]


def test_a_device_in_use_keeps_the_image_open(image: ImageInUse, node: Node) -> None:
    node.failing = {"hide": GanetiGlusterError("/dev/nbd0 is still in use")}
    with pytest.raises(GanetiGlusterError, match="still in use"):
        image.end()
    assert node.calls == ["hide"]


# -- with_device -----------------------------------------------------------------


def test_a_device_for_a_while_leaves_nothing(image: ImageInUse, node: Node) -> None:
    with image.with_device(7, locking=True) as device:
        assert device == "/dev/nbd0"
        assert node.calls == [OPEN, ("show", 4096)]
    assert node.calls == [OPEN, ("show", 4096), "hide", "close"]


def test_an_image_that_was_open_stays_open(image: ImageInUse, node: Node) -> None:
    node.state = control.SERVING
    with image.with_device(7, locking=True):
        pass
    assert node.calls == [("show", 4096), "hide"]


def test_a_device_that_was_there_stays(image: ImageInUse, node: Node) -> None:
    node.state, node.device = control.SERVING, "/dev/nbd5"
    with image.with_device(7, locking=True) as device:
        assert device == "/dev/nbd5"
    assert node.calls == []


def test_a_server_that_has_lost_the_image_is_replaced(image: ImageInUse, node: Node) -> None:
    node.state = control.LOST
    with image.with_device(7, locking=False):
        pass
    assert node.calls[0] == ("open", {**OPEN[1], "locking": False})
    assert node.calls[-1] == "close"


@pytest.mark.parametrize(
    ("state", "device", "left"),
    [
        (None, None, ["hide", "close"]),
        (control.SERVING, None, ["hide"]),
        (control.SERVING, "/dev/nbd5", []),
    ],
)
def test_a_failure_undoes_what_was_done_and_no_more(
    image: ImageInUse, node: Node, state: str | None, device: str | None, left: list[str]
) -> None:
    node.state, node.device = state, device
    with pytest.raises(KeyError), image.with_device(7, locking=True):
        node.calls.clear()
        raise KeyError("the script")
    assert node.calls == left


def test_what_this_node_left_before_a_restart_is_taken(
    image: ImageInUse, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "RETURN_SECONDS", 0.0)
    node.failing = {"open": LastUser("ganeti/x.0", 7, "abc")}

    def gone(*_: object) -> None:
        node.failing = {}

    monkeypatch.setattr(opening.logging, "warning", gone)
    with image.with_device(7, locking=True):
        assert node.calls == [OPEN, ("open", {**OPEN[1], "take": "abc"}), ("show", 4096)]


def test_an_image_without_a_device_is_given_back(image: ImageInUse, node: Node) -> None:
    node.failing = {"show": GanetiGlusterError("no device is free")}
    with pytest.raises(GanetiGlusterError, match="no device"), image.with_device(7, locking=True):
        pytest.fail("there is no device")
    assert node.calls == [OPEN, ("show", 4096), "close"]


def test_an_image_that_cannot_be_opened_is_left(image: ImageInUse, node: Node) -> None:
    node.failing = {"open": GanetiGlusterError("open elsewhere")}
    with pytest.raises(GanetiGlusterError, match="elsewhere"), image.with_device(7, locking=True):
        pytest.fail("it is not open")
    assert node.calls == [OPEN]


def test_what_cannot_be_undone_is_an_error(image: ImageInUse, node: Node) -> None:
    node.failing = {"hide": GanetiGlusterError("/dev/nbd0 is still in use")}
    with (
        pytest.raises(GanetiGlusterError, match="still in use"),
        image.with_device(7, locking=True),
    ):
        pass


def test_the_first_error_is_the_one_that_is_told(image: ImageInUse, node: Node) -> None:
    node.failing = {name: GanetiGlusterError(name) for name in ("hide", "close")}
    with pytest.raises(KeyError, match="the script"), image.with_device(7, locking=True):
        raise KeyError("the script")
    assert node.calls[-2:] == ["hide", "close"]
