"""The Ganeti cluster, made with the real commands."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from . import layout
from .errors import UnexpectedExit
from .node import Node

INIT_SECONDS = 120
ADD_SECONDS = 120
MASTER_SECONDS = 60
POLL_SECONDS = 0.2
# Neither needs the plugin, nor an entry in file-storage-paths.
DISK_TEMPLATES = ("diskless", "ext")
FILE_STORAGE_PATHS = "/etc/ganeti/file-storage-paths"
STOCK_GLUSTER_MOUNT = "/var/run/ganeti/gluster"

# Software emulation, a disk with its own boot loader, and no kernel modules.
HYPERVISOR = {
    "kvm_path": "/usr/bin/qemu-system-x86_64",
    "kernel_path": "",
    "root_path": "",
    "serial_console": "true",
    "acpi": "true",
    "vhost_net": "false",
    # MiB/s.  With the default of 32 the software emulation of QEMU 7.2 (Debian 12)
    # crashes a busy guest's kernel in one of seven live migrations, with a local
    # disk and without Ganeti as well; with this in none of fifteen on a quiet machine.
    # At a load of 20, of three guests with this one's kernel crashed, and one stood
    # still at one instruction: no request to its disk, no answer to ACPI.
    "migration_bandwidth": "1000",
}
# Test instances are far smaller than Ganeti's default policy wants.
SMALLEST = "cpu-count=1,disk-count=0,disk-size=1,memory-size=1,nic-count=0,spindle-use=0"
LARGEST = (
    "cpu-count=8,disk-count=16,disk-size=4194304,memory-size=32768,nic-count=8,spindle-use=32"
)


def init_argv(disk_templates: Iterable[str] = DISK_TEMPLATES) -> list[str]:
    """The `gnt-cluster init` of a testbed."""
    return [
        "gnt-cluster",
        "init",
        "--no-ssh-init",
        "--no-etc-hosts",
        "--enabled-hypervisors=kvm",
        "--enabled-disk-templates=" + ",".join(disk_templates),
        "--master-netdev=" + layout.BRIDGE,
        "--nic-parameters=mode=bridged,link=" + layout.BRIDGE,
        "--hypervisor-parameters=kvm:" + ",".join("%s=%s" % pair for pair in HYPERVISOR.items()),
        "--backend-parameters=minmem=128,maxmem=128,vcpus=1",
        "--ipolicy-bounds-specs=min:%s/max:%s" % (SMALLEST, LARGEST),
        layout.CLUSTER_NAME,
    ]


def add_argv(node: str) -> list[str]:
    """The `gnt-node add` of a further node."""
    return ["gnt-node", "add", node]


def create(nodes: Sequence[Node], disk_templates: Iterable[str] = DISK_TEMPLATES) -> None:
    """Make a cluster of the nodes, the first one its master."""
    master = nodes[0]
    master.run(init_argv(disk_templates), timeout=INIT_SECONDS)
    for node in nodes[1:]:
        master.run(add_argv(node.name), timeout=ADD_SECONDS)


def wait_master(nodes: Sequence[Node]) -> None:
    """Wait until the master answers after all nodes have booted at the same time.

    A master that starts before enough other nodes answer its vote gives up;
    on a real cluster the watcher starts it again.
    """
    master = nodes[0]
    end = time.monotonic() + MASTER_SECONDS
    while True:
        done = master.run(["gnt-cluster", "getmaster"], timeout=30, check=False)
        if done.exit_code == 0:
            done = master.run(["gnt-node", "list", "--no-headers"], timeout=30, check=False)
        if done.exit_code == 0:
            return
        if time.monotonic() > end:
            raise UnexpectedExit(done)
        time.sleep(POLL_SECONDS)


def allow_stock_gluster(nodes: Sequence[Node]) -> None:
    """Write the entry that Ganeti's own gluster template demands on every node.

    The caller enables the template afterwards (`gnt-cluster modify`).
    """
    text = "\n".join(
        [STOCK_GLUSTER_MOUNT, "/srv/ganeti/file-storage", "/srv/ganeti/shared-file-storage", ""]
    )
    for node in nodes:
        node.run(
            ["install", "-D", "-m", "644", "/dev/stdin", FILE_STORAGE_PATHS],
            timeout=15,
            stdin=text.encode(),
        )
