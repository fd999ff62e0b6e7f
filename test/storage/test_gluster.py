"""What becomes of Ganeti's questions to a disk: who is asked, and what Ganeti hears."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import ganeti_gluster.core.in_use
from ganeti_gluster.errors import GanetiGlusterError

MIB = 1 << 20
IMAGE = "ganeti/x.0"
PARAMS = {"host": "node1", "port": 24007, "volume": "gv0", "access": "userspace"}


class Node:
    """A node with one image: how it is, and what was done."""

    def __init__(self) -> None:
        self.size: int | None = None
        self.device: str | None = None
        self.used = self.served = False
        self.calls: list[Any] = []
        self.failing: dict[str, Exception] = {}

    def do(self, what: str, *details: Any) -> None:
        self.calls.append((what, *details) if details else what)
        if what in self.failing:
            raise self.failing[what]


class InUse:
    """Stands for `ImageInUse`."""

    uri = "nbd+unix:///?socket=/run/x.nbd,file.reconnect-delay=960"

    def __init__(self, node: Node) -> None:
        self._node = node
        self.export = SimpleNamespace(
            device=lambda: node.device, stop=lambda: node.do("hide"), grow=lambda size: True
        )

    def status(self) -> object | None:
        return object() if self._node.served else None

    def size(self) -> int | None:
        return self._node.size

    def has_user(self) -> bool:
        return self._node.used

    def show_device(self) -> str:
        self._node.do("show")
        return "/dev/nbd0"

    def end(self) -> None:
        self._node.do("end")

    def grow(self, size: int) -> bool:
        self._node.do("grow", size)
        return True

    @contextlib.contextmanager
    def with_device(self, number: int, *, locking: bool) -> Iterator[str]:
        self._node.do("device", number, locking)
        yield "/dev/nbd0"
        self._node.do("no device")


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def gluster(ganeti: SimpleNamespace, node: Node, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`storage.gluster`, with its neighbours on this node replaced."""
    module: ModuleType = ganeti.load("gluster")
    one_writer = ganeti.load("one_writer")
    running_disk = ganeti.load("running_disk")

    def open_image(params: Any, path: str, *, exclusive: bool) -> None:
        node.do("open", path, exclusive)

    @contextlib.contextmanager
    def holding(params: Any, volume: str, path: str) -> Iterator[None]:
        node.do("lock", path)
        yield
        node.do("unlock")

    @contextlib.contextmanager
    def connect(spec: Any) -> Iterator[str]:
        node.do("connect")
        yield "volume"

    image = SimpleNamespace(
        grow=lambda volume, path, size, **options: node.do("grow closed", size, options),
        remove=lambda volume, path: node.do("remove", path),
        rename=lambda volume, path, new: node.do("rename", path, new),
        stat=lambda volume, path: SimpleNamespace(size=7 * MIB),
    )
    monkeypatch.setattr(one_writer, "open_image", open_image)
    monkeypatch.setattr(one_writer, "holding", holding)
    monkeypatch.setattr(one_writer, "own_number", lambda: 1177)
    monkeypatch.setattr(running_disk, "tell_size", lambda uuid, size: node.do("tell", uuid, size))
    monkeypatch.setattr(module, "_connect", connect)
    monkeypatch.setattr(module, "image", image)
    monkeypatch.setattr(
        ganeti_gluster.core.in_use, "ImageInUse", lambda spec, path, patience: InUse(node)
    )
    return module


def disk(gluster: ModuleType, **params: str) -> Any:
    return gluster.GlusterStorage(("gluster", IMAGE), None, 4, {**PARAMS, **params}, {}, uuid="u1")


@pytest.fixture
def failed(ganeti: SimpleNamespace) -> type[Exception]:
    found: type[Exception] = ganeti.errors.BlockDeviceError
    return found


# -- open and close -----------------------------------------------------------------


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize(("access", "shown"), [("userspace", []), ("kernelspace", ["show"])])
def test_an_open_disk_has_a_path_in_kernelspace(
    gluster: ModuleType, node: Node, exclusive: bool, access: str, shown: list[str]
) -> None:
    disk(gluster, access=access).Open(exclusive=exclusive)
    assert node.calls == [("open", IMAGE, exclusive), *shown]


def test_a_disk_that_another_node_has_gets_no_path(
    gluster: ModuleType, node: Node, failed: type[Exception]
) -> None:
    node.failing = {"open": failed("Image x is open on node node2")}
    with pytest.raises(failed, match="node2"):
        disk(gluster, access="kernelspace").Open()
    assert node.calls == [("open", IMAGE, True)]


