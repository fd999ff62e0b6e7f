"""Each finding is produced by its fault, and is gone after the repair.

Many faults at once, since a look at the cluster is what takes time; what is found
must be exactly what was broken.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from .conftest import Cluster
from .faults import Fault, Found, broken, expect, settle

NAME = "vm-verify"
INSTALLED = "/usr/lib/python3/dist-packages/ganeti_gluster"
MOUNT = "/mnt/gv0"
BRICK = "/srv/gluster/brick1/gv0"
SERVER = "/usr/lib/ganeti-gluster/image-server"
OLD = "5 days ago"


@pytest.fixture(scope="module")
def image(cluster: Cluster) -> Iterator[str]:
    """An instance's image, and the volume mounted on the master."""
    # Other tests kill guests and bricks, and what those wrote last takes minutes to heal.
    settle(cluster)
    path = cluster.add(NAME, start=False)
    cluster.run("sh", "-c", "mkdir -p %s && mount -t glusterfs node1:/gv0 %s" % (MOUNT, MOUNT))
    yield path
    cluster.run("umount", MOUNT)
    cluster.remove(NAME)


def of_nodes() -> list[Fault]:
    """Faults of single nodes that leave the volume working."""
    return [
        Fault(
            "node2",
            "gnt-gluster plugin disable",
            "gnt-gluster plugin enable",
            {("ERROR", "PLUGIN_OFF", "node2")},
        ),
        Fault(
            "node3",
            "sed -i 's/^SUPPORTED_GANETI = .*/SUPPORTED_GANETI = ((9, 9),)/' %s/constants/"
            "__init__.py" % INSTALLED,
            "sed -i 's/^SUPPORTED_GANETI = .*/SUPPORTED_GANETI = ((3, 0), (3, 1))/' %s/constants/"
            "__init__.py" % INSTALLED,
            {("ERROR", "GANETI_UNSUPPORTED", "node3")},
        ),
        Fault(
            "node2",
            "sed -i 's/^__version__ = .*/__version__ = \"9.9\"/' %s/__init__.py" % INSTALLED,
            "sed -i 's/^__version__ = .*/__version__ = \"0.1.0\"/' %s/__init__.py" % INSTALLED,
            {("WARNING", "PLUGIN_VERSION", "node2"), ("WARNING", "NODED_STALE", "node2")},
        ),
        Fault(
            "node3",
            'sed -i \'s/"pid": /"pid": 1/\' /run/ganeti-gluster/noded.json',
            'sed -i \'s/"pid": 1/"pid": /\' /run/ganeti-gluster/noded.json',
            {("WARNING", "NODED_STALE", "node3")},
        ),
        Fault(
            "node2",
            "mv %s /root" % SERVER,
            "mv /root/image-server %s" % SERVER,
            {("ERROR", "SERVER_BROKEN", "node2")},
        ),
        Fault(
            "node3",
            "systemctl stop glusterd",
            "systemctl start glusterd",
            {
                ("ERROR", "GLUSTERD_DOWN", "node3"),
                ("ERROR", "PEER_DISCONNECTED", "node1"),
                ("ERROR", "PEER_DISCONNECTED", "node2"),
            },
        ),
        Fault(
            "node3",
            "touch /var/lib/glusterd/secure-access",
            "rm /var/lib/glusterd/secure-access",
            {
                ("ERROR", "TLS_FILES", "node3"),
                ("ERROR", "TLS_INCONSISTENT", "node1, node2"),
                ("ERROR", "VOLUME_UNREACHABLE", "node3"),  # its libgfapi wants TLS now
            },
        ),
        Fault(
            "node1",
            "mkdir -p /run/ganeti-gluster/exports; touch /run/ganeti-gluster/exports/gv0-1.x",
            "rm /run/ganeti-gluster/exports/gv0-1.x",
            {("WARNING", "EXPORT_STALE", "node1")},
        ),
        Fault(
            "node1",
            "fallocate -l 7800M %s/../fill" % BRICK,
            "rm %s/../fill" % BRICK,
            {("ERROR", "BRICK_FULL", "node1:%s" % BRICK)},
        ),
    ]


def of_volume() -> list[Fault]:
    """A dead brick, and options that somebody changed."""
    volume_set = "gluster --mode=script volume set gv0 "
    return [
        Fault(
            "node1",
            volume_set + "network.ping-timeout 3 performance.read-ahead on",
            volume_set + "network.ping-timeout 20 performance.read-ahead off",
            {("ERROR", "OPTION_DANGEROUS", "gv0"), ("WARNING", "OPTION_DIFFERS", "gv0")},
        ),
        Fault(
            "node2",
            "kill -9 $(cat /var/run/gluster/vols/gv0/*.pid)",
            "gluster volume start gv0 force",
            {
                ("ERROR", "BRICK_DOWN", "node2:%s" % BRICK),
                # what happens to the images meanwhile
                ("WARNING", "HEAL_BACKLOG", "node1:%s" % BRICK),
                ("WARNING", "HEAL_BACKLOG", "node3:%s" % BRICK),
            },
        ),
    ]


def leftovers(image: str) -> list[str]:
    """What copies and restorations leave beside an image that are killed."""
    return [image + mark for mark in (".partial", ".restored", ".replaced")]


