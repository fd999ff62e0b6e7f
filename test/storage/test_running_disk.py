"""How a running QEMU is shown that its disk has grown."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.core.snapshot.live import MonitorFailed
from ganeti_gluster.errors import GanetiGlusterError

READ = ("human-monitor-command", {"command-line": 'qemu-io disk-1 "read 0 512"'})


class Monitor:
    """QEMU's, which refuses to grow the disk as often as is said."""

    def __init__(self, nodes: list[str]) -> None:
        self.nodes = nodes
        self.refusals = 0
        self.calls: list[Any] = []
        self.now = 0.0

    def execute(self, command: str, arguments: dict[str, Any]) -> Any:
        if command == "query-named-block-nodes":
            return [{"node-name": name} for name in self.nodes]
        self.calls.append((command, arguments))
        if command == "block_resize" and self.refusals > 0:
            self.refusals -= 1
            raise MonitorFailed("QEMU: Cannot grow NBD nodes")
        return None

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def monitor() -> Monitor:
    return Monitor(["disk-1", "#block1"])


@pytest.fixture
def running_disk(
    ganeti: SimpleNamespace, monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """vm1 runs here with the disk u1, as `disk-1`, and one that is none of QEMU's devices."""

    class KVMHypervisor:
        _InstanceQmpMonitor = staticmethod(lambda instance: "/run/%s.qmp" % instance)

    ganeti.hv_kvm.KVMHypervisor = KVMHypervisor
    module = ganeti.load("running_disk")

    @contextlib.contextmanager
    def connected(socket: str) -> Iterator[Monitor]:
        assert socket == "/run/vm1.qmp"
        yield monitor

    def running_disks() -> Iterator[Any]:
        yield "vm1", SimpleNamespace(uuid="u0", dev_type="gluster", hvinfo=None), None
        yield "vm1", SimpleNamespace(uuid="u1", dev_type="gluster", hvinfo={"id": "disk-1"}), None
        ext = SimpleNamespace(uuid="u2", dev_type="ext", logical_id=["gluster", "x"], hvinfo=None)
        yield "vm2", ext, None

    monkeypatch.setattr(module, "running_disks", running_disks)
    monkeypatch.setattr(module.qmp, "connected", connected)
    monkeypatch.setattr(module, "time", monitor)
    return module


@pytest.mark.parametrize(
    ("nodes", "key"), [(["disk-1", "#block1"], "node-name"), (["#block1"], "device")]
)
def test_qemu_makes_a_request_before_it_is_told_the_size(
    running_disk: Any, monitor: Monitor, nodes: list[str], key: str
) -> None:
    monitor.nodes = nodes  # of Ganeti 3.1, of Ganeti 3.0
    running_disk.tell_size("u1", 4096)
    assert monitor.calls == [READ, ("block_resize", {key: "disk-1", "size": 4096})]


def test_qemu_is_asked_until_it_has_connected_anew(running_disk: Any, monitor: Monitor) -> None:
    monitor.refusals = 3
    running_disk.tell_size("u1", 4096)
    assert [command for command, _ in monitor.calls] == [READ[0], "block_resize"] * 4


def test_a_qemu_that_does_not_connect_is_an_error(running_disk: Any, monitor: Monitor) -> None:
    monitor.refusals = 1 << 30
    with pytest.raises(MonitorFailed, match="Cannot grow NBD nodes"):
        running_disk.tell_size("u1", 4096)
    assert monitor.now > running_disk.RECONNECT_SECONDS


@pytest.mark.parametrize("uuid", ["u0", "u9"])
def test_a_disk_that_no_qemu_has_needs_no_word(
    running_disk: Any, monitor: Monitor, uuid: str
) -> None:
    running_disk.tell_size(uuid, 4096)
    assert monitor.calls == []


def test_whose_a_disk_is(running_disk: Any) -> None:
    assert running_disk.user("u0") == "vm1"
    assert running_disk.user("u9") is None
    assert running_disk.find_ext("gluster", "x") == ("vm2", "u2")
    assert running_disk.find_ext("other", "x") is None


def test_a_guest_that_is_not_shown_the_size_is_an_error(
    ganeti: SimpleNamespace, running_disk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tell_size(uuid: str, size: int) -> None:
        raise ganeti.errors.HypervisorError("no such instance")

    monkeypatch.setattr(running_disk, "tell_size", tell_size)
    with pytest.raises(GanetiGlusterError) as caught:
        running_disk.show_size("u1", 4096)
    assert str(caught.value) == (
        "it has 4096 bytes now, but QEMU does not show the new size to the guest: no such"
        " instance;"
        " stop and start the instance"
    )
