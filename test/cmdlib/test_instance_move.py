"""What a hook is told of a move, and why an instance may not move to this node."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster import __version__
from ganeti_gluster.cmdlib import evict, instance_move
from ganeti_gluster.core.health import ImageHealth
from ganeti_gluster.core.serve.files import EXCLUSIVE
from ganeti_gluster.core.serve.holder import LockHolder, node_number
from ganeti_gluster.errors import VolumeUnreachable

ENV = {
    "GANETI_INSTANCE_NAME": "vm1",
    "GANETI_OLD_PRIMARY": "node1",
    "GANETI_NEW_PRIMARY": "node2",
    "GANETI_INSTANCE_HYPERVISOR": "kvm",
    "GANETI_INSTANCE_DISK0_DEV_TYPE": "gluster",
    "GANETI_INSTANCE_DISK0_ID": "ganeti/a.0",
    "GANETI_INSTANCE_DISK1_DEV_TYPE": "plain",
    "GANETI_INSTANCE_DISK1_ID": "lv",
    "GANETI_INSTANCE_DISK11_DEV_TYPE": "gluster",
    "GANETI_INSTANCE_DISK11_ID": "ganeti/a.11",
    "GANETI_INSTANCE_GLUSTER_HOST": "node1,node2",
    "GANETI_INSTANCE_GLUSTER_PORT": "24007",
    "GANETI_INSTANCE_GLUSTER_VOLUME": "gv0",
    "GANETI_INSTANCE_GLUSTER_VERSION": __version__,
}


def test_the_environment_names_the_gluster_disks_and_their_volume() -> None:
    found = instance_move.InstanceMove.from_env(ENV)
    assert (found.instance, found.old, found.new) == ("vm1", "node1", "node2")
    assert found.paths == {0: "ganeti/a.0", 11: "ganeti/a.11"}
    assert found.params["host"] == "node1,node2"
    assert found.params["volume"] == "gv0"
    assert found.version == __version__


def test_a_disk_that_was_moved_is_looked_for_on_its_own_volume() -> None:
    env = {**ENV, "GANETI_INSTANCE_GLUSTER_DISK11_VOLUME": "gv1"}
    found = instance_move.InstanceMove.from_env(env).images()
    assert {spec.name: paths for spec, paths in found.items()} == {
        "gv0": {0: "ganeti/a.0"},
        "gv1": {11: "ganeti/a.11"},
    }


NODES = ["node1", "node2", "node3", "node4"]
UNIT = "ganeti-gluster-export-gv0-01.service"


class Node:
    """The new node as it is: what it finds of the images, which are all alike."""

    def __init__(self) -> None:
        self.lacking = ""
        self.unreachable: Exception | None = None
        self.unreadable: OSError | None = None
        self.health = ImageHealth(False, False, None, "")
        self.holder: LockHolder | None = None
        self.device: str | None = None
        self.served = False

    @contextlib.contextmanager
    def connect(self, spec: Any) -> Iterator[Any]:
        if self.unreachable:
            raise self.unreachable

        @contextlib.contextmanager
        def open_(path: str) -> Iterator[Any]:
            if self.unreadable:
                raise self.unreadable
            yield SimpleNamespace(pread=lambda size, offset: b"")

        yield SimpleNamespace(open=open_)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    found = Node()
    monkeypatch.setattr(instance_move, "server_problem", lambda: found.lacking)
    monkeypatch.setattr(instance_move, "connect", found.connect)
    monkeypatch.setattr(instance_move.image, "stat", lambda volume, path: None)
    monkeypatch.setattr(instance_move.health, "check", lambda volume, path: found.health)
    monkeypatch.setattr(instance_move, "holder_of", lambda volume, path: found.holder)
    export = SimpleNamespace(device=lambda: found.device, unit=UNIT)
    monkeypatch.setattr(instance_move, "Export", lambda spec, path: export)
    server = SimpleNamespace(status=lambda: object() if found.served else None)
    monkeypatch.setattr(instance_move, "ImageServer", lambda spec, path: server)
    return found


def check(**changed: str) -> instance_move.Verdict:
    one = {name: value for name, value in ENV.items() if "DISK11" not in name}
    return instance_move.check(
        instance_move.InstanceMove.from_env({**one, **changed}), nodes=NODES, offline=["node4"]
    )


def test_where_all_is_well_nothing_is_said(node: Node) -> None:
    assert check() == instance_move.Verdict()


@pytest.mark.parametrize(("version", "there"), [("0.0", "0.0"), ("", "not in use")])
def test_both_ends_have_the_same_release(node: Node, version: str, there: str) -> None:
    assert check(GANETI_INSTANCE_GLUSTER_VERSION=version).refusals == [
        "ganeti-gluster has version %s here and %s on the master; install the same version on both"
        % (__version__, there)
    ]


@pytest.mark.parametrize(
    "changed", [{"GANETI_OLD_PRIMARY": "node4"}, {"GANETI_IGNORE_CONSISTENCY": "True"}]
)
def test_from_a_dead_node_an_instance_moves_to_another_release(
    node: Node, changed: dict[str, str]
) -> None:
    found = check(GANETI_INSTANCE_GLUSTER_VERSION="0.0", **changed)
    assert found.refusals == []
    assert found.warnings == [
        "ganeti-gluster has version %s here and 0.0 on the master; install the same"
        " version on both" % __version__
    ]


def test_a_node_on_which_no_server_of_images_runs_is_refused(node: Node) -> None:
    node.lacking = "image-server --version: exit status 127"
    assert check().refusals == [
        "the image server cannot run here (image-server --version: exit status 127)"
    ]


def test_a_volume_that_cannot_be_reached_is_refused(node: Node) -> None:
    node.unreachable = VolumeUnreachable("volume gv0 cannot be reached", volume="gv0")
    assert check().refusals == ["volume gv0 cannot be reached"]


def test_the_reason_is_in_words(node: Node) -> None:
    node.unreachable = FileNotFoundError(errno.ENOENT, "No such file or directory", "/dev/shm/x")
    assert check().refusals == ["/dev/shm/x: No such file or directory"]


def test_each_disk_is_looked_at(node: Node) -> None:
    node.unreadable = OSError(errno.ENOTCONN, "Transport endpoint is not connected")
    found = instance_move.check(instance_move.InstanceMove.from_env(ENV), nodes=NODES, offline=[])
    assert found.refusals == [
        "disk/%d: image ganeti/a.%d cannot be read: Transport endpoint is not connected"
        % (index, index)
        for index in (0, 11)
    ]


def test_a_split_brain_is_refused_and_a_missing_copy_is_not(node: Node) -> None:
    node.health = ImageHealth(True, False, None, "one copy is missing")
    assert check() == instance_move.Verdict([], ["disk/0: one copy is missing"])
    node.health = ImageHealth(None, True, None, "split-brain")
    assert check() == instance_move.Verdict(["disk/0: split-brain; heal it first"], [])


@pytest.mark.parametrize(
    ("holder", "refused"), [("node1", False), ("node2", False), ("node3", True), ("node4", False)]
)
def test_an_image_is_open_on_neither_end_or_it_is_refused(
    node: Node, holder: str, refused: bool
) -> None:
    node.holder = LockHolder(node_number(holder), EXCLUSIVE)
    expected = ["disk/0: image ganeti/a.0 is open on node %s" % holder] if refused else []
    assert check().refusals == expected


@pytest.mark.parametrize(
    ("device", "served", "refused"),
    [(None, False, False), ("/dev/nbd0", True, False), ("/dev/nbd0", False, True)],
)
def test_a_device_of_an_image_that_is_not_open_is_refused(
    node: Node, device: str | None, served: bool, refused: bool
) -> None:
    node.device, node.served = device, served
    message = (
        "disk/0: this node still exports image ganeti/a.0 (%s), but does not have it open;"
        " stop that unit" % UNIT
    )
    assert check().refusals == ([message] if refused else [])


@pytest.mark.parametrize(
    ("own", "lacking", "status", "told"),
    [
        ("node2", "", 0, ""),
        (
            "node2",
            "no libgfapi",
            1,
            "vm1 cannot move to node2: the image server cannot run here (no libgfapi)\n",
        ),
        ("node1", "no libgfapi", 0, ""),  # the other end has nothing to say
    ],
)
def test_the_hook_says_why(
    node: Node,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    own: str,
    lacking: str,
    status: int,
    told: str,
) -> None:
    names = ModuleType("node_names")
    vars(names).update(
        own=lambda: own,
        every=lambda: NODES,
        offline=lambda: [],
        master=lambda: "node3",
    )
    monkeypatch.setitem(sys.modules, "ganeti_gluster.storage.node_names", names)
    node.lacking = lacking
    assert instance_move.main(ENV) == status
    assert capsys.readouterr().out == told


class Master:
    """The master, which may take images from the node that the instance leaves."""

    def __init__(self) -> None:
        self.own = "node3"
        self.offline: list[str] = []
        self.holder = node_number("node1")
        self.failure: Exception | None = None
        self.taken: list[Any] = []

    def take_from(self, node: str, images: list[Any]) -> None:
        self.taken.append((node, [path for _, path in images]))
        if self.failure:
            raise self.failure


@pytest.fixture
def master(node: Node, monkeypatch: pytest.MonkeyPatch) -> Master:
    found = Master()
    names = ModuleType("node_names")
    vars(names).update(
        own=lambda: found.own,
        every=lambda: NODES,
        offline=lambda: found.offline,
        master=lambda: "node3",
    )
    evictions = ModuleType("evictions")
    vars(evictions).update(take_from=found.take_from)
    monkeypatch.setitem(sys.modules, "ganeti_gluster.storage.node_names", names)
    monkeypatch.setitem(sys.modules, "ganeti_gluster.cmdlib.evictions", evictions)
    monkeypatch.setattr(evict, "last_holder", lambda spec, path, nodes: found.holder)
    return found


FAILOVER = {**ENV, "GANETI_HOOKS_PATH": "instance-failover"}
FORCED = {**FAILOVER, "GANETI_IGNORE_CONSISTENCY": "True"}
ALL = [("node1", ["ganeti/a.0", "ganeti/a.11"])]


@pytest.mark.parametrize(
    ("env", "offline", "taken"),
    [
        (FORCED, [], ALL),
        (FAILOVER, ["node1"], ALL),
        (FAILOVER, ["node2"], []),  # the old node stops the instance itself
        ({**FORCED, "GANETI_HOOKS_PATH": "instance-migrate"}, ["node1"], []),
    ],
)
def test_a_failover_takes_the_images_from_a_node_that_is_not_asked(
    master: Master, env: dict[str, str], offline: list[str], taken: list[Any]
) -> None:
    master.offline = offline
    assert instance_move.main(env) == 0
    assert master.taken == taken


def test_only_the_master_takes_images(master: Master) -> None:
    master.own = "node2"
    assert instance_move.main(FORCED) == 0
    assert master.taken == []


def test_images_that_the_old_node_does_not_have_are_left(master: Master) -> None:
    master.holder = node_number("node4")
    assert instance_move.main(FORCED) == 0
    assert master.taken == [("node1", [])]


def test_an_image_that_cannot_be_taken_stays_where_it_is(
    master: Master, capsys: pytest.CaptureFixture[str]
) -> None:
    master.failure = evict.NotEvicted("the bricks still hold the lock", hint="switch it off")
    assert instance_move.main(FORCED) == 1
    assert capsys.readouterr().out == (
        "vm1 cannot move to node2: the bricks still hold the lock; switch it off\n"
    )