def of_images(image: str) -> list[Fault]:
    """Images that are not as the configuration says, and such that it does not know."""
    orphan = "ganeti/00000000-0000-0000-0000-000000000000.0"
    left = leftovers(image)
    return [
        Fault(
            "node1",
            "cd %s; chown 7 %s; chmod 644 %s; truncate -s 2G %s" % (MOUNT, *[image] * 3),
            "cd %s; chown 0 %s; chmod 600 %s; truncate -s 1G %s" % (MOUNT, *[image] * 3),
            {
                ("WARNING", "IMAGE_OWNER", image),
                ("WARNING", "IMAGE_MODE", image),
                ("WARNING", "IMAGE_SIZE", image),
            },
        ),
        Fault(
            "node1",
            "cd %s; for f in %s %s; do truncate -s 1M $f; touch -d '%s' $f; done;"
            " touch ganeti/new; touch \"$(printf 'ganeti/\\377')\""
            % (MOUNT, orphan, " ".join(left), OLD),
            "cd %s; rm -f %s %s ganeti/new \"$(printf 'ganeti/\\377')\""
            % (MOUNT, orphan, " ".join(left)),
            {
                ("WARNING", "IMAGE_ORPHAN", orphan),
                *(("WARNING", "LEFTOVER", path) for path in left),
                ("WARNING", "NAME_UNREADABLE", "gv0"),
            },
        ),
    ]


def assert_under_ganeti(cluster: Cluster, wanted: Found) -> None:
    """The same by Ganeti's own command: a line each, in its form for programs."""
    done = cluster.run("gnt-cluster", "verify", "--error-codes", fail=True, max_seconds=180)
    for severity, code, _ in wanted:
        assert "  - %s:%s:node:node" % (severity, code) in done.stdout


def test_a_warning_does_not_fail_and_orphans_are_removed_when_asked(
    cluster: Cluster, image: str
) -> None:
    command = ("gnt-gluster", "disk", "remove-orphans")
    orphan = "ganeti/00000000-0000-0000-0000-000000000000.0"
    before = set(cluster.images())
    with broken(cluster, of_images(image)[1:]):
        done = cluster.run("gnt-cluster", "verify", max_seconds=180)
        assert "WARNING: node node1: IMAGE_ORPHAN: %s: " % orphan in done.stdout
        shown = json.loads(cluster.run(*command, "--dry-run", "--json").stdout)
        left = leftovers(image)
        wanted = {(orphan, "orphan"), *((path, "leftover") for path in left)}
        assert {(row["path"], row["kind"]) for row in shown} == wanted
        done = cluster.run(*command, stdin=b"n\n", fail=True)
        assert orphan in done.stdout
        assert set(cluster.images()) == before | {orphan, *left, "ganeti/new"}
        done = cluster.run(*command, "-f")
        assert "1 more belong to no instance" in done.stderr
        assert set(cluster.images()) == before | {"ganeti/new"}


@pytest.mark.slow
def test_a_healthy_cluster_gives_no_output(cluster: Cluster, image: str) -> None:
    done = cluster.run("gnt-gluster", "verify", max_seconds=180)
    assert done.stdout + done.stderr == ""
    text = cluster.run("gnt-cluster", "verify", max_seconds=180).stdout
    assert text.rstrip().endswith("* Hooks Results")


@pytest.mark.slow
def test_each_fault_is_found_and_nothing_else(cluster: Cluster, image: str) -> None:
    with broken(cluster, of_nodes()) as wanted:
        expect(cluster, wanted)
        cluster.run("gnt-gluster", "verify", "--local", fail=1, node="node2")
        assert_under_ganeti(cluster, wanted)
    with broken(cluster, of_volume() + of_images(image)) as wanted:
        expect(cluster, wanted)
        assert_under_ganeti(cluster, wanted)


@pytest.mark.slow
def test_without_the_plugin_in_the_job_ganeti_shows_what_the_hook_says(
    cluster: Cluster, image: str
) -> None:
    cluster.run("gnt-gluster", "plugin", "disable")
    try:
        done = cluster.run("gnt-cluster", "verify", fail=True, max_seconds=180)
        assert "PLUGIN_OFF: node1: switched off by" in done.stdout
    finally:
        cluster.run("gnt-gluster", "plugin", "enable")


def unreachable(cluster: Cluster) -> Found:
    """What each node says when a volume cannot be used, and the master of its images."""
    nodes = {("ERROR", "VOLUME_UNREACHABLE", node) for node in cluster.nodes}
    return {*nodes, ("WARNING", "NOT_CHECKED", "cluster1")}


@pytest.mark.slow
def test_a_volume_that_is_stopped_missing_or_without_quorum(cluster: Cluster, image: str) -> None:
    kill = "kill -9 $(cat /var/run/gluster/vols/gv0/*.pid)"
    start = "gluster volume start gv0 force"
    stopped = Fault(
        "node1",
        "gluster --mode=script volume stop gv0",
        start,
        {("ERROR", "VOLUME_STOPPED", "gv0"), *unreachable(cluster)},
    )
    missing = Fault(
        "node1",
        # It is refused while the plugin is there.
        "gnt-gluster plugin disable; gnt-cluster modify -D gluster:volume=gone;"
        " gnt-gluster plugin enable",
        "gnt-cluster modify -D gluster:volume=gv0",
        {("ERROR", "VOLUME_MISSING", "gone"), *unreachable(cluster)},
    )
    with broken(cluster, [stopped]) as wanted:
        expect(cluster, wanted)
    with broken(cluster, [missing]) as wanted:
        expect(cluster, wanted)
    no_quorum = [Fault(node, kill, start, set()) for node in ("node2", "node3")]
    with broken(cluster, no_quorum):
        wanted = {
            *unreachable(cluster),
            ("ERROR", "BRICK_DOWN", "node2:%s" % BRICK),
            ("ERROR", "BRICK_DOWN", "node3:%s" % BRICK),
            ("ERROR", "VOLUME_NO_QUORUM", "gv0"),
        }
        expect(cluster, wanted)
