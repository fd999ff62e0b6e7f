"""A live migration counts as complete when the target goes on with the guest."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.core.snapshot.live import MonitorFailed
from ganeti_gluster.errors import PatchRefused
from ganeti_gluster.patches import instance_migration
from ganeti_gluster.patches.instance_migration_end import NOT_THERE

CONSTANTS = SimpleNamespace(
    DT_GLUSTER="gluster",
    DT_EXT="ext",
    HT_KVM="kvm",
    IDISK_PROVIDER="provider",
    HV_MIGRATION_ACTIVE="active",
    HV_MIGRATION_COMPLETED="completed",
    HV_MIGRATION_CANCELLED="cancelled",
    HV_MIGRATION_FAILED="failed",
)
GLUSTER = SimpleNamespace(dev_type="gluster", params={})


def told(status: str | int | None) -> Any:
    """A node's answer: a state, the bytes sent by an active one, None for no answer."""
    if status is None:
        return SimpleNamespace(fail_msg="timed out", payload=None)
    sent, status = (status, "active") if isinstance(status, int) else (0, status)
    return SimpleNamespace(
        fail_msg=None, payload=SimpleNamespace(status=status, transferred_ram=sent)
    )


class Rpc:
    """Answers for the source `old` and the target `new`, one after the other."""

    def __init__(self, old: list[Any], new: list[Any]) -> None:
        self._answers = {"old": list(old), "new": list(new)}

    def call_instance_get_migration_status(self, node: str, instance: Any) -> Any:
        answers = self._answers[node]
        return told(answers.pop(0) if len(answers) > 1 else answers[0])

    def call_other(self) -> str:
        return "other"


def module() -> Any:
    """`ganeti.cmdlib.instance_migration` with the loop that awaits the end of a migration."""

    class TLMigrateInstance:
        def __init__(self, rpc: Any, disks: list[Any], hypervisor: str = "kvm") -> None:
            self.rpc = rpc
            self.cfg = SimpleNamespace(GetInstanceDisks=lambda uuid: disks)
            self.instance = SimpleNamespace(uuid="i", hypervisor=hypervisor)
            self.source_node_uuid, self.target_node_uuid = "old", "new"
            self.polls = 0

        def _AbortMigration(self) -> None:
            raise AssertionError("not in this test")

        def _ExecCleanup(self) -> None:
            self._AbortMigration()

        def _ExecMigration(self) -> str:
            while True:
                self.polls += 1
                result = self.rpc.call_instance_get_migration_status(
                    self.source_node_uuid, self.instance
                )
                if result.fail_msg or result.payload.status == "failed":
                    return "aborted: %s" % (result.fail_msg or "failed")
                if result.payload.status == "completed":
                    return str(self.rpc.call_other())

    made = SimpleNamespace(constants=CONSTANTS, TLMigrateInstance=TLMigrateInstance)
    instance_migration.extend(made)
    return made


def test_a_migration_is_complete_once_the_target_goes_on() -> None:
    rpc = Rpc(["active", "completed"], ["active", None, "completed"])
    tasklet = module().TLMigrateInstance(rpc, [GLUSTER])
    assert tasklet._ExecMigration() == "other"
    assert tasklet.polls == 4
    assert tasklet.rpc is rpc


def test_a_target_that_does_not_go_on_makes_the_migration_fail() -> None:
    tasklet = module().TLMigrateInstance(Rpc(["completed"], ["active", "cancelled"]), [GLUSTER])
    assert tasklet._ExecMigration() == (
        "aborted: QEMU on the new node does not resume the guest; see its log"
    )


def test_what_fails_on_the_source_fails_as_ever() -> None:
    tasklet = module().TLMigrateInstance(Rpc(["failed"], []), [GLUSTER])
    assert tasklet._ExecMigration().startswith("aborted")


