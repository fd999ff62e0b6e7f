"""Backup, import and conversion of instances, their bytes compared end to end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
from ganeti_gluster import image, volume
v = volume.connect(volume.VolumeSpec.from_params({"host": %r, "volume": "gv0"}))
for path in sys.argv[1:]:
    size = image.stat(v, path).size
    with v.open(path, write=True) as f:
        for offset in (0, size // 2 + 4096, size - 65536):
            seed = b"%%s %%d" %% (path.encode(), offset)
            f.pwrite(hashlib.shake_128(seed).digest(65536), offset)
""" % (SERVERS,)
DIGEST = """
import hashlib, sys
from ganeti_gluster import image, volume
v = volume.connect(volume.VolumeSpec.from_params({"host": %r, "volume": "gv0"}))
for path in sys.argv[1:]:
    size, digest = image.stat(v, path).size, hashlib.sha256()
    with v.open(path) as f:
        for offset in range(0, size, 1 << 20):
            digest.update(f.pread(1 << 20, offset))
    print(digest.hexdigest())
""" % (SERVERS,)


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
