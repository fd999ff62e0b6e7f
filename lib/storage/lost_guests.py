"""Guests of this node that use an image through a block device while another node has it.

The server of such an image kills the QEMU that is its client.  Behind a block device it only knows
the exporter; the guest gets errors, and this module kills it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from collections.abc import Iterator

from ganeti_gluster.core.export import Export
from ganeti_gluster.core.serve import control, files, fleet
from ganeti_gluster.errors import GanetiGlusterError

#: Ganeti's links to instances' block devices, "INSTANCE:INDEX", and its hypervisor's files
#: with the process of each instance.
LINKS = "/run/ganeti/instance-disks"
PIDS = "/run/ganeti/kvm-hypervisor/pid"
_QEMU = "qemu-system"


def end() -> list[str]:
    """End them, and return their instances' names; cheap where there is none."""
    ended = []
    for device in lost_devices():
        for instance in instances_on(device):
            if _kill(instance):
                logging.warning(
                    "Killed the guest of instance %s: another node has taken the image behind %s",
                    *(instance, device),
                )
                ended.append(instance)
    return ended


def lost_devices() -> Iterator[str]:
    """The block devices whose images' servers have lost them."""
    for key, status in fleet.statuses().items():
        if status["state"] == control.LOST:
            with contextlib.suppress(OSError, GanetiGlusterError):  # it has just been closed
                device = Export(*files.configured(key)).device()
                if device is not None:
                    yield device


def instances_on(device: str) -> Iterator[str]:
    """The instances that have a disk on a block device."""
    with contextlib.suppress(FileNotFoundError):
        for name in sorted(os.listdir(LINKS)):
            if os.path.realpath(os.path.join(LINKS, name)) == device:
                yield name.rpartition(":")[0]


def _kill(instance: str) -> bool:
    try:
        with open(os.path.join(PIDS, instance), encoding="ascii") as stream:
            pid = int(stream.read())
        with open("/proc/%d/comm" % pid, encoding="utf-8", errors="replace") as stream:
            if not stream.read().startswith(_QEMU):
                return False
        os.kill(pid, signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return False  # it does not run
    return True
