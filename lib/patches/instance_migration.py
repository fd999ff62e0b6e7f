"""Corrections of live migration, if the target does not run the guest or is dead.

Ganeti stops the QEMU that had the guest as soon as it has sent the guest, and never asks the other
one.  If the target cannot open its disks at that moment, QEMU says so in its log and leaves the
guest stopped, for ever, since nobody else knows.  (Seen with QEMU 10.0, whose state stays
`inmigrate` and for which `cont` has no effect; older releases are `paused`, and `cont` tries
again.)  This does not happen if only the storage is unavailable and there is an image server: the
guest runs there, and its requests wait.

So the job asks the target before it believes the source.  If the guest has never run on the
target, the migration has failed, and Ganeti can undo it: it stops the target's QEMU and resumes
the guest on the source.  The same holds if the target's QEMU ended because it could not load what
it received, as its log says (QEMU 11.1.3 with the virtio devices of 10.0.13).  Other problems
there are left to stock Ganeti, because a guest that ran on the target, even for an instant, may
have written.

A target that lost its power receives nothing and does not answer.  QEMU waits for the kernel,
which may repeat the same bytes for a quarter of an hour, and Ganeti waits for QEMU (seen on Debian
13).  The job gives up such a migration.  The source then also cancels it in QEMU, which Ganeti
does not, so that it does not continue by itself if the target comes back.
"""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from ganeti_gluster.errors import PatchRefused
from ganeti_gluster.patches.instance_migration_end import NOT_THERE, BothAsked, place

#: Seconds for which a target may leave the question unanswered, as one that is cut
#: off.  Then Ganeti does what it does without us.
TARGET_SECONDS = 60.0

#: Seconds without any progress before the target is asked whether it is there at all, and
#: those after which one that does not answer is taken for dead.
STALLED_SECONDS, DEAD_SECONDS = 20.0, 60.0

#: Seconds for which a source may leave the question unanswered, with the guest not yet on
#: the target.
SOURCE_SECONDS = 60.0

#: Seconds in which QEMU takes a migration back.
CANCEL_SECONDS = 30.0
_CANCEL_POLL = 0.1

#: QEMU's states of a migration in which the guest runs where it was, and on its way out.
_SENDING = ("setup", "active")
#: One that cannot be taken back: the guest stands still, and the target gets the rest of it.
_LAST_PART = ("pre-switchover", "device")
_CANCELLING, _COMPLETED = "cancelling", "completed"
#: What Ganeti does not know: QEMU 10 and later go through `device` at each migration's end.
_UNDER_WAY = (*_SENDING, *_LAST_PART, "wait-unplug", _CANCELLING)

#: What QEMU says before it ends because of that.
_NOT_LOADED = ": load of migration failed"

#: What QEMU's monitor calls itself as long as it waits for a guest, and a stopped one.
_INCOMING, _PAUSED = "inmigrate", "paused"
#: What it calls itself once it has sent its guest, and as it runs one.
_SENT, _RUNNING = "postmigrate", "running"


def extend(module: Any) -> None:
    """Let the job of a migration ask the target (`ganeti.cmdlib.instance_migration`)."""
    tasklet: Any = getattr(module, "TLMigrateInstance", None)
    original = getattr(tasklet, "_ExecMigration", None)
    if original is None or "call_instance_get_migration_status" not in original.__code__.co_names:
        raise PatchRefused("instance_migration.TLMigrateInstance is not as expected")
    original_cleanup = getattr(tasklet, "_ExecCleanup", None)
    if original_cleanup is None or "_AbortMigration" not in original_cleanup.__code__.co_names:
        raise PatchRefused("instance_migration.TLMigrateInstance._ExecCleanup is not as expected")

    @functools.wraps(original)
    def exec_migration(self: Any) -> Any:
        if not has_image(self, module.constants):
            return original(self)
        stock = self.rpc
        ending = BothAsked(
            stock, self.source_node_uuid, self.target_node_uuid, module.constants, forwards=False
        )
        self.rpc = AskingTarget(ending, self.target_node_uuid, module.constants)
        try:
            return original(self)
        finally:
            self.rpc = stock

    @functools.wraps(original_cleanup)
    def exec_cleanup(self: Any) -> Any:
        if not has_image(self, module.constants):
            return original_cleanup(self)
        stock = self.rpc
        place(self)
        self.rpc = BothAsked(
            stock, self.source_node_uuid, self.target_node_uuid, module.constants, forwards=True
        )
        try:
            return original_cleanup(self)
        finally:
            self.rpc = stock

    tasklet._ExecMigration = exec_migration
    tasklet._ExecCleanup = exec_cleanup


def has_image(tasklet: Any, constants: Any) -> bool:
    """Whether the instance runs in QEMU and has a disk on Gluster."""
    if tasklet.instance.hypervisor != constants.HT_KVM:
        return False
    disks = tasklet.cfg.GetInstanceDisks(tasklet.instance.uuid)
    return any(
        disk.dev_type == constants.DT_GLUSTER
        or (
            disk.dev_type == constants.DT_EXT
            and (disk.params or {}).get(constants.IDISK_PROVIDER) == "gluster"
        )
        for disk in disks
    )


