"""Backup, import and conversion of instances, their bytes compared end to end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demolib import guest

from .conftest import SERVERS, Cluster

MIB = 1 << 20
NAME = "backup1"
PATHS = "/etc/ganeti/file-storage-paths"
EXPORT = "/var/lib/ganeti/export/%s" % NAME
FILES = "/srv/ganeti/file-storage"
SHAPE = (
    *("-B", "minmem=128,maxmem=128,vcpus=1"),
    *("--net", "0:mode=bridged", "--no-name-check", "--no-ip-check", "-n", "node1"),
)
NEW = ("-o", "guest+default", "--no-install", "--no-start")

# Data at the ends and in the middle of an image, of a seed each.
FILL = """
import hashlib, sys
from ganeti_gluster.core import image, volume
v = volume.connect(volume.VolumeSpec.from_params({"host": %r, "volume": "gv0"}))
for path in sys.argv[1:]:
    size = image.stat(v, path).size
    with v.open(path, write=True) as f:
        for offset in (0, size // 2 + 4096, size - 65536):
            seed = b"%%s %%d" %% (path.encode(), offset)
            f.pwrite(hashlib.shake_128(seed).digest(65536), offset)
""" % (SERVERS,)
MAKE = """
import sys
from ganeti_gluster.core import image, volume
v = volume.connect(volume.VolumeSpec.from_params({"host": %r, "volume": "gv0"}))
for path, size in zip(sys.argv[1::2], sys.argv[2::2]):
    image.remove(v, path)
    if int(size):
        image.create(v, path, int(size))
""" % (SERVERS,)
DIGEST = """
import hashlib, sys
from ganeti_gluster.core import image, volume
v = volume.connect(volume.VolumeSpec.from_params({"host": %r, "volume": "gv0"}))
for path in sys.argv[1:]:
    size, digest = image.stat(v, path).size, hashlib.sha256()
    with v.open(path) as f:
        for offset in range(0, size, 1 << 20):
            digest.update(f.pread(1 << 20, offset))
    print(digest.hexdigest())
""" % (SERVERS,)
HEAD = DIGEST.replace("image.stat(v, path).size", "65 << 20")


@pytest.fixture(scope="module")
def backed_up(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster with the file template, and a stopped instance with two disks of data."""
    cluster.everywhere("mkdir", "-p", FILES)
    for node in cluster.nodes:
        cluster.run(
            *("sh", "-c", "grep -qx %s F || echo %s >> F".replace("F", PATHS) % (FILES, FILES)),
            node=node,
        )
    cluster.run(
        *("gnt-cluster", "modify", "--enabled-disk-templates", "gluster,diskless,ext,file"),
        *("--ipolicy-disk-templates", "gluster,diskless,ext,file"),
        *("--file-storage-dir", FILES),
    )
    disks = ("--disk", "0:size=64M", "--disk", "1:size=33M")
    cluster.run("gnt-instance", "add", "-t", "gluster", *disks, *NEW, *SHAPE, NAME)
    try:
        python(cluster, FILL, *images(cluster))
        yield cluster
    finally:
        cluster.run("gnt-backup", "remove", NAME)
        if NAME in cluster.run("gnt-instance", "list", "--no-headers", "-o", "name").stdout:
            cluster.remove(NAME)


def python(cluster: Cluster, program: str, *args: str) -> list[str]:
    return cluster.run("/usr/bin/python3", "-c", program, *args).stdout.split()


def images(cluster: Cluster) -> list[str]:
    first = cluster.image(NAME)
    return [first, first[:-1] + "1"]


def sums(cluster: Cluster, *paths: str) -> list[str]:
    return [line.split()[0] for line in cluster.run("sha256sum", *paths).stdout.splitlines()]


def test_a_backup_holds_the_bytes_and_becomes_an_instance_again(backed_up: Cluster) -> None:
    cluster = backed_up
    before = python(cluster, DIGEST, *images(cluster))
    assert len(set(before)) == 2
    cluster.run("gnt-backup", "export", "-n", "node1", "--noshutdown", NAME, max_seconds=120)
    ini = cluster.run("grep", "disk._dump", EXPORT + "/config.ini").stdout
    dumps = [EXPORT + "/" + line.split()[-1] for line in sorted(ini.splitlines())]
    assert sums(cluster, *dumps) == before
    assert cluster.images() == images(cluster)
    assert set(cluster.exports().values()) == {""}

    cluster.remove(NAME)
    assert cluster.images() == []
    cluster.run(
        *("gnt-backup", "import", "-t", "gluster", "--src-node", "node1"),
        *("--src-dir", EXPORT, *SHAPE, NAME),
        max_seconds=120,
    )
    assert python(cluster, DIGEST, *images(cluster)) == before
    assert set(cluster.exports().values()) == {""}


def test_an_instance_changes_to_files_and_back(backed_up: Cluster) -> None:
    cluster = backed_up
    before = python(cluster, DIGEST, *images(cluster))
    modify = ("gnt-instance", "modify", "-t")
    cluster.run(*modify, "file", NAME, max_seconds=120)
    assert cluster.images() == []
    files = cluster.run("sh", "-c", "ls %s/%s/*" % (FILES, NAME)).stdout.split()
    assert sums(cluster, *sorted(files, key=lambda path: path[-1])) == before
    cluster.run(*modify, "gluster", NAME, max_seconds=120)
    assert python(cluster, DIGEST, *images(cluster)) == before
    cluster.run("test", "!", "-e", files[0])
    log = cluster.run("cat", "/var/log/ganeti/node-daemon.log").stdout
    assert "Copying image %s of volume gv0 to %s" % (images(cluster)[0], FILES) in log


def copied_by_hand(cluster: Cluster, path: str) -> list[str]:
    """The sums of a copy through a pipe and one through a file, both by command."""
    tool, file = "gnt-gluster image", "/var/tmp/web.raw"
    cluster.run("sh", "-c", "%s export gv0/%s - | %s import - gv0/mine/a" % (tool, path, tool))
    cluster.run(*tool.split(), "export", "--checksum", "gv0/" + path, file)
    done = cluster.run(*tool.split(), "export", "gv0/" + path, file, fail=True)
    assert "Failure: %s already exists; remove it or" % file in done.stderr
    done = cluster.run(*tool.split(), "import", "--bandwidth-limit=100", file, "gv0/mine/b")
    assert "Copied %s to image mine/b of volume gv0: 40 MiB, 0 MiB of data" % file in done.stderr
    cluster.run("rm", file)
    try:
        return python(cluster, DIGEST, "mine/a", "mine/b")
    finally:
        python(cluster, MAKE, "mine/a", "0", "mine/b", "0")


def test_an_image_is_adopted_with_its_size_unless_it_is_in_use(backed_up: Cluster) -> None:
    cluster = backed_up
    python(cluster, MAKE, "mine/web.img", str(40 * MIB), "mine/odd.img", str(MIB + 512))
    python(cluster, FILL, "mine/web.img")
    before = python(cluster, DIGEST, "mine/web.img")
    assert copied_by_hand(cluster, "mine/web.img") == before * 2
    add = ("gnt-instance", "add", "-t", "gluster", *NEW, *SHAPE)
    for path, reason in (
        (cluster.image(NAME), "Image %s is already a disk of this cluster" % cluster.image(NAME)),
        ("mine/none.img", "Image mine/none.img is not on the volume"),
        ("mine/odd.img", "1049088 bytes, which is not a whole number of MiB"),
        ("../x", "it has an empty, '.' or '..' component"),
    ):
        done = cluster.run(*add, "--disk", "0:adopt=%s" % path, "adopted1", fail=True)
        assert reason in done.stderr
    cluster.run(*add, "--disk", "0:adopt=mine/web.img", "adopted1")
    try:
        image = cluster.image("adopted1")
        assert python(cluster, DIGEST, image) == before
        (disk,) = cluster.disk_info("adopted1")
        assert disk["configured_size"] == disk["size"] == 40 * MIB
    finally:
        cluster.remove("adopted1")
        python(cluster, MAKE, "mine/web.img", "0", "mine/odd.img", "0")


@pytest.mark.one_suite
def test_a_running_instance_is_stopped_for_its_snapshots_alone(cluster: Cluster) -> None:
    boot = cluster.boot("backup2", "node1")
    image = cluster.add("backup2")
    before = cluster.images()
    try:
        boot.wait(lambda events: guest.last_acknowledged(events) > 5, 180, "records")
        boot.close()
        boot = cluster.boot("backup2", "node1")
        done = cluster.run("gnt-backup", "export", "-n", "node1", "backup2", max_seconds=300)
        assert "Creating a snapshot of disk/0" in done.stdout
        assert "Removing snapshot of disk/0" in done.stdout
        boot.wait(lambda events: guest.last_acknowledged(events) > 0, 180, "records again")
        assert cluster.images() == before
        assert set(cluster.exports().values()) == {""}
        export = EXPORT.replace(NAME, "backup2")
        ini = cluster.run("grep", "-E", "disk0_dump|disk_template", export + "/config.ini").stdout
        assert "disk_template = gluster" in ini
        dump = "%s/%s" % (export, ini.split("disk0_dump = ")[1].split()[0])
        # The guest never writes its boot partition.
        head = cluster.run("sh", "-c", "head -c 65M %s | sha256sum" % dump).stdout.split()[0]
        assert python(cluster, HEAD, image) == [head]
        size = cluster.run("stat", "-c", "%s", dump).stdout
        assert int(size) == 1024 * MIB
    finally:
        boot.close()
        cluster.remove("backup2")
        cluster.run("gnt-backup", "remove", "backup2")