def test_one_question_that_is_not_answered_fails_nothing() -> None:
    tasklet = module().TLMigrateInstance(
        Rpc(["active", None, "active", None, "completed"], ["active", None, "completed"]),
        [GLUSTER],
    )
    assert tasklet._ExecMigration() == "other"


@pytest.mark.parametrize("target", ["active", None, "failed"])
def test_a_source_that_does_not_answer_is_asked_for_a_minute(target: str | None) -> None:
    now = 100.0
    asking = instance_migration.AskingTarget(Rpc([None], [target]), "new", CONSTANTS, lambda: now)
    result = asking.call_instance_get_migration_status("old", None)
    assert (result.fail_msg, result.payload.status) == (None, "active")
    now += instance_migration.SOURCE_SECONDS
    assert not asking.call_instance_get_migration_status("old", None).fail_msg
    now += 1
    assert asking.call_instance_get_migration_status("old", None).fail_msg == "timed out"


def test_a_guest_that_is_on_the_target_is_there_whatever_the_source_says() -> None:
    asking = instance_migration.AskingTarget(
        Rpc([None], ["completed"]), "new", CONSTANTS, lambda: 1.0
    )
    assert asking.call_instance_get_migration_status("old", None).payload.status == "completed"


@pytest.mark.parametrize(
    ("disk", "hypervisor"),
    [
        (SimpleNamespace(dev_type="drbd", params={}), "kvm"),
        (SimpleNamespace(dev_type="ext", params={"provider": "rbd"}), "kvm"),
        (GLUSTER, "xen-pvm"),
    ],
)
def test_other_instances_are_ganetis_own_business(disk: Any, hypervisor: str) -> None:
    tasklet = module().TLMigrateInstance(Rpc(["completed"], ["cancelled"]), [disk], hypervisor)
    assert tasklet._ExecMigration() == "other"


def test_the_disks_of_the_provider_count_as_well() -> None:
    disk = SimpleNamespace(dev_type="ext", params={"provider": "gluster"})
    tasklet = module().TLMigrateInstance(Rpc(["completed"], ["cancelled"]), [disk])
    assert tasklet._ExecMigration().startswith("aborted")


@pytest.mark.parametrize("unknown", [None, "failed"])
def test_a_target_of_which_nothing_is_known_is_asked_for_a_minute(unknown: str | None) -> None:
    """Its guest may have run, and ended; the source's must not go on then."""
    now = 100.0
    asking = instance_migration.AskingTarget(
        Rpc(["completed"], [unknown, unknown, "active", unknown]), "new", CONSTANTS, lambda: now
    )

    def status() -> Any:
        return asking.call_instance_get_migration_status("old", None).payload.status

    assert status() == "active"
    now += 50
    assert [status(), status()] == ["active", "active"]
    now += 50  # since it last answered
    assert status() == "active"
    now += 20
    assert status() == "completed"


@pytest.mark.parametrize(
    ("sent", "target", "gives_up_after"),
    [
        ([7], [None], 61),
        ([7], ["active"], None),  # it is there, and slow
        ([7], [None, "active", None], 20 + 1 + 61),
        (range(1000), [None], None),
        ([*range(50), 50], [None], 50 + 61),
    ],
)
def test_a_migration_that_does_not_move_fails_where_the_target_is_dead(
    sent: Any, target: Any, gives_up_after: int | None
) -> None:
    now = 100.0
    asking = instance_migration.AskingTarget(
        Rpc(list(sent), target), "new", CONSTANTS, lambda: now
    )
    result = asking.call_instance_get_migration_status("old", None)
    while not result.fail_msg and now < 400:
        now += 1
        result = asking.call_instance_get_migration_status("old", None)
    assert (now - 100 if result.fail_msg else None) == gives_up_after
    if result.fail_msg:
        assert "any data of the guest for 61 s and does not answer: timed out" in result.fail_msg


