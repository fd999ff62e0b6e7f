"""Virtual machines on the provider of ExtStorage, with nothing registered in Ganeti."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from demolib import guest
from testbedlib import wait_for

from .conftest import SERVERS, Cluster

MIB = 1 << 20
NAME = "ext1"
SIZE = 128 * MIB
DISK = "0:size=128M,provider=gluster,volume=gv0,host=" + SERVERS.replace(",", r"\,")
#: Writes a guest to an image by libgfapi: OS scripts have no path in userspace.
FILL = r"""
import subprocess, sys, os
from ganeti_gluster.core.volume import VolumeSpec, connect
source = "/root/ext-guest.img"
with open(source, "wb") as stream:
    stream.truncate(int(sys.argv[2]))
subprocess.run(["/src/qa/os/guest/create"], env={**os.environ, "DISK_0_PATH": source}, check=True)
spec = VolumeSpec.from_params({"host": "node1", "volume": "gv0"})
with connect(spec) as v, v.open(sys.argv[1], write=True) as target, open(source, "rb") as stream:
    for offset in range(0, int(sys.argv[2]), 1 << 20):
        data = stream.read(1 << 20)
        if any(data):
            target.pwrite(data, offset)
os.unlink(source)
"""


EXPORT = "/var/lib/ganeti/export/%s" % NAME
#: Counts the records of the guest on the raw copy of a disk, as the guest does.
COUNT = """
import os, sys
(name,) = set(os.listdir(sys.argv[1])) - {"config.ini"}
with open(os.path.join(sys.argv[1], name), "rb") as stream:
    stream.seek((133120 << 9) + 4096)
    number = 0
    while stream.read(4096).split()[:2] == [b"record", b"%d" % (number + 1)]:
        number += 1
print(number)
"""
DAEMON = "/usr/lib/ganeti/daemon-util"


def switch(cluster: Cluster, word: str) -> None:
    """Switch the plugin off or on, on every node; only the node daemon has to notice."""

    def on_node(node: str) -> None:
        cluster.run("gnt-gluster", "plugin", word, node=node)
        cluster.run(DAEMON, "stop", "ganeti-noded", node=node)
        unit = ("systemd-run", "--quiet", "--wait", "--collect", "--property=KillMode=process")
        cluster.run(*unit, DAEMON, "start", "ganeti-noded", node=node)

    with ThreadPoolExecutor() as pool:
        list(pool.map(on_node, cluster.nodes))
    for node in cluster.nodes:
        wait_for(partial(cluster.status_known, node), 60, "the node daemon of %s is back" % node)


def records(cluster: Cluster, directory: str, *, node: str) -> int:
    """How many records in a row the one disk in an export's directory has."""
    return int(cluster.run("/usr/bin/python3", "-c", COUNT, directory, node=node).stdout)


@contextlib.contextmanager
def certificates_accepted(cluster: Cluster, source: str, target: str) -> Iterator[None]:
    """Let Ganeti 3.1 send a disk to another node.

    It wants the name of the target in the certificate that all nodes share, and
    there is `ganeti.example.com` in it (Ganeti's issue 1839): let that be the name.
    """
    if cluster.testbed.suite == "bookworm":
        yield
        return
    address = cluster.run("getent", "hosts", target, node=source).stdout.split()[0]
    line = "%s ganeti.example.com" % address
    cluster.run("sed", "-i", "1i " + line, "/etc/hosts", node=source)
    try:
        yield
    finally:
        cluster.run("sed", "-i", "/^%s$/d" % line, "/etc/hosts", node=source)


@pytest.fixture(scope="module")
def nothing_registered(cluster: Cluster) -> Iterator[None]:
    """Stock Ganeti on every node."""
    switch(cluster, "disable")
    yield
    switch(cluster, "enable")


