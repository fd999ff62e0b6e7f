"""Nodes and pools that are not one, and a volume that is as bad as a volume can be.

As in test_verify: what is found is what was broken, and is gone after the repair,
which is the remedy that the finding names wherever that is a command.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testbedlib import wait_for

from .conftest import Cluster, package
from .faults import Fault, Found, broken, expect, settle

pytestmark = pytest.mark.slow

BRICK = "/srv/gluster/brick1/gv0"
GLUSTERD = "/var/lib/glusterd"
# systemd starts it a few times an hour, and no more.
START = "systemctl reset-failed glusterd; systemctl start glusterd"
STOP = "systemctl stop glusterd"

NAME = "vm-bad"
BAD_BRICK = "/srv/gluster/brick1/bad"
BAD_DISK = "/srv/bricks/bad.img"
MOUNT = "/mnt/bad"
SHAPE: Found = {("ERROR", "VOLUME_SHAPE", "bad")}


def shell(cluster: Cluster, script: str, *, node: str = "node1") -> str:
    return cluster.run("sh", "-ec", script, node=node, max_seconds=60).stdout


@pytest.fixture(scope="module", autouse=True)
def settled(cluster: Cluster) -> None:
    settle(cluster)


def test_nodes_that_do_not_tell_or_refuse(cluster: Cluster) -> None:
    method, module = "_SnapshotsReady", "/usr/share/ganeti/default/ganeti/masterd/instance.py"
    daemon = "/usr/lib/ganeti/daemon-util %s ganeti-noded"
    faults = [
        Fault(
            "node1",
            "sed -i 's/%s/XX/' %s" % (method, module),
            "sed -i 's/XX/%s/' %s" % (method, module),
            {("ERROR", "PLUGIN_REFUSED", "node1")},
        ),
        Fault(
            "node2",
            "apt-get purge -y -q ganeti-gluster",
            "dpkg -i /src/build/%s" % package().name,
            {("ERROR", "PLUGIN_ABSENT", "node2")},
        ),
        Fault(
            "node3",
            daemon % "stop",
            daemon % "start",
            {("WARNING", "NODE_SILENT", "node3")},
        ),
    ]
    with broken(cluster, faults) as wanted:
        said = {each["code"]: each["text"] for each in expect(cluster, wanted)}
        assert said["PLUGIN_ABSENT"] == "it has no command gluster-verify-node"
        assert said["NODE_SILENT"].startswith("no connection; is the node up, and is ganeti-noded")


def test_releases_that_differ_and_a_pool_that_was_not_raised(cluster: Cluster) -> None:
    binary, info = "/usr/sbin/glusterfsd", GLUSTERD + "/glusterd.info"
    everywhere: list[tuple[str, str]] = [(node, STOP) for node in cluster.nodes]
    lower = "sed -i 's/^operating-version=.*/operating-version=100000/' %s; %s" % (info, START)
    everywhere += [(node, lower) for node in cluster.nodes]
    for node, script in everywhere:
        shell(cluster, script, node=node)
    other = Fault(
        "node3",
        "sed -i 's/11\\.1/11.9/g' %s" % binary,
        "sed -i 's/11\\.9/11.1/g' %s" % binary,
        {("WARNING", "OP_VERSION_MIXED", "node3")},
    )
    low = ("WARNING", "OP_VERSION_LOW", "node1, node2, node3")
    with broken(cluster, [other], usual={low}) as wanted:
        said = expect(cluster, wanted)
    (remedy,) = {each["remedy"] for each in said if each["code"] == low[1]}
    shell(cluster, remedy.partition(": ")[2])
    expect(cluster, set())


def of_peers(code: str, *nodes: str) -> Found:
    severity = "WARNING" if code == "PEER_STATE" else "ERROR"
    return {(severity, code, node) for node in nodes}


def test_a_node_whose_volume_differs(cluster: Cluster) -> None:
    different = "sed -i s/^network.ping-timeout=.*/network.ping-timeout=21/ %s/vols/gv0/info"
    shell(cluster, "; ".join((STOP, different % GLUSTERD, START)), node="node3")
    # Its brick stops, since it is alone now.
    wanted: Found = {
        ("ERROR", "BRICK_DOWN", "node3:" + BRICK),
        ("ERROR", "VOLUME_CONFIG", "node3"),
    }
    said = expect(cluster, {*wanted, *of_peers("PEER_REJECTED", *cluster.nodes)})
    (found,) = (each for each in said if each["code"] == "VOLUME_CONFIG")
    assert found["text"] == "its configuration of volume gv0 differs from that on node1, node2"
    # What it says, word for word.
    command = found["remedy"].removeprefix("on the node: ").partition(". It copies")[0]
    shell(cluster, command, node="node3")
    expect(cluster, set())
    shell(cluster, "rm -r /root/vols.old", node="node3")


@pytest.mark.parametrize(
    ("damage", "lacks"),
    [
        # As kill -9 leaves it while a brick is replaced, and while a volume comes to a node.
        ("rm vols/gv0/bricks/node1:*", "vols/gv0/bricks/node1:-srv-gluster-brick1-gv0"),
        (": > vols/gv0/info", "vols/gv0/info"),
        ("cd peers; : > $(grep -l =node1$ *)", "peers/%s"),
    ],
)
def test_a_glusterd_that_lacks_files(cluster: Cluster, damage: str, lacks: str) -> None:
    uuid = shell(cluster, "sed -n s/^UUID=//p %s/glusterd.info" % GLUSTERD).strip()
    script = "%s; cd %s; %s; systemctl reset-failed glusterd; ! systemctl start glusterd"
    shell(cluster, script % (STOP, GLUSTERD, damage), node="node3")
    wanted: Found = {
        ("ERROR", "GLUSTERD_FILES", "node3"),
        ("ERROR", "PEER_DISCONNECTED", "node1"),
        ("ERROR", "PEER_DISCONNECTED", "node2"),
    }
    said = expect(cluster, {*wanted, ("ERROR", "BRICK_DOWN", "node3:" + BRICK)})
    (found,) = (each for each in said if each["code"] == "GLUSTERD_FILES")
    assert found["text"] == "empty or missing in /var/lib/glusterd: " + lacks.replace("%s", uuid)
    # What it says, word for word.
    command = found["remedy"].partition(": ")[2].partition(". It copies")[0]
    shell(cluster, command, node="node3")
    expect(cluster, set())
    shell(cluster, "rm -r /root/glusterd.old", node="node3")


def test_a_node_that_was_installed_anew(cluster: Cluster) -> None:
    old = shell(cluster, "sed -n s/^UUID=//p %s/glusterd.info" % GLUSTERD, node="node3").strip()
    down: Found = {("ERROR", "BRICK_DOWN", "node3:" + BRICK)}
    new = "%s; rm -rf %s.old; mv %s %s.old; %s" % (STOP, GLUSTERD, GLUSTERD, GLUSTERD, START)
    shell(cluster, new, node="node3")
    outside = ("WARNING", "NODE_OUTSIDE_POOL", "node3")
    said = expect(cluster, {outside, *down, *of_peers("PEER_REJECTED", "node1", "node2")})
    (text,) = (each["text"] for each in said if each["code"] == outside[1])
    assert text.endswith("by UUID %s" % old)
    shell(
        cluster,
        "%s; sed -i s/^UUID=.*/UUID=%s/ %s/glusterd.info; %s" % (STOP, old, GLUSTERD, START),
        node="node3",
    )
    # Only who is asked once it has found node3 again leaves it half a peer.
    for name in ("node1", "node2"):
        wait_for(lambda name=name: has_found(cluster, name, "node3"), 60, "%s found it" % name)
    shell(cluster, "gluster peer probe node1", node="node3")
    half = of_peers("PEER_STATE", "node1", "node3")
    expect(cluster, {*half, *down, *of_peers("PEER_REJECTED", "node2")})
    shell(cluster, "%s; %s" % (STOP, START), node="node3")
    expect(cluster, set())


def has_found(cluster: Cluster, name: str, peer: str) -> bool:
    """Whether glusterd of a node is connected to that of another."""
    pool = shell(cluster, "gluster pool list", node=name)
    return any(line.split()[1:] == [peer, "Connected"] for line in pool.splitlines())


def on_volume(*words: str) -> str:
    return "gluster --mode=script volume %s" % " ".join(words)


def kill(kind: str) -> str:
    return "kill -9 $(cat /var/run/gluster/%s/*.pid)" % kind


RESTART = on_volume("start", "bad", "force")


@pytest.fixture
def bad(cluster: Cluster) -> Iterator[str]:
    """A volume of two copies, one on a disk of its own, and the image of an instance on it."""
    shell(
        cluster,
        "mkdir -p %s; truncate -s 1G %s; mkfs.xfs -q %s; mount -o loop %s %s"
        % (BAD_BRICK, BAD_DISK, BAD_DISK, BAD_DISK, BAD_BRICK),
        node="node2",
    )
    cluster.testbed.make_volume("bad", ["node1", "node2"])
    cluster.run(
        *("gnt-instance", "add", "-t", "ext", "-o", "guest+default", "--no-start"),
        *("--disk", r"0:size=256M,provider=gluster,volume=bad,host=node1\,node2"),
        *("-B", "minmem=128,maxmem=128,vcpus=1", "--net", "0:mode=bridged"),
        *("--no-name-check", "--no-ip-check", "-n", "node1", NAME),
        max_seconds=120,
    )
    shell(cluster, "mkdir -p %s; mount -t glusterfs node1:/bad %s" % (MOUNT, MOUNT))
    yield shell(cluster, "cd %s; find ganeti-ext -type f" % MOUNT).strip()
    shell(cluster, "umount %s" % MOUNT)
    cluster.remove(NAME)
    cluster.run("gluster", "--mode=script", "volume", "stop", "bad", "force")
    cluster.run("gluster", "--mode=script", "volume", "delete", "bad")
    shell(cluster, "rm -rf %s" % BAD_BRICK)
    shell(cluster, "umount %s; rm -rf %s %s" % (BAD_BRICK, BAD_BRICK, BAD_DISK), node="node2")
    expect(cluster, set())


def test_a_bad_volume(cluster: Cluster, bad: str) -> None:
    """One fault after the other; that nothing else is found is that the last is repaired."""
    lost_image_and_healer(cluster, bad)
    brick_without_its_disk(cluster)
    split_brain(cluster, bad)
    shell(cluster, on_volume("set", "bad", "features.shard", "off"))
    expect(cluster, {*SHAPE, ("ERROR", "SHARD_OFF", "bad"), ("ERROR", "IMAGE_SIZE", bad)})
    shell(cluster, on_volume("set", "bad", "features.shard", "on"))
    expect(cluster, SHAPE)


def lost_image_and_healer(cluster: Cluster, image: str) -> None:
    shell(cluster, "rm %s/%s" % (MOUNT, image))
    shell(cluster, kill("shd/gv0"), node="node2")
    faults = {("ERROR", "IMAGE_MISSING", image), ("ERROR", "HEAL_DAEMON_DOWN", "node2")}
    said = {each["code"]: each["text"] for each in expect(cluster, {*SHAPE, *faults})}
    assert said["IMAGE_MISSING"] == "%s disk/0 is not on volume bad" % NAME
    # Ganeti leaves the disk on its node, as a block device of the kernel.
    shell(
        cluster, "gnt-instance recreate-disks %s; gnt-instance deactivate-disks %s" % (NAME, NAME)
    )
    shell(cluster, "%s; %s" % (on_volume("start", "gv0", "force"), RESTART))


def brick_without_its_disk(cluster: Cluster) -> None:
    brick = "node2:" + BAD_BRICK
    down: Found = {*SHAPE, ("ERROR", "BRICK_DOWN", brick)}
    shell(
        cluster,
        "%s; sleep 1; mount -o remount,ro %s" % (kill("vols/bad"), BAD_BRICK),
        node="node2",
    )
    tag = "gluster:pool:bad:dir:/srv/gluster/brick1"
    cluster.run("gnt-cluster", "add-tags", tag)
    said = expect(cluster, {*down, ("ERROR", "BRICK_READ_ONLY", brick)})
    cluster.run("gnt-cluster", "remove-tags", tag)
    (text,) = (each["text"] for each in said if each["code"] == "BRICK_DOWN")
    assert text.endswith("spare: node3")
    shell(cluster, "umount %s" % BAD_BRICK, node="node2")
    expect(cluster, {*down, ("ERROR", "BRICK_NOT_MOUNTED", brick)})
    mount = "mount -o loop %s %s" % (BAD_DISK, BAD_BRICK)
    shell(cluster, "%s; xfs_io -x -c shutdown %s" % (mount, BAD_BRICK), node="node2")
    expect(cluster, {*down, ("ERROR", "BRICK_UNREADABLE", brick)})
    shell(cluster, "umount %s; %s" % (BAD_BRICK, mount), node="node2")
    shell(cluster, RESTART)
    expect(cluster, SHAPE)


def split_brain(cluster: Cluster, image: str) -> None:
    """Each brick gets what the other does not: in the image's first piece and its second."""

    def write() -> None:
        for piece in ("0", "100"):
            wait_for(
                lambda piece=piece: (
                    cluster.testbed.exec(
                        "node1",
                        [
                            *("dd", "if=/dev/urandom", "of=%s/%s" % (MOUNT, image), "bs=1M"),
                            *("count=1", "seek=%s" % piece, "conv=notrunc,fsync"),
                        ],
                    ).exit_code
                    == 0
                ),
                30,
                "the brick that is left takes a write",
            )

    write()
    options = ("cluster.quorum-type", "none", "cluster.self-heal-daemon", "off")
    shell(cluster, on_volume("set", "bad", *options))
    for node in ("node1", "node2"):
        shell(cluster, kill("vols/bad"), node=node)
        write()
        shell(cluster, RESTART)
        cluster.testbed.wait_volume("bad")
    shell(cluster, on_volume("set", "bad", "cluster.self-heal-daemon", "on"))
    dangerous = ("ERROR", "OPTION_DANGEROUS", "bad")
    said = expect(cluster, {*SHAPE, dangerous, ("ERROR", "SPLIT_BRAIN", image)})
    (text,) = (each["text"] for each in said if each["code"] == "SPLIT_BRAIN")
    assert "%s disk/0 cannot be used" % NAME in text
    shell(cluster, on_volume("heal", "bad", "split-brain", "source-brick", "node1:" + BAD_BRICK))
    shell(cluster, on_volume("set", "bad", "cluster.quorum-type", "auto"))