def test_a_guest_that_is_on_the_target_already_is_not_given_up() -> None:
    now = 100.0
    rpc = Rpc([7], [None])
    asking = instance_migration.AskingTarget(rpc, "new", CONSTANTS, lambda: now)
    stock = rpc.call_instance_get_migration_status

    def postcopy(node: str, instance: Any) -> Any:
        result = stock(node, instance)
        if result.payload:
            result.payload.postcopy_status = "postcopy-active"
        return result

    rpc.call_instance_get_migration_status = postcopy  # type: ignore[method-assign]
    for _ in range(300):
        assert not asking.call_instance_get_migration_status("old", None).fail_msg
        now += 1


@pytest.mark.parametrize(
    ("states", "result", "cancels"),
    [
        (["active", "cancelling", "cancelled"], "cancelled", True),
        (["setup", "active", "cancelled"], "cancelled", True),
        (["active", "completed"], "completed", True),
        (["failed"], "failed", False),
        (["completed"], "completed", False),
        (["postcopy-active"], "postcopy-active", False),
        # the target may have all of it already
        (["device", "device", "completed"], "completed", False),
        (["device", "failed"], "failed", False),
        (["active", "device", "completed"], "completed", True),
        ([""], "", False),
    ],
)
def test_what_is_sent_is_taken_back_while_the_guest_is_here(
    states: list[str], result: str, cancels: bool
) -> None:
    told = []

    def execute(command: str) -> Any:
        told.append(command)
        return {"status": states.pop(0)} if command == "query-migrate" else {}

    assert instance_migration.take_back(execute, lambda seconds: None) == result
    assert ("migrate_cancel" in told, states) == (cancels, [])


def test_what_cannot_be_taken_back_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    waited: list[float] = []
    state = instance_migration.take_back(
        lambda command: {"status": "active" if not waited else "cancelling"}, waited.append
    )
    assert (state, round(sum(waited))) == ("cancelling", instance_migration.CANCEL_SECONDS)
    assert "has not cancelled the migration within 30 s: cancelling" in caplog.text


@pytest.mark.parametrize("tasklet", [None, type("Other", (), {"_ExecMigration": lambda self: 1})])
def test_a_job_that_is_not_as_expected_is_refused(tasklet: Any) -> None:
    with pytest.raises(PatchRefused, match="TLMigrateInstance"):
        instance_migration.extend(SimpleNamespace(constants=CONSTANTS, TLMigrateInstance=tasklet))


def test_a_hypervisor_that_is_not_as_expected_is_refused() -> None:
    with pytest.raises(PatchRefused, match="GetMigrationStatus"):
        instance_migration.extend_hypervisor(object)


REFUSAL = (
    "qemu-system-x86_64: VQ 0 vring.num 1024 exceeds allocated max 128\n"
    "qemu-system-x86_64: load of migration failed: Invalid argument: error while loading state"
    " for instance 0x0 of device '0000:00:03.0/virtio-balloon': Failed to load element of type"
    " virtio for virtio\n"
)


@pytest.mark.parametrize(
    ("text", "age", "capabilities", "expected"),
    [
        (REFUSAL, 0, "", True),
        (REFUSAL, 0, "xbzrle", True),
        (REFUSAL, 0, "postcopy-ram", False),  # it may have run before all had come
        (REFUSAL, 10, "", False),  # an earlier QEMU's
        (REFUSAL + "qemu-system-x86_64: warning: later\n", 0, "", False),
        ("", 0, "", False),
        (None, 0, "", False),
    ],
)
def test_a_qemu_that_refused_its_guest_says_so_last(
    tmp_path: Path, text: str | None, age: int, capabilities: str, expected: bool
) -> None:
    log, socket = tmp_path / "vm1.log", tmp_path / "vm1.qmp"
    if text is not None:
        log.write_text(text)
        os.utime(log, (1000 - age, 1000 - age))
    socket.touch()
    os.utime(socket, (995, 995))
    assert instance_migration.refused(str(log), str(socket), capabilities) is expected


class HypervisorError(Exception):
    """Ganeti's."""