def test_an_image_that_was_only_made_is_opened_when_it_is_used(
    gluster: ModuleType, node: Node
) -> None:
    made = disk(gluster)
    made._new = True
    made.Open(force=True)
    assert node.calls == []
    made.Open()
    assert node.calls == [("open", IMAGE, True)]


@pytest.mark.parametrize("served", [True, False])
def test_what_scripts_work_on_stays_as_it_is(
    gluster: ModuleType, node: Node, served: bool
) -> None:
    node.served = served
    with gluster.keeping_paths():
        disk(gluster, access="kernelspace").Open()
    assert node.calls == [*([] if served else [("open", IMAGE, True)]), "show"]


@pytest.mark.parametrize("method", ["Close", "Shutdown"])
def test_the_end_of_a_disks_use_needs_no_volume(
    gluster: ModuleType, node: Node, method: str
) -> None:
    getattr(disk(gluster), method)()
    assert node.calls == ["end"]


def test_a_disk_that_is_still_in_use_is_ganetis_error(
    gluster: ModuleType, node: Node, failed: type[Exception]
) -> None:
    node.failing = {"end": GanetiGlusterError("it is still in use", hint="by process 12")}
    with pytest.raises(failed) as caught:
        disk(gluster).Shutdown()
    assert str(caught.value) == (
        "Cannot shut image ganeti/x.0 down: it is still in use; by process 12"
    )


def test_what_is_in_use_is_ended_before_it_is_removed(gluster: ModuleType, node: Node) -> None:
    disk(gluster).Remove()
    assert node.calls == ["end", "connect", ("lock", IMAGE), ("remove", IMAGE), "unlock"]


def test_an_image_is_renamed_by_whoever_has_it(gluster: ModuleType, node: Node) -> None:
    disk(gluster).Rename(("gluster", "ganeti/y.0"))
    renamed = ("rename", IMAGE, "ganeti/y.0")
    assert node.calls == ["end", "connect", ("lock", IMAGE), renamed, "unlock"]


@pytest.mark.parametrize("method", ["Remove", "Rename"])
def test_an_image_that_another_has_stays(
    gluster: ModuleType, node: Node, failed: type[Exception], method: str
) -> None:
    node.failing = {"lock": failed("Image x is open on node node2")}
    with pytest.raises(failed, match="node2"):
        getattr(disk(gluster), method)(*([("gluster", "y")] if method == "Rename" else []))
    assert node.calls == ["end", "connect", ("lock", IMAGE)]


# -- size ------------------------------------------------------------------------------


def test_the_size_of_an_open_image_is_its_servers_to_tell(gluster: ModuleType, node: Node) -> None:
    node.size = 5 * MIB
    assert disk(gluster).GetActualSize() == 5 * MIB
    assert node.calls == []
    node.size = None
    assert disk(gluster).GetActualSize() == 7 * MIB
    assert node.calls == ["connect"]


def test_an_open_image_grows_by_its_server_and_qemu_is_told(
    gluster: ModuleType, node: Node
) -> None:
    node.size = 4 * MIB
    disk(gluster).Grow(2, False, True, False)
    assert node.calls == [("grow", 6 * MIB), ("tell", "u1", 6 * MIB)]


@pytest.mark.parametrize(
    ("size", "dry_run", "backing"),
    [(4 * MIB, True, True), (8 * MIB, False, True), (4 * MIB, False, False)],
)
def test_what_is_not_to_grow_stays(
    gluster: ModuleType, node: Node, size: int, dry_run: bool, backing: bool
) -> None:
    node.size = size
    disk(gluster).Grow(2, dry_run, backing, False)
    assert node.calls == []


def test_a_device_that_does_not_show_what_the_image_has_grown_to_is_told_again(
    gluster: ModuleType, node: Node
) -> None:
    node.size = 6 * MIB
    disk(gluster).Grow(2, False, True, False)
    assert node.calls == [("grow", 6 * MIB), ("tell", "u1", 6 * MIB)]


def test_a_closed_image_grows_on_its_volume(gluster: ModuleType, node: Node) -> None:
    disk(gluster, preallocation="full").Grow(2, True, True, False)
    assert node.calls == [
        "connect",
        ("grow closed", 6 * MIB, {"preallocation": "full", "dry_run": True}),
    ]


@pytest.mark.parametrize("dry_run", [True, False])
def test_blocks_are_set_aside_for_a_stopped_instance_whose_disk_ganeti_has_opened(
    gluster: ModuleType, node: Node, dry_run: bool
) -> None:
    node.size = 4 * MIB
    disk(gluster, preallocation="full").Grow(2, dry_run, True, False)
    assert node.calls[:2] == [
        "connect",
        ("grow closed", 6 * MIB, {"preallocation": "full", "dry_run": dry_run}),
    ]
    shown = [("grow", 6 * MIB), ("tell", "u1", 6 * MIB)]
    assert node.calls[2:] == ([] if dry_run else shown)


