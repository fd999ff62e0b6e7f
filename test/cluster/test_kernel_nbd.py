"""The kernel's nbd driver, whose server is killed under it.

The nodes' kernel has none; Debian's has, in a virtual machine on a node.  What serves the
device there is what serves it on a node (`lib/core/export/nbd.py`), but that it reaches the
image's server by a TCP port of the node's loopback.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from demolib import guest
from testbedlib import wait_for

from .conftest import SERVERS, Cluster
from .test_serve import kill_servers

IMAGE = "ganeti/kernel-nbd.0"
FOLDER = "/root/nbd-guest"
PORT = 10809
SIZE = 64 << 20
KILLS = 10

pytestmark = pytest.mark.slow

SERVE = """
import json, subprocess
from ganeti_gluster.core import image
from ganeti_gluster.core.export import nbd
from ganeti_gluster.core.serve.server import ImageServer
from ganeti_gluster.core.volume import VolumeSpec, connect
spec = VolumeSpec.from_params({"host": %r, "volume": "gv0"})
with connect(spec) as volume:
    image.create(volume, %r, %d)
server = ImageServer(spec, %r)
server.open(number=1, patience=900)
*argv, blockdev = nbd.server_argv("/dev/nbd0", server.socket_path, 900)
served = json.loads(blockdev.removeprefix("json:"))
served["file"]["server"] = {"type": "inet", "host": "10.0.2.2", "port": "%d"}
subprocess.run(
    ["/src/test/cluster/nbd-guest/build", "%s", *argv, "json:" + json.dumps(served)], check=True
)
print(server.socket_path)
""" % (SERVERS, IMAGE, SIZE, IMAGE, PORT, FOLDER)
# Reads the records again, by the server, and says how many there are.
READ = """
import nbd, sys
handle = nbd.NBD()
handle.connect_unix(sys.argv[1])
number = 0
while True:
    text = b"record %d %d\\n" % (number + 1, ((number + 1) * 7919 + 13) % 1000003)
    if handle.pread(4096, 4096 * (number + 1)) != text.ljust(4096, b"\\0"):
        break
    number += 1
print(number)
"""
END = """
from ganeti_gluster.core import image
from ganeti_gluster.core.serve.server import ImageServer
from ganeti_gluster.core.volume import VolumeSpec, connect
spec = VolumeSpec.from_params({"host": %r, "volume": "gv0"})
ImageServer(spec, %r).close(force=True)
with connect(spec) as volume:
    image.remove(volume, %r)
""" % (SERVERS, IMAGE, IMAGE)
QEMU = (
    *("qemu-system-x86_64", "-m", "512", "-display", "none", "-nodefaults", "-no-reboot"),
    *("-kernel", FOLDER + "/vmlinuz", "-initrd", FOLDER + "/initrd"),
    *("-append", "console=ttyS0 panic=-1", "-serial", "file:%s/console" % FOLDER),
    *("-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net"),
)
UNITS = ("kernel-nbd-relay", "kernel-nbd-guest")


@pytest.fixture
def socket(cluster: Cluster) -> Iterator[str]:
    """A guest whose nbd device is an image of node1's; the socket of that image's server."""
    python = "/usr/bin/python3"
    try:
        path = cluster.run(python, "-c", SERVE, max_seconds=120).stdout.split()[-1]
        relay = ("socat", "TCP-LISTEN:%d,bind=127.0.0.1,reuseaddr,fork" % PORT)
        commands = ((*relay, "UNIX-CONNECT:%s" % path), QEMU)
        for unit, command in zip(UNITS, commands, strict=True):
            cluster.run("systemd-run", "--quiet", "--collect", "--unit=%s" % unit, *command)
        yield path
    finally:
        cluster.testbed.exec("node1", ["systemctl", "stop", *UNITS], timeout=60)
        cluster.run(python, "-c", END, max_seconds=120)
        cluster.run("rm", "-rf", FOLDER)


def test_the_kernels_device_outlives_the_images_server(cluster: Cluster, socket: str) -> None:
    console = Path(cluster.testbed.node("node1").inside(FOLDER + "/console"))

    def last() -> int:
        text = console.read_bytes() if console.exists() else b""
        return guest.last_acknowledged(guest.parse([(0.0, text)]))

    wait_for(lambda: last() > 10, 120, "records")
    for _ in range(KILLS):
        kill_servers(cluster, "node1")
        before = last()
        wait_for(lambda before=before: last() > before + 3, 60, "more records")
    unit = "ganeti-gluster-image@%s.service" % Path(socket).stem
    show = ("systemctl", "show", "--property=NRestarts", "--value", unit)
    assert int(cluster.run(*show).stdout) == KILLS
    text = console.read_bytes()
    guest.check_unbroken(guest.parse([(0.0, text)]))
    assert b"GUEST lost" not in text
    assert b"I/O error" not in text
    argv = ("/usr/bin/python3", "-c", READ, socket)
    assert int(cluster.run(*argv, max_seconds=60).stdout) >= last() - 1