def add(cluster: Cluster, access: str, *options: str, **expected: object) -> str:
    """Add the instance; what was said."""
    done = cluster.run(
        *("gnt-instance", "add", "-t", "ext", "-o", "guest+default"),
        *("--disk", DISK + ",access=" + access, "-B", "minmem=128,maxmem=128,vcpus=1"),
        *("--net", "0:mode=bridged", "--no-name-check", "--no-ip-check", "--no-start"),
        *(*options, "-n", "node1", NAME),
        **{"max_seconds": 120, **expected},
    )
    return done.stdout + done.stderr


def images(cluster: Cluster) -> list[str]:
    """The provider's images on the volume."""
    return cluster.images(directory="ganeti-ext")


def test_the_provider_is_valid_on_every_node(cluster: Cluster) -> None:
    told = cluster.run("gnt-storage", "diagnose").stdout
    assert told.count("status: valid (path: /usr/share/ganeti/extstorage/gluster)") == 3
    assert "invalid" not in told
    told = cluster.run("gnt-storage", "info", "gluster").stdout
    for name in ("volume", "host", "port", "preallocation"):
        assert "%s: " % name in told


def test_stock_ganeti_3_1_is_not_given_a_uri_that_it_cannot_use(
    cluster: Cluster, nothing_registered: None
) -> None:
    if cluster.testbed.suite == "bookworm":
        pytest.skip("Ganeti 3.0 hands QEMU the URI as it is")
    told = add(cluster, "userspace", "--no-install", fail=True)
    assert "set access=kernelspace for the disk" in told
    assert images(cluster) == []


def test_the_life_of_a_virtual_machine(cluster: Cluster, nothing_registered: None) -> None:
    access = "userspace" if cluster.testbed.suite == "bookworm" else "kernelspace"
    if access == "userspace":
        add(cluster, access, "--no-install")
        (image,) = images(cluster)
        cluster.run("/usr/bin/python3", "-c", FILL, image, str(SIZE))
    else:
        add(cluster, access)
        (image,) = images(cluster)
    done = cluster.run("gnt-gluster", "volume", "status", "--json", "gv0")
    assert [volume["provisioned"] for volume in json.loads(done.stdout)] == [SIZE]
    (disk,) = cluster.disk_info(NAME)
    assert (disk["path"], disk["size"], disk["configured_size"]) == (image, SIZE, SIZE)
    done = cluster.run("gnt-gluster", "pool", "destroy", "--force", "gv0", fail=True)
    assert "volume gv0 has disks of instances: %s" % NAME in done.stderr
    boot = cluster.boot(NAME, "node1")
    try:
        cluster.run("gnt-instance", "start", NAME, max_seconds=60)
        boot.wait(lambda events: guest.last_acknowledged(events) > 3, 60, "records")

        boot.follow_to(cluster.testbed.node("node2"))
        cluster.run("gnt-instance", "migrate", "-f", "-n", "node2", NAME, max_seconds=120)
        before = guest.last_acknowledged(boot.events())
        boot.wait(lambda events: guest.last_acknowledged(events) > before, 30, "more records")
        boot.check()

        cluster.run("gnt-instance", "grow-disk", NAME, "0", "64M", max_seconds=60)
        boot.wait(
            lambda events: events[-1].size == SIZE + 64 * MIB, 15, "the guest sees its disk grown"
        )

        # What was on the disk at one instant; in kernelspace, when it was stopped.
        how = ("--noshutdown",) if access == "userspace" else ()
        with certificates_accepted(cluster, "node2", "node3"):
            export = ("gnt-backup", "export", *how, "-n", "node3", NAME)
            backup = cluster.run(*export, max_seconds=120)
        assert "Could not snapshot" not in backup.stdout + backup.stderr
        assert images(cluster) == [image]
        status = cluster.run("gnt-instance", "list", "--no-headers", "-o", "status", NAME)
        assert status.stdout == "running\n"
        assert records(cluster, EXPORT, node="node3") >= before
    finally:
        boot.close()
        cluster.remove(NAME)
        cluster.run("rm", "-rf", EXPORT, node="node3")
    wait_for(lambda: images(cluster) == [], 15, "its image is removed")
    assert set(cluster.exports().values()) == {""}