def test_a_running_guests_disk_grows_sparse(gluster: ModuleType, node: Node) -> None:
    node.size, node.used = 4 * MIB, True
    disk(gluster, preallocation="full").Grow(2, False, True, False)
    assert node.calls == [("grow", 6 * MIB), ("tell", "u1", 6 * MIB)]


def test_a_guest_that_does_not_see_the_size_is_an_error(
    gluster: ModuleType, node: Node, ganeti: SimpleNamespace, failed: type[Exception]
) -> None:
    node.size = 4 * MIB
    node.failing = {"tell": ganeti.errors.HypervisorError("QEMU has hung")}
    with pytest.raises(failed) as caught:
        disk(gluster).Grow(2, False, True, False)
    assert str(caught.value) == (
        "Cannot grow image ganeti/x.0: it has 6291456 bytes now, but QEMU does not show the"
        " new size to the guest: QEMU has hung; stop and start the instance"
    )


# -- paths -----------------------------------------------------------------------------


def test_a_disk_has_the_path_that_its_image_has(gluster: ModuleType, node: Node) -> None:
    assert disk(gluster).dev_path is None
    node.device = "/dev/nbd5"
    assert disk(gluster).dev_path == "/dev/nbd5"
    with gluster.kernel_paths():
        assert disk(gluster).dev_path == "/dev/nbd5"
    assert node.calls == []


@pytest.mark.parametrize(("locking", "locked"), [("on", True), ("off", False)])
def test_a_script_has_a_path_while_it_runs(
    gluster: ModuleType, node: Node, locking: str, locked: bool
) -> None:
    with gluster.kernel_paths():
        assert disk(gluster, locking=locking).dev_path == "/dev/nbd0"
        assert node.calls == [("device", 1177, locked)]
    assert node.calls[1:] == ["no device"]
    assert disk(gluster).dev_path is None


def at_once(*requests: Callable[[], Any]) -> list[Any]:
    """What requests come to that threads serve side by side, as those of Ganeti 3.2."""
    with ThreadPoolExecutor(len(requests)) as pool:
        futures = [pool.submit(request) for request in requests]
    return [future.exception() or future.result() for future in futures]


def test_a_path_is_for_the_request_alone_that_wants_one(gluster: ModuleType) -> None:
    both = Barrier(2, timeout=60)

    def scripts() -> Any:
        with gluster.kernel_paths(), gluster.keeping_paths():
            both.wait()
            found = disk(gluster).dev_path
            both.wait()
            return found

    def other() -> Any:
        both.wait()
        request = gluster._request
        found = disk(gluster).dev_path, request.paths, request.keeping
        both.wait()
        return found

    assert at_once(scripts, other) == ["/dev/nbd0", (None, None, False)]


def test_a_request_that_fails_removes_what_it_has_made_itself(
    gluster: ModuleType, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gluster.image, "create", lambda *args, **options: None, raising=False)
    both = Barrier(2, timeout=60)
    error = KeyError("of what follows")

    def create(name: str, error: Exception | None) -> Callable[[], str]:
        def request() -> str:
            with gluster.removing_what_is_created():
                both.wait()
                where = ("gluster", "ganeti/" + name)
                gluster.GlusterStorage.Create(where, None, 4, None, PARAMS, False, {})
                both.wait()
                if error is not None:
                    raise error
            return name

        return request

    assert at_once(create("x.0", error), create("y.0", None)) == [error, "y.0"]
    removed = [call for call in node.calls if call[0] == "remove"]
    assert removed == [("remove", "ganeti/x.0")]


def test_a_parameter_that_no_disk_could_have_is_ganetis_error(
    gluster: ModuleType, failed: type[Exception]
) -> None:
    device = disk(gluster)
    device.params["patience"] = "ever"
    with pytest.raises(failed) as caught:
        _ = device.dev_path
    assert str(caught.value) == (
        "Cannot use the parameters of the gluster template: patience in seconds 'ever': it is"
        " not a whole number"
    )


def test_qemu_alone_reaches_an_images_server(
    gluster: ModuleType, node: Node, failed: type[Exception]
) -> None:
    assert disk(gluster).GetUserspaceAccessUri("kvm") == InUse.uri
    with pytest.raises(failed, match="set the disk parameter gluster:access=kernelspace"):
        disk(gluster).GetUserspaceAccessUri("xen-pvm")
