"""A pool under TLS: switched on and off while a guest writes, and its certificates renewed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demolib import guest
from demolib.console import Boot
from testbedlib import CompletedCommand, wait_for

from . import faults
from .conftest import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.one_suite]

NAME = "vm1"
#: A certificate of the pool's authority for node2's key that ends in five days.
SHORT = """
cd /var/lib/ganeti-gluster
ssh -o BatchMode=yes node2 openssl req -new -key /etc/ssl/glusterfs.key -subj /CN=node2 |
  openssl x509 -req -days 5 -CA tls-authority.pem -CAkey tls-authority.key -set_serial 0x77 |
  ssh -o BatchMode=yes node2 'cat >/etc/ssl/glusterfs.pem'
"""
#: Which files of the pool's certificates users other than root can read.
READABLE = "find /etc/ssl/glusterfs.* /var/lib/ganeti-gluster/tls-* -perm /077 -name '*key*'"


def tls(cluster: Cluster, *words: str) -> CompletedCommand:
    return cluster.run("gnt-gluster", "pool", *words, "gv0", max_seconds=600)


@pytest.fixture
def encrypted(cluster: Cluster) -> Iterator[Boot]:
    """A guest on node1 that writes while the pool comes under TLS, which it has in the block."""
    boot = cluster.boot(NAME, "node1")
    cluster.add(NAME)
    try:
        boot.wait(lambda events: guest.last_acknowledged(events) > 5, 90, "records")
        tls(cluster, "modify", "--yes", "--tls=on")
        go_on(boot)
        yield boot
    finally:
        cluster.remove(NAME)
        boot.close()
        tls(cluster, "modify", "--yes", "--tls=off")
        cluster.everywhere("sh", "-c", "rm -f /etc/ssl/glusterfs.* /usr/lib/ssl/glusterfs.*")
        cluster.everywhere("sh", "-c", "rm -f /var/lib/ganeti-gluster/tls-authority.*")


def go_on(boot: Boot) -> None:
    """The guest writes further records, and has lost none."""
    before = guest.last_acknowledged(boot.events())
    boot.wait(lambda events: guest.last_acknowledged(events) > before + 2, 120, "more records")
    guest.check_unbroken(boot.events())


def brick_port(cluster: Cluster) -> str:
    """Where node2's brick listens."""
    done = cluster.run("sh", "-c", "ss -Htlnp | grep glusterfsd", node="node2")
    return done.stdout.split()[3].rpartition(":")[2]


def shown(cluster: Cluster, port: str) -> str:
    """What a TLS connection to a port of node2 shows of its certificate."""
    command = "openssl s_client -connect node2:%s </dev/null 2>&1 || true" % port
    return cluster.run("sh", "-c", command).stdout


def test_a_guest_writes_while_tls_comes_is_renewed_and_goes(
    cluster: Cluster, encrypted: Boot
) -> None:
    boot = encrypted
    for port in ("24007", brick_port(cluster)):
        assert "CN=node2" in shown(cluster, port).replace(" ", "")
    for node in cluster.nodes:
        assert cluster.run("sh", "-c", READABLE, node=node).stdout == ""
    faults.expect(cluster, set())
    again = tls(cluster, "modify", "--yes", "--tls=on")
    assert "glusterd and bricks of all nodes restarted with TLS: already done" in again.stdout

    # An image's server dies, a snapshot is taken, the guest moves.
    cluster.run("pkill", "-9", "-x", "image-server")
    go_on(boot)
    cluster.run("gnt-gluster", "disk", "snapshot", "--name=s1", NAME, max_seconds=180)
    cluster.run("gnt-gluster", "disk", "remove-snapshot", "-f", NAME, "s1", max_seconds=60)
    boot.close()
    moved = cluster.boot(NAME, "node2")
    cluster.run("gnt-instance", "migrate", "-f", "-n", "node2", NAME, max_seconds=180)
    try:
        go_on(moved)
        cluster.run("sh", "-ec", SHORT)
        faults.expect(cluster, {("ERROR", "TLS_EXPIRES", "node2")})
        done = tls(cluster, "renew-certificates", "--yes")
        assert "node2: glusterd, bricks and image servers use the certificate: done" in done.stdout
        go_on(moved)
        faults.expect(cluster, set())
        cluster.run("sh", "-c", "openssl genrsa 2048 >/etc/ssl/glusterfs.key", node="node3")
        wait_for(
            lambda: (
                ("TLS_CERTIFICATE", "node3")
                in [(each["code"], each["object"]) for each in faults.look(cluster)]
            ),
            60,
            "the wrong key is found",
        )
        tls(cluster, "modify", "--yes", "--tls=on")
        faults.expect(cluster, set())
        tls(cluster, "modify", "--yes", "--tls=off")
        go_on(moved)
        assert "CN=node2" not in shown(cluster, "24007").replace(" ", "")
    finally:
        moved.close()
