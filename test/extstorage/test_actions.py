"""What the provider does with an image that is open, or not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.errors import GanetiGlusterError, VolumeUnreachable
from ganeti_gluster.extstorage import actions
from ganeti_gluster.extstorage.request import ExtStorageRequest

NAME = "0f1e2d3c.ext.disk0"
URI = "nbd+unix:///?socket=/run/x.nbd,file.reconnect-delay=960"
ENVIRON = {
    "VOL_NAME": NAME,
    "VOL_UUID": "u1",
    "VOL_SIZE": "1",
    "VOL_NEW_SIZE": "2",
    "VOL_SNAPSHOT_NAME": NAME + ".snap",
    "EXTP_PROVIDER": "gluster",
    "EXTP_VOLUME": "gv0",
}
IMAGE = "ganeti-ext/" + NAME
MIB = 1 << 20


class Node:
    """A node with one image on its volume: how it is, and what was done."""

    def __init__(self) -> None:
        self.exists = True
        self.served = False
        self.size = MIB
        self.used = False
        self.reachable = True
        self.startable = True
        self.running = False
        self.refusal = ""
        self.calls: list[Any] = []

    @contextlib.contextmanager
    def connect(self, spec: Any) -> Iterator[str]:
        if not self.reachable:
            raise VolumeUnreachable("volume gv0 cannot be reached", volume="gv0")
        yield "volume"

    def stat(self, volume: str, path: str) -> None:
        if not self.exists:
            raise FileNotFoundError(path)

    @contextlib.contextmanager
    def holding(self, request: ExtStorageRequest, volume: str) -> Iterator[None]:
        if self.refusal:
            raise GanetiGlusterError(self.refusal)
        self.calls.append("lock")
        yield
        self.calls.append("unlock")

    def open_image(self, request: ExtStorageRequest) -> None:
        self.calls.append(("open", request.exclusive))
        if self.refusal:
            raise GanetiGlusterError(self.refusal)
        self.served = True


class InUse:
    """Stands for `ImageInUse`."""

    uri = URI

    def __init__(self, node: Node, path: str) -> None:
        self._node, self._path = node, path
        self.server = SimpleNamespace(key=path)

    def _do(self, what: str, *details: Any) -> None:
        self._node.calls.append((what, self._path.removeprefix(IMAGE), *details))

    def status(self) -> object | None:
        return object() if self._node.served else None

    def size(self) -> int | None:
        return self._node.size if self._node.served else None

    def has_user(self) -> bool:
        return self._node.used

    def show_device(self) -> str:
        self._do("show")
        return "/dev/nbd0"

    def flush(self) -> None:
        self._do("flush")

    def grow(self, size: int) -> bool:
        self._do("grow", size)
        return True

    def end(self) -> None:
        self._do("end")


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    found = Node()

    def log(what: str) -> Any:
        return lambda volume, *args, **options: found.calls.append((what, *args))

    def copy_running(request: ExtStorageRequest, target: str) -> bool:
        if found.running:
            found.calls.append(("copy running", target))
        return found.running

    image = SimpleNamespace(
        stat=found.stat,
        create=log("create"),
        remove=log("remove"),
        grow=log("grow closed"),
    )
    ganeti = SimpleNamespace(
        open_image=found.open_image,
        starts_in_userspace=lambda: found.startable,
        tell_size=lambda uuid, size: found.calls.append(("tell", uuid, size)),
        copy_running=copy_running,
        copy_in_time=lambda volume, request, target: found.calls.append(
            ("copy", request.path, target)
        ),
        remove_snapshot=log("remove"),
        holding=found.holding,
    )
    monkeypatch.setattr(actions, "connect", found.connect)
    monkeypatch.setattr(actions, "image", image)
    monkeypatch.setattr(actions, "node", ganeti)
    monkeypatch.setattr(actions, "ImageInUse", lambda spec, path, patience: InUse(found, path))
    return found


@pytest.fixture(autouse=True)
def links(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """Where the paths of devices lead, by image."""
    found: dict[str, str | None] = {}

    def show(key: str, device: str | None) -> str:
        found[key] = device
        return "/devices/" + key

    fake = SimpleNamespace(show=show, forget=lambda key: found.pop(key, None))
    monkeypatch.setattr(actions, "device", fake)
    return found


def run(action: str, **changed: str) -> int:
    return actions.main(action, {**ENVIRON, **changed})


# -- attach ----------------------------------------------------------------------


@pytest.mark.parametrize("served", [True, False])
def test_in_userspace_qemu_is_told_the_socket(
    node: Node, capsys: pytest.CaptureFixture[str], served: bool
) -> None:
    node.served = served
    assert run("attach", EXTP_ACCESS="userspace") == 0
    assert capsys.readouterr().out == "\nkvm:%s\n" % URI
    assert node.calls == []


def test_an_open_image_has_a_device(
    node: Node, capsys: pytest.CaptureFixture[str], links: dict[str, str | None]
) -> None:
    node.served = True
    assert run("attach") == 0
    assert capsys.readouterr().out == "/devices/%s\n" % IMAGE
    assert links == {IMAGE: "/dev/nbd0"}
    assert node.calls == [("show", "")]


def test_an_image_that_is_not_open_has_the_path_already(
    node: Node, capsys: pytest.CaptureFixture[str], links: dict[str, str | None]
) -> None:
    assert run("attach") == 0
    assert capsys.readouterr().out == "/devices/%s\n" % IMAGE
    assert links == {IMAGE: None}
    assert node.calls == []


def test_a_snapshot_is_opened_for_its_device(
    node: Node, capsys: pytest.CaptureFixture[str], links: dict[str, str | None]
) -> None:
    assert run("attach", VOL_NAME=NAME + ".snap") == 0
    assert capsys.readouterr().out == "/devices/%s.snap\n" % IMAGE
    assert links == {IMAGE + ".snap": "/dev/nbd0"}
    assert node.calls == [("open", True), ("show", ".snap")]


def test_ganeti_gets_a_uri_of_a_snapshot_of_a_disk_in_userspace_as_well(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("attach", VOL_NAME=NAME + ".snap", EXTP_ACCESS="userspace") == 0
    assert capsys.readouterr().out == "/devices/%s.snap\nkvm:%s\n" % (IMAGE, URI)
    assert node.calls == [("open", True), ("show", ".snap")]


def test_nothing_is_said_of_an_image_that_is_not_there(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    node.exists = False
    assert run("attach", EXTP_ACCESS="userspace") == 0
    assert capsys.readouterr() == ("", "")


def test_a_volume_that_is_away_makes_no_image_forgotten(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    node.reachable = False
    assert run("attach") == 0
    told = capsys.readouterr()
    assert told.out == "\nkvm:\n"
    assert told.err == "gluster attach %s: volume gv0 cannot be reached\n" % NAME


# -- open, close, detach, remove ----------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "exclusive", "shown"),
    [
        ({}, True, [("show", "")]),
        ({"EXTP_ACCESS": "userspace"}, True, []),
        ({"EXTP_ACCESS": "userspace", "VOL_OPEN_EXCLUSIVE": "False"}, False, []),
    ],
)
def test_an_image_is_opened_and_has_its_device(
    node: Node,
    changed: dict[str, str],
    exclusive: bool,
    shown: list[Any],
    links: dict[str, str | None],
) -> None:
    assert run("open", **changed) == 0
    assert node.calls == [("open", exclusive), *shown]
    assert links == ({IMAGE: "/dev/nbd0"} if shown else {})


def test_an_image_of_another_node_has_no_device(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    node.refusal = "Image x is open on node node2"
    assert run("open") == actions.FAILED
    assert capsys.readouterr().err == "gluster open %s: Image x is open on node node2\n" % NAME
    assert node.calls == [("open", True)]


@pytest.mark.parametrize("action", ["create", "open"])
def test_a_ganeti_that_does_not_know_the_uri_gets_no_disk(
    node: Node, capsys: pytest.CaptureFixture[str], action: str
) -> None:
    node.startable = False
    assert run(action, EXTP_ACCESS="userspace") == actions.INVALID
    assert capsys.readouterr().err == (
        "gluster %s %s: access=userspace: Ganeti on this node does not support the URI of an"
        " image server; set access=kernelspace for the disk, or enable the plugin of this"
        " package, which adds that support (gnt-gluster plugin status)\n" % (action, NAME)
    )
    assert node.calls == []
    assert run(action) == 0


@pytest.mark.parametrize("action", ["close", "detach"])
def test_the_end_of_an_images_use_needs_no_volume(
    node: Node, action: str, links: dict[str, str | None]
) -> None:
    node.reachable = False
    links[IMAGE] = "/dev/nbd0"
    assert run(action) == 0
    assert node.calls == [("end", "")]
    assert links == {}


def test_an_image_is_removed_once_its_use_has_ended(node: Node) -> None:
    assert run("remove") == 0
    assert node.calls == [("end", ""), "lock", ("remove", IMAGE), "unlock"]


def test_an_image_that_another_has_is_not_removed(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    node.refusal = "it is open on node2"
    assert run("remove") == actions.FAILED
    assert "it is open on node2" in capsys.readouterr().err
    assert node.calls == [("end", "")]


# -- grow, snapshot -------------------------------------------------------------------


def test_an_open_image_grows_by_its_server_and_qemu_is_told(node: Node) -> None:
    node.served = True
    assert run("grow") == 0
    assert node.calls == [("grow", "", 2 * MIB), ("tell", "u1", 2 * MIB)]


@pytest.mark.parametrize(
    ("used", "grown"), [(True, []), (False, [("grow closed", IMAGE, 2 * MIB)])]
)
def test_blocks_are_set_aside_unless_a_guest_runs(
    node: Node, used: bool, grown: list[Any]
) -> None:
    node.served, node.used = True, used
    assert run("grow", EXTP_PREALLOCATION="falloc") == 0
    assert node.calls == [*grown, ("grow", "", 2 * MIB), ("tell", "u1", 2 * MIB)]


def test_an_open_image_is_not_made_smaller(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    node.served, node.size = True, 3 * MIB
    assert run("grow") != 0
    assert "has 3145728 bytes and cannot be made smaller (2097152)" in capsys.readouterr().err
    assert node.calls == []


def test_a_closed_image_grows_on_its_volume(node: Node) -> None:
    assert run("grow") == 0
    assert node.calls == [("grow closed", IMAGE, 2 * MIB)]


@pytest.mark.parametrize("served", [True, False])
def test_a_snapshot_replaces_one_of_an_earlier_backup(node: Node, served: bool) -> None:
    node.served = served
    target = IMAGE + ".snap"
    assert run("snapshot") == 0
    assert node.calls == [("end", ".snap"), ("remove", target), ("copy", IMAGE, target)]


def test_a_running_instances_image_is_copied_by_its_qemu(node: Node) -> None:
    node.running = node.served = True
    target = IMAGE + ".snap"
    assert run("snapshot") == 0
    assert node.calls == [("end", ".snap"), ("remove", target), ("copy running", target)]


def test_there_is_no_snapshot_of_an_image_that_is_not_there(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    node.exists = False
    assert run("snapshot") == actions.FAILED
    assert "image %s of volume gv0 does not exist" % IMAGE in capsys.readouterr().err
