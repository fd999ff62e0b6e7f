"""Gluster's own traffic under TLS, as doc/security.rst switches it on: guests run as ever."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demolib import guest
from testbedlib import wait_for

from . import faults
from .conftest import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.one_suite]

NAME = "vm1"
#: An authority of the cluster's own, and for each node a key and a certificate of its name.
CERTIFICATES = """
cd /root && rm -rf tls && mkdir tls && cd tls
openssl req -x509 -newkey rsa:2048 -nodes -days 10 -subj /CN=authority -keyout ca.key -out ca.pem
for node in node1 node2 node3; do
  openssl req -newkey rsa:2048 -nodes -subj /CN=$node -keyout $node.key -out $node.csr
  openssl x509 -req -in $node.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 10 -out $node.pem
done
"""
#: Debian 13's GlusterFS looks into the one directory, Debian 12's into the other.
DIRECTORIES = ("/etc/ssl", "/usr/lib/ssl")
SECURE = "/var/lib/glusterd/secure-access"


def restart_glusterd(cluster: Cluster) -> None:
    """All at once, since one that encrypts and one that does not are strangers."""
    cluster.everywhere("systemctl", "restart", "glusterd")
    for node in cluster.nodes:
        wait_for(lambda node=node: sees_all(cluster, node), 60, "%s sees all others" % node)


def sees_all(cluster: Cluster, node: str) -> bool:
    done = cluster.testbed.exec(node, ["gluster", "pool", "list"], timeout=30)
    return done.stdout.count("Connected") == len(cluster.nodes)


@pytest.fixture
def encrypted(cluster: Cluster) -> Iterator[None]:
    """The volume, and the management of the pool, under TLS in the block."""
    run = cluster.run
    run("sh", "-ec", CERTIFICATES, max_seconds=60)
    for node in cluster.nodes:
        for name in ("%s.pem" % node, "%s.key" % node, "ca.pem"):
            text = run("cat", "/root/tls/" + name).stdout
            kind = "ca" if name == "ca.pem" else name.rpartition(".")[2]
            for directory in DIRECTORIES:
                run(
                    *("sh", "-ec", 'umask 077; printf %s "$2" >"$1"', "sh"),
                    *("%s/glusterfs.%s" % (directory, kind), text),
                    node=node,
                )
    gluster = ("gluster", "--mode=script", "volume")
    options = {"client.ssl": "on", "server.ssl": "on", "auth.ssl-allow": "node1,node2,node3"}
    run(*gluster, "stop", "gv0", max_seconds=60)
    try:
        for option, value in options.items():
            run(*gluster, "set", "gv0", option, value, max_seconds=60)
        cluster.everywhere("touch", SECURE)
        restart_glusterd(cluster)
        run(*gluster, "start", "gv0", max_seconds=60)
        cluster.testbed.wait_volume()
        yield
        run(*gluster, "stop", "gv0", max_seconds=60)
    finally:
        for option in options:
            run(*gluster, "reset", "gv0", option, max_seconds=60)
        cluster.everywhere("rm", "-f", SECURE)
        restart_glusterd(cluster)
        run(*gluster, "start", "gv0", max_seconds=60)
        cluster.testbed.wait_volume()
        for directory in DIRECTORIES:
            for kind in ("pem", "key", "ca"):
                cluster.everywhere("rm", "-f", "%s/glusterfs.%s" % (directory, kind))
        run("rm", "-rf", "/root/tls")


def test_a_guest_runs_moves_and_survives_its_server_under_tls(
    cluster: Cluster, encrypted: None
) -> None:
    boot = cluster.boot(NAME, "node1")
    cluster.add(NAME)
    try:
        boot.wait(lambda events: guest.last_acknowledged(events) > 5, 90, "records")
        port = brick_port(cluster)
        told = cluster.run(
            "sh", "-c", "openssl s_client -connect node2:%s </dev/null 2>&1 || true" % port
        )
        assert "CN" in told.stdout and "node2" in told.stdout
        cluster.run("pkill", "-9", "-x", "image-server")
        before = guest.last_acknowledged(boot.events())
        boot.wait(lambda events: guest.last_acknowledged(events) > before + 2, 60, "more records")
        guest.check_unbroken(boot.events())
        cluster.run("gnt-gluster", "disk", "snapshot", "--name=s1", NAME, max_seconds=180)
        cluster.run("gnt-gluster", "disk", "remove-snapshot", "-f", NAME, "s1", max_seconds=60)
        boot.close()
        boot = cluster.boot(NAME, "node2")
        cluster.run("gnt-instance", "migrate", "-f", "-n", "node2", NAME, max_seconds=180)
        assert cluster.disk_info(NAME)[0]["open_on"] == "node node2 (exclusive)"
        boot.wait(lambda events: guest.last_acknowledged(events) > before, 60, "it goes on")
        boot.close()
        faults.expect(cluster, set())
    finally:
        cluster.remove(NAME)
    assert cluster.images() == []


def brick_port(cluster: Cluster) -> str:
    """Where node2's brick listens."""
    done = cluster.run("sh", "-c", "ss -Htlnp | grep glusterfsd", node="node2")
    return done.stdout.split()[3].rpartition(":")[2]
