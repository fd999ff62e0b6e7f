"""The virtual machines that Ganeti's KVM hypervisor runs on this node."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from ganeti.hypervisor import hv_kvm

from ganeti_gluster.core.snapshot.live import Connect, GuestGone, Monitor, MonitorFailed
from ganeti_gluster.storage import node_names, qmp, running_disk


class KvmGuests:
    """What `ganeti_gluster.core.snapshot.work.Guests` promises."""

    @property
    def node(self) -> str:
        return node_names.own()

    def is_running(self, instance: str) -> bool:
        kvm: Any = hv_kvm.KVMHypervisor()
        return instance in kvm.ListInstances()

    def agent(self, instance: str) -> str | None:
        path: str = hv_kvm.KVMHypervisor._InstanceQemuGuestAgentMonitor(instance)
        return path if os.path.exists(path) else None

    def identities(self, instance: str) -> dict[str, str]:
        return {
            disk.uuid: disk.hvinfo["id"]
            for name, disk, _ in running_disk.running_disks()
            if name == instance and disk.hvinfo and "id" in disk.hvinfo
        }

    def connect(self, instance: str) -> Connect:
        @contextlib.contextmanager
        def connect() -> Iterator[Monitor]:
            try:
                with qmp.connected(hv_kvm.KVMHypervisor._InstanceQmpMonitor(instance)) as monitor:
                    yield monitor
            except MonitorFailed as err:
                if self.is_running(instance):
                    raise
                raise GuestGone("QEMU of instance %s has ended" % instance) from err

        return connect