def ended_target(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, alive: bool, text: str
) -> Callable[[], Any]:
    """What Ganeti's class says of a migration to a QEMU to whose monitor nothing connects."""
    ganeti = ModuleType("ganeti")
    ganeti.__dict__.update(
        constants=SimpleNamespace(
            HV_MIGRATION_CANCELLED="cancelled", HV_KVM_MIGRATION_CAPS="caps"
        ),
        errors=SimpleNamespace(GenericError=HypervisorError),
        objects=SimpleNamespace(MigrationStatus=SimpleNamespace),
        pathutils=SimpleNamespace(LOG_KVM_DIR=str(tmp_path)),
    )
    monkeypatch.setitem(sys.modules, "ganeti", ganeti)
    (tmp_path / "vm1.qmp").touch()
    (tmp_path / "vm1.log").write_text(text)

    class KVMHypervisor:
        def GetMigrationStatus(self, instance: Any) -> Any:
            raise HypervisorError("KVM: socket error")

        def FinalizeMigrationSource(self, instance: Any, success: bool, live: bool) -> None:
            return None

        def _InstancePidAlive(self, name: str) -> tuple[str, int, bool]:
            return "/pid", 7, alive

        @classmethod
        def _InstanceQmpMonitor(cls, name: str) -> str:
            return str(tmp_path / ("%s.qmp" % name))

    instance_migration.extend_hypervisor(KVMHypervisor)
    instance = SimpleNamespace(name="vm1", hvparams={"caps": None})
    kvm: Any = KVMHypervisor()
    return lambda: kvm.GetMigrationStatus(instance)


def test_a_target_that_refused_the_guest_has_not_taken_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    status = ended_target(monkeypatch, tmp_path, alive=False, text=REFUSAL)
    assert status().status == "cancelled"


@pytest.mark.parametrize(("alive", "text"), [(True, REFUSAL), (False, "")])
def test_of_a_target_that_does_not_answer_nothing_is_known(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, alive: bool, text: str
) -> None:
    status = ended_target(monkeypatch, tmp_path, alive=alive, text=text)
    with pytest.raises(HypervisorError):
        status()


class Qemu:
    """A monitor; `activates` is whether the disks can be opened."""

    def __init__(self, state: str, *, activates: bool = True) -> None:
        self.state, self._activates = state, activates
        self.told: list[str] = []

    def execute(self, command: str) -> Any:
        self.told.append(command)
        if command == "cont":
            if not self._activates:
                raise MonitorFailed("Could not refresh total sector count")
            self.state = "running"
        return {"status": self.state}


@pytest.mark.parametrize(
    ("state", "goes_on"),
    [
        ("running", True),
        ("io-error", True),  # the guest went on, and met an error
        ("shutdown", True),
        ("inmigrate", False),
    ],
)
def test_the_state_of_a_qemu_tells_whether_the_guest_goes_on(state: str, goes_on: bool) -> None:
    qemu = Qemu(state)
    assert instance_migration.goes_on(qemu.execute) is goes_on
    assert "cont" not in qemu.told


@pytest.mark.parametrize("activates", [True, False])
def test_a_paused_guest_is_told_to_go_on(activates: bool) -> None:
    assert instance_migration.goes_on(Qemu("paused", activates=activates).execute) is activates


@pytest.mark.parametrize(
    ("told", "heard"),
    [
        ("device", "active"),
        ("setup", "active"),
        ("cancelling", "active"),
        ("completed", "completed"),
        ("failed", "failed"),
    ],
)
def test_what_is_under_way_is_no_failure(told: str, heard: str) -> None:
    class QmpConnection:
        def GetMigrationStatus(self) -> Any:
            return {"status": told, "ram": {"total": 7}}

    instance_migration.extend_connection(QmpConnection)
    assert QmpConnection().GetMigrationStatus() == {"status": heard, "ram": {"total": 7}}
    with pytest.raises(PatchRefused, match="QmpConnection"):
        instance_migration.extend_connection(object)