class AskingTarget:
    """Ganeti's RPC runner, whose migrations are complete when the target says so as well.

    While the target has not said it, the answer for the source is `active`, so that
    Ganeti asks again a second later.  A migration of which nothing moves, to a target
    that does not answer, has failed.
    """

    def __init__(
        self, rpc: Any, target: str, constants: Any, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rpc = rpc
        self._target = target
        self._constants = constants
        self._clock = clock
        self._answered: float | None = None
        self._sent: int | None = None
        self._moved = clock()
        self._silent: float | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rpc, name)

    def call_instance_get_migration_status(self, node: str, instance: Any) -> Any:
        """The source's status, once complete confirmed by the target."""
        result = self._rpc.call_instance_get_migration_status(node, instance)
        if result.fail_msg:
            self._ask_instead(result, instance)
            return result
        self._silent = None
        if result.payload.status == self._constants.HV_MIGRATION_COMPLETED:
            self._confirm(result, instance)
        elif result.payload.status == self._constants.HV_MIGRATION_ACTIVE:
            self._watch(result, instance)
        return result

    def _ask_instead(self, result: Any, instance: Any) -> None:
        """What a source that does not answer would say, as far as the target knows.

        One question that was lost is no reason to end a target that may have the guest.
        """
        now = self._clock()
        self._silent = now if self._silent is None else self._silent
        there = self._rpc.call_instance_get_migration_status(self._target, instance)
        status = self._constants.HV_MIGRATION_ACTIVE
        if not there.fail_msg and there.payload.status == self._constants.HV_MIGRATION_COMPLETED:
            status = self._constants.HV_MIGRATION_COMPLETED
        elif now - self._silent > SOURCE_SECONDS:
            return
        logging.warning(
            "The source node does not report the state of the migration: %s", result.fail_msg
        )
        result.fail_msg = None
        result.payload = SimpleNamespace(
            status=status, postcopy_status=None, transferred_ram=None, total_ram=None
        )

    def _watch(self, result: Any, instance: Any) -> None:
        """Let a migration fail that does not move, where the target does not answer either."""
        sent = result.payload.transferred_ram
        # After the switch to postcopy the guest is on the target.
        if sent != self._sent or getattr(result.payload, "postcopy_status", None):
            self._sent, self._moved = sent, self._clock()
        if self._clock() - self._moved < STALLED_SECONDS:
            return
        there = self._rpc.call_instance_get_migration_status(self._target, instance)
        if not there.fail_msg:
            self._moved = self._clock()
        elif self._clock() - self._moved > DEAD_SECONDS:
            result.fail_msg = (
                "the new node has not received any data of the guest for %d s and does not"
                " answer: %s; clean up with gnt-instance migrate --cleanup once it is back"
                % (self._clock() - self._moved, there.fail_msg)
            )

    def _confirm(self, result: Any, instance: Any) -> None:
        """Let a migration be complete, or fail, as the target says."""
        there = self._rpc.call_instance_get_migration_status(self._target, instance)
        status = self._constants.HV_MIGRATION_FAILED if there.fail_msg else there.payload.status
        now = self._clock()
        if self._answered is None or status != self._constants.HV_MIGRATION_FAILED:
            self._answered = now
        if status == self._constants.HV_MIGRATION_CANCELLED:
            result.fail_msg = "QEMU on the new node does not resume the guest; see its log"
        elif now - self._answered > TARGET_SECONDS:
            logging.warning(
                "The target node does not report the state of the migration: %s", there.fail_msg
            )
        elif status != self._constants.HV_MIGRATION_COMPLETED:
            result.payload.status = self._constants.HV_MIGRATION_ACTIVE


