"""Ending a migration that did not end by itself, so that exactly one guest is left.

Ganeti undoes a migration by stopping QEMU on the new node and resuming it on the old one, without
asking about the guest.  If the job died during the transfer, or one query was not answered, QEMU
may have completed the migration by itself.  The new node then runs the guest, and QEMU on the old
one has the memory of the moment of the transfer, with disks that have changed since.  So both are
queried before anything is stopped:

- the new node runs the guest, and the old one has sent it: the migration is finished;
- the new node reports that it will never run it: its QEMU is stopped, and then the old
  one resumes;
- the guest is still on the old node: the transfer is cancelled first, then QEMU on the
  new node is stopped;
- none of this is known: nothing is stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

#: Seconds for the new node, once it has received the whole guest, to report its state.
OUTCOME_SECONDS = 60.0
_POLL_SECONDS = 1.0

#: Used instead of Ganeti's `live`, which the KVM code ignores: it informs the old node that the
#: new node's QEMU was asked, does not continue the guest, and was ended.
NOT_THERE = "the new node does not resume the guest"

_AGAIN = "; check QEMU on both nodes, and run gnt-instance migrate --cleanup again"


class BothAsked:
    """Ganeti's RPC runner, which ends a migration as the two nodes say.

    `forwards`: one that is complete is finished, else it is left to `migrate --cleanup`.
    """

    def __init__(
        self,
        rpc: Any,
        source: str,
        target: str,
        constants: Any,
        *,
        forwards: bool,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rpc = rpc
        self._source = source
        self._target = target
        self._constants = constants
        self._forwards = forwards
        self._clock = clock
        self._sleep = sleep
        self._source_result: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rpc, name)

    def call_instance_finalize_migration_dst(
        self, node: str, instance: Any, info: Any, success: bool
    ) -> Any:
        """End a migration on the new node; before that, and instead, what the old one needs."""
        stock = self._rpc.call_instance_finalize_migration_dst
        if success:
            return stock(node, instance, info, success)
        here, there = self._outcome(instance)
        sent = here == self._constants.HV_MIGRATION_COMPLETED
        if there == self._constants.HV_MIGRATION_COMPLETED:
            if sent and self._forwards:
                self._source_result = self._end_source(instance, True, True)
                return stock(node, instance, info, True)
            if here is None:
                return self._nothing("the guest is running on the new node, and the old node does"
                                     " not report its state")  # fmt: skip
            if sent:
                return self._nothing("the guest is running on the new node")
            return self._nothing("the guest is running on both nodes")
        if there == self._constants.HV_MIGRATION_CANCELLED:
            result = stock(node, instance, info, False)
            if result.fail_msg:
                self._source_result = _failed("QEMU on the new node could not be stopped")
            else:
                self._source_result = self._end_source(instance, False, NOT_THERE)
            return result
        if sent or here is None:
            return self._nothing("it is unknown whether the new node has the guest")
        self._source_result = self._end_source(instance, False, True)
        if self._source_result.fail_msg:
            return _failed("QEMU on the new node is left running: it may have the guest")
        return stock(node, instance, info, False)

    def call_instance_finalize_migration_src(
        self, node: str, instance: Any, success: bool, live: Any
    ) -> Any:
        """The result for the old node, which was handled together with the new one."""
        if not success and self._source_result is not None:
            result, self._source_result = self._source_result, None
            return result
        return self._rpc.call_instance_finalize_migration_src(node, instance, success, live)

    def _end_source(self, instance: Any, success: bool, live: Any) -> Any:
        return self._rpc.call_instance_finalize_migration_src(
            self._source, instance, success, live
        )

    def _outcome(self, instance: Any) -> tuple[str | None, str | None]:
        """The state of the migration on the old and the new node, None if one does not answer.

        A new node that has received everything gets time to report its state.
        """
        completed = self._constants.HV_MIGRATION_COMPLETED
        definite = (completed, self._constants.HV_MIGRATION_CANCELLED)
        end = self._clock() + OUTCOME_SECONDS
        while True:
            # In this order: a guest that is here now may be there a moment later.
            there, here = self._ask(self._target, instance), self._ask(self._source, instance)
            if here != completed or there in definite or self._clock() > end:
                return here, there
            self._sleep(_POLL_SECONDS)

    def _ask(self, node: str, instance: Any) -> str | None:
        result = self._rpc.call_instance_get_migration_status(node, instance)
        return None if result.fail_msg else str(result.payload.status)

    def _nothing(self, why: str) -> Any:
        self._source_result = _failed("nothing was stopped: %s%s" % (why, _AGAIN))
        return _failed("nothing was stopped")


def _failed(message: str) -> Any:
    return SimpleNamespace(fail_msg=message, payload=None, offline=False)


def place(tasklet: Any) -> None:
    """Let a cleanup look at the node that has the other QEMU.

    Ganeti looks at the one that is named to it, or that its allocator would choose now.
    """
    others = [
        node
        for node in tasklet._FindInstanceLocations(tasklet.instance.name)
        if node != tasklet.source_node_uuid
    ]
    if len(others) == 1:
        tasklet.target_node_uuid = others[0]