class Monitored(Qemu):
    """A source's QEMU: its run state, and what it says of its migration."""

    def __init__(self, state: str, migration: str) -> None:
        super().__init__(state)
        self.migration = migration

    def execute(self, command: str) -> Any:
        if command == "query-migrate":
            return {"status": self.migration}
        return super().execute(command)


def source(monkeypatch: pytest.MonkeyPatch, qemu: Monitored | None, *, runs: bool = True) -> Any:
    """Ganeti's class for KVM, with one QEMU, on a node where `cont` is Ganeti's own."""

    @contextlib.contextmanager
    def connected(path: str) -> Iterator[Any]:
        if qemu is None:
            raise MonitorFailed("no answer")
        yield qemu

    class HypervisorError(Exception):
        pass

    class Hypervisor:
        qmp = SimpleNamespace(sock=None)

        @staticmethod
        def _InstanceQmpMonitor(name: str) -> str:
            return name

        def ListInstances(self) -> list[str]:
            return ["vm1"] if runs else []

        def GetMigrationStatus(self, instance: Any) -> Any:
            assert qemu is not None
            return SimpleNamespace(status=qemu.migration, transferred_ram=7)

        def FinalizeMigrationSource(self, instance: Any, success: bool, live: Any) -> str:
            return "ended" if success else "cont"

    modules = {
        "ganeti": SimpleNamespace(
            errors=SimpleNamespace(HypervisorError=HypervisorError), constants=CONSTANTS
        ),
        "ganeti_gluster.storage.qmp": SimpleNamespace(connected=connected),
        "ganeti_gluster.storage": SimpleNamespace(
            qmp=SimpleNamespace(connected=connected), __path__=[]
        ),
    }
    for name, found in modules.items():
        monkeypatch.setitem(sys.modules, name, found)
    instance_migration.extend_hypervisor(Hypervisor)
    return Hypervisor()


VM = SimpleNamespace(name="vm1")


@pytest.mark.parametrize("live", [True, False])
def test_a_guest_that_has_been_sent_does_not_go_on_where_it_was(
    monkeypatch: pytest.MonkeyPatch, live: bool
) -> None:
    hypervisor = source(monkeypatch, Monitored("postmigrate", "completed"))
    with pytest.raises(
        Exception, match="has been migrated completely and may be running on the new node"
    ):
        hypervisor.FinalizeMigrationSource(VM, False, live)
    assert hypervisor.FinalizeMigrationSource(VM, True, live) == "ended"


def test_it_goes_on_once_the_target_said_that_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    hypervisor = source(monkeypatch, Monitored("postmigrate", "completed"))
    assert hypervisor.FinalizeMigrationSource(VM, False, NOT_THERE) == "cont"


@pytest.mark.parametrize(
    ("state", "sent"), [("running", "completed"), ("running", "failed"), ("paused", "")]
)
def test_a_guest_that_is_here_goes_on(
    monkeypatch: pytest.MonkeyPatch, state: str, sent: str
) -> None:
    hypervisor = source(monkeypatch, Monitored(state, sent))
    assert hypervisor.FinalizeMigrationSource(VM, False, True) == "cont"


def test_a_qemu_that_does_not_say_what_it_has_does_not_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(Exception, match="does not report whether the guest has been migrated"):
        source(monkeypatch, None).FinalizeMigrationSource(VM, False, True)
    gone = source(monkeypatch, None, runs=False)
    assert gone.FinalizeMigrationSource(VM, False, True) == "cont"


@pytest.mark.parametrize(
    ("state", "heard"),
    [("postmigrate", "completed"), ("finish-migrate", "completed"), ("running", "cancelled")],
)
def test_a_source_that_runs_its_guest_again_has_not_sent_it(
    monkeypatch: pytest.MonkeyPatch, state: str, heard: str
) -> None:
    hypervisor = source(monkeypatch, Monitored(state, "completed"))
    assert hypervisor.GetMigrationStatus(VM).status == heard