def extend_hypervisor(hypervisor: Any) -> None:
    """Report a target's QEMU that does not resume its guest as `cancelled`.

    Ganeti itself never uses this status for a target.  A source that had sent its guest and runs
    it again is reported the same way.  A source that resumes its guest cancels the transfer first;
    if it has sent the guest, it resumes only if the target has reported that it does not run it.
    `hypervisor` is Ganeti's class for KVM.
    """
    original = getattr(hypervisor, "GetMigrationStatus", None)
    if original is None:
        raise PatchRefused("hv_kvm.KVMHypervisor.GetMigrationStatus is missing")
    original_finalize = getattr(hypervisor, "FinalizeMigrationSource", None)
    if original_finalize is None:
        raise PatchRefused("hv_kvm.KVMHypervisor.FinalizeMigrationSource is missing")

    @functools.wraps(original)
    def get_migration_status(self: Any, instance: Any) -> Any:
        # Late: it needs Ganeti's modules.
        from ganeti import constants, errors

        try:
            status = original(self, instance)
        except (errors.GenericError, OSError):
            from ganeti import objects, pathutils

            if self._InstancePidAlive(instance.name)[2] or not refused(
                os.path.join(pathutils.LOG_KVM_DIR, "%s.log" % instance.name),
                hypervisor._InstanceQmpMonitor(instance.name),
                str(instance.hvparams.get(constants.HV_KVM_MIGRATION_CAPS) or ""),
            ):
                raise
            return objects.MigrationStatus(status=constants.HV_MIGRATION_CANCELLED)
        # Only a source reports how much it has sent.
        is_source = status.transferred_ram is not None
        if status.status != constants.HV_MIGRATION_COMPLETED:
            return status
        from ganeti_gluster.storage import qmp

        # QEMU serves one connection at a time, and Ganeti 3.1 leaves its own open.
        if self.qmp.sock is not None:
            self.qmp.sock.close()
        with qmp.connected(hypervisor._InstanceQmpMonitor(instance.name)) as monitor:
            if is_source:
                over = monitor.execute("query-status")["status"] == _RUNNING
            else:
                over = not goes_on(monitor.execute)
            if over:
                status.status = constants.HV_MIGRATION_CANCELLED
        return status

    @functools.wraps(original_finalize)
    def finalize_migration_source(self: Any, instance: Any, success: bool, live: Any) -> Any:
        from ganeti import errors

        from ganeti_gluster.core.snapshot.live import MonitorFailed
        from ganeti_gluster.storage import qmp

        if not success:
            try:
                with qmp.connected(hypervisor._InstanceQmpMonitor(instance.name)) as monitor:
                    take_back(monitor.execute)
                    sent = monitor.execute("query-status")["status"] == _SENT
            except MonitorFailed as err:
                if instance.name in self.ListInstances():
                    raise errors.HypervisorError(
                        "QEMU of instance %s does not report whether the guest has been migrated:"
                        " %s" % (instance.name, err)
                    ) from err
                # where no QEMU runs, there is nothing to take back
                logging.warning("Cannot cancel the migration of %s: %s", instance.name, err)
            else:
                if sent and live != NOT_THERE:
                    raise errors.HypervisorError(
                        "instance %s has been migrated completely and may be running on the new"
                        " node: it is not resumed here" % instance.name
                    )
        return original_finalize(self, instance, success, live)

    hypervisor.GetMigrationStatus = get_migration_status
    hypervisor.FinalizeMigrationSource = finalize_migration_source


def take_back(execute: Callable[[str], Any], sleep: Callable[[float], None] = time.sleep) -> str:
    """Cancel the migration of a guest that QEMU is still sending; returns its state, or "".

    This only works while the guest runs on the old node, where it then continues.  Whether the
    guest was sent just before is QEMU's state to report, and not this one.
    """
    status = str(execute("query-migrate").get("status", ""))
    if status not in _UNDER_WAY:
        return status
    if status in _SENDING:
        execute("migrate_cancel")
    for _ in range(int(CANCEL_SECONDS / _CANCEL_POLL)):
        status = str(execute("query-migrate").get("status", ""))
        if status not in _UNDER_WAY:
            return status
        sleep(_CANCEL_POLL)
    logging.warning("QEMU has not cancelled the migration within %d s: %s", CANCEL_SECONDS, status)
    return status


def refused(log: str, socket: str, capabilities: str) -> bool:
    """Whether a QEMU that has ended says last that it cannot load the guest it was sent.

    It has never run the guest then; with postcopy it may have.  A log that is older than
    `socket`, which this QEMU has made when it started, is of an earlier one.
    """
    try:
        if "postcopy" in capabilities or os.stat(log).st_mtime < os.stat(socket).st_mtime:
            return False
        with open(log, encoding="utf-8", errors="replace") as stream:
            lines = [line for line in stream.read().splitlines() if line.strip()]
    except OSError:
        return False
    return bool(lines) and _NOT_LOADED in lines[-1]


def goes_on(execute: Callable[[str], Any]) -> bool:
    """Whether a QEMU that received a guest has run it.

    A paused one is told to continue, as it should have by itself (up to release 9.2), even if an
    administrator had paused it before.  It refuses if it cannot open the disks, and then has never
    run the guest.  Raises `MonitorFailed` if it does not answer.
    """
    from ganeti_gluster.core.snapshot.live import MonitorFailed

    if execute("query-status")["status"] == _PAUSED:
        try:
            execute("cont")
        except MonitorFailed as err:
            logging.warning("The guest cannot be resumed: %s", err)
    return execute("query-status")["status"] not in (_INCOMING, _PAUSED)


def extend_connection(connection: Any) -> None:
    """Let what QEMU says of a migration under way be what Ganeti calls `active`.

    It takes what it does not know for a failure after ten seconds.  `connection` is its
    class for QMP.
    """
    original = getattr(connection, "GetMigrationStatus", None)
    if original is None:
        raise PatchRefused("monitor.QmpConnection.GetMigrationStatus is missing")

    @functools.wraps(original)
    def get_migration_status(self: Any) -> Any:
        status = original(self)
        if isinstance(status, dict) and status.get("status") in _UNDER_WAY:
            status = {**status, "status": "active"}
        return status

    connection.GetMigrationStatus = get_migration_status
