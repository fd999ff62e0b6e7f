"""Who is let to the servers of images before a QEMU starts, or is given a further disk."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.core.serve import owner
from ganeti_gluster.core.serve.server import qemu_uri
from ganeti_gluster.errors import PatchRefused
from ganeti_gluster.patches import hv_kvm_user

FOLDER = "/run/ganeti-gluster-nbd"
FIRST, SECOND = FOLDER + "/gv0-01.nbd", FOLDER + "/gv_0-02.nbd"
BLOCKDEV = "driver=raw,node-name=disk-%d,file.driver=nbd,file.server.type=unix,%s"
DISKS = [
    "-blockdev",
    BLOCKDEV % (1, "file.server.path=%s,file.reconnect-delay=960" % FIRST),
    "-blockdev",
    BLOCKDEV % (2, "file.reconnect-delay=960,file.server.path=%s" % SECOND),
]
# Ganeti 3.0 hands the URI over.
DRIVE = ["-drive", "file=%s,format=raw,if=none" % qemu_uri(FIRST, 900)]


class HypervisorError(Exception):
    """Ganeti's."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is told to servers, and done by Ganeti, in order; users are bob, 1007, and root."""
    found: list[Any] = []
    ganeti = ModuleType("ganeti")
    ganeti.errors = SimpleNamespace(HypervisorError=HypervisorError)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ganeti", ganeti)
    monkeypatch.setattr(owner, "give", lambda paths, uid: found.append((list(paths), uid)))
    users = {"bob": SimpleNamespace(pw_uid=1007)}
    monkeypatch.setattr(hv_kvm_user.pwd, "getpwnam", users.__getitem__)
    monkeypatch.setattr(hv_kvm_user.processes, "user_of", {4711: 1007}.get)
    return found


def hypervisor(calls: list[Any], pid: int = 4711) -> Any:
    class KVMHypervisor:
        def _RunKVMCmd(self, name: str, kvm_cmd: list[str], tap_fds: Any = None) -> None:
            calls.append("start")

        def HotAddDevice(self, *args: Any) -> str:
            calls.append("add")
            return "added"

        def _InstancePidAlive(self, name: str) -> tuple[str, int, bool]:
            return "/file", pid, True

    hv_kvm_user.extend_hypervisor(KVMHypervisor)
    return KVMHypervisor()


@pytest.mark.parametrize(
    ("disks", "paths"), [(DISKS, [FIRST, SECOND]), (DRIVE, [FIRST])], ids=["3.1", "3.0"]
)
@pytest.mark.parametrize(
    ("user", "uid"),
    [
        ([], 0),
        (["-runas", "bob"], 1007),
        (["-run-with", "user=bob"], 1007),
        (["-run-with", "async-teardown=on", "-run-with", "user=bob"], 1007),
    ],
)
def test_servers_know_the_user_before_qemu_starts(
    calls: list[Any], disks: list[str], paths: list[str], user: list[str], uid: int
) -> None:
    hypervisor(calls)._RunKVMCmd("web1", ["kvm", *disks, *user], [])
    assert calls == [(paths, uid), "start"]


def test_what_is_no_disk_of_ours_is_ganetis_own_business(calls: list[Any]) -> None:
    argv = ["kvm", "-blockdev", "file.filename=/dev/vg/x", "-append", "socket=%s" % FIRST]
    hypervisor(calls)._RunKVMCmd("web1", [*argv, "-chroot", "/x", "-runas", "bob"])
    assert calls == ["start"]


@pytest.mark.parametrize("chroot", [["-chroot", "/x"], ["-run-with", "chroot=/x,user=bob"]])
def test_a_chroot_is_refused(calls: list[Any], chroot: list[str]) -> None:
    with pytest.raises(HypervisorError, match="Instance web1 cannot start with use_chroot"):
        hypervisor(calls)._RunKVMCmd("web1", ["kvm", *DISKS, *chroot], [])
    assert calls == []


def test_qemu_does_not_start_where_it_would_not_reach_its_disks(
    calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(paths: Sequence[str], uid: int) -> None:
        raise owner.OwnerNotSet("the storage is unavailable")

    monkeypatch.setattr(owner, "give", refuse)
    with pytest.raises(
        HypervisorError, match="could not access the disks: the storage is unavailable"
    ):
        hypervisor(calls)._RunKVMCmd("web1", ["kvm", *DISKS], [])
    assert calls == []


@pytest.mark.parametrize(("pid", "uid"), [(4711, 1007), (1, 0)])
def test_a_disk_is_added_by_the_user_of_the_running_qemu(
    calls: list[Any], pid: int, uid: int
) -> None:
    kvm, instance = hypervisor(calls, pid), SimpleNamespace(name="web1")
    extra = ("/link", qemu_uri(FIRST, 900))
    assert kvm.HotAddDevice(instance, "disk", None, extra, 1) == "added"
    assert calls == [([FIRST], uid), "add"]


@pytest.mark.parametrize(
    ("kind", "extra"), [("nic", None), ("disk", ("/link", None)), ("disk", ("/link", "rbd:a/b"))]
)
def test_another_device_is_added_as_ever(calls: list[Any], kind: str, extra: Any) -> None:
    hypervisor(calls).HotAddDevice(SimpleNamespace(name="web1"), kind, None, extra, 1)
    assert calls == ["add"]


@pytest.mark.parametrize("missing", ["_RunKVMCmd", "HotAddDevice"])
def test_a_class_that_is_not_as_expected_is_refused(missing: str) -> None:
    members = {"_RunKVMCmd": lambda self, name, kvm_cmd, tap_fds: None, "HotAddDevice": print}
    del members[missing]
    with pytest.raises(PatchRefused, match="does not start QEMU as"):
        hv_kvm_user.extend_hypervisor(type("KVMHypervisor", (), members))
