"""Backups and conversions have the locks of the images that they copy, whatever becomes of jobs.

Ganeti's own lock on an instance ends with the job, and what its node copies goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from testbedlib import CompletedCommand, wait_for

from .conftest import Cluster
from .test_backup import FILES, NEW, PATHS
from .test_image_lock import FILL, TELL, Slow, python, refused

pytestmark = pytest.mark.slow

NAME = "lock2"
# Not the master: jobs end with the master's processes, and the node's work does not.
NODE = "node2"
SIZE = 192
SHAPE = (
    *("-B", "minmem=128,maxmem=128,vcpus=1", "--net", "0:mode=bridged"),
    *("--no-name-check", "--no-ip-check", "-n", NODE),
)
LOG = "/var/log/ganeti/node-daemon.log"
EXPORT = "/var/lib/ganeti/export"

# Stops the first process that a command finds, and prints its number.
STOP = """
for _ in $(seq 3000); do
  pid=$(%s | head -n 1)
  if [ "$pid" ]; then kill -STOP "$pid"; echo "$pid"; exit; fi
  sleep 0.02
done
exit 1
"""
# The request of the node daemon that copies, by what it has said since a place in its log.
COPIES = "tail -c +%s " + LOG + r" | sed -n 's/.*pid=\([0-9]*\) INFO Copying.*/\1/p'"
WORK = "open on node %s for a snapshot, copy or removal (%s)"


class Job(threading.Thread):
    """A command of Ganeti's, and the process on the instance's node that copies, stopped.

    Both have ended after the block.
    """

    def __init__(self, cluster: Cluster, *argv: str, found: str = "") -> None:
        super().__init__()
        self._cluster, self._argv = cluster, argv
        self.result: CompletedCommand | None = None
        size = cluster.run("stat", "-c", "%s", LOG, node=NODE)
        self.start()
        stop = STOP % (found or COPIES % (int(size.stdout) + 1))
        self.process = cluster.run("bash", "-c", stop, node=NODE, max_seconds=90).stdout.strip()

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *exc: object) -> None:
        self._cluster.testbed.exec(NODE, ["kill", "-KILL", self.process])
        self.join(400)

    def run(self) -> None:
        self.result = self._cluster.testbed.exec("node1", self._argv, timeout=400)

    def die(self) -> None:
        """End the job, as a master that loses its power does; its work goes on."""
        self._cluster.run("pkill", "-KILL", "-f", "jqueue/exec[.]py")
        # Ganeti notices after minutes only, and the command waits for that.
        self._cluster.run("pkill", "-KILL", "-f", "gnt-[a-z]* .*[l]ock2$")
        self._cluster.restart("node1")
        self.join(60)
        assert self.result is not None and self.result.exit_code != 0, self.result

    def kill(self) -> None:
        """End the process that copies."""
        self._cluster.run("kill", "-KILL", self.process, node=NODE)

    def go_on(self) -> CompletedCommand:
        """What becomes of the command when the process goes on."""
        self._cluster.run("kill", "-CONT", self.process, node=NODE)
        self.join(400)
        assert self.result is not None
        return self.result


@pytest.fixture(scope="module")
def files(cluster: Cluster) -> Cluster:
    """The cluster, with the file template."""
    cluster.everywhere("mkdir", "-p", FILES)
    cluster.everywhere("truncate", "--size=1M", OS_IMAGE)
    for node in cluster.nodes:
        cluster.run("sh", "-c", "echo %s > %s" % (FILES, PATHS), node=node)
    cluster.run(
        *("gnt-cluster", "modify", "--enabled-disk-templates", "gluster,diskless,ext,file"),
        *("--ipolicy-disk-templates", "gluster,diskless,ext,file"),
        *("--file-storage-dir", FILES),
    )
    return cluster


def add(cluster: Cluster, *words: str) -> None:
    cluster.run(
        *("gnt-instance", "add", "--disk", "0:size=%dM" % SIZE, "--no-start", *words, *SHAPE),
        *(NAME,),
        max_seconds=120,
    )


def remove(cluster: Cluster) -> None:
    if NAME in cluster.run("gnt-instance", "list", "--no-headers", "-o", "name").stdout.split():
        cluster.run("gnt-instance", "stop", "--timeout=0", NAME, max_seconds=120)
        cluster.remove(NAME)
    cluster.run("rm", "-rf", "%s/%s" % (FILES, NAME), node=NODE)
    cluster.everywhere("sh", "-c", "rm -rf %s/%s*" % (EXPORT, NAME))


@pytest.fixture(params=["userspace", "kernelspace"])
def access(request: pytest.FixtureRequest, set_access: Callable[[str], None]) -> str:
    """How disks are reached."""
    found: str = request.param
    set_access(found)
    return found


@pytest.fixture
def image(files: Cluster, access: str) -> Iterator[str]:
    """A stopped instance whose disk is full, with a snapshot."""
    add(files, "-t", "gluster", *NEW[:3])
    path = files.image(NAME)
    python(files, FILL, path, "n", str(SIZE))
    files.run("gnt-instance", "deactivate-disks", NAME)
    files.run("gnt-gluster", "disk", "snapshot", "--name=one", NAME, max_seconds=120)
    yield path
    files.run("gnt-gluster", "disk", "remove-snapshot", "-f", NAME, "one", max_seconds=60)
    remove(files)


def starts(cluster: Cluster) -> None:
    """The instance can be started."""
    cluster.run("gnt-instance", "start", NAME, max_seconds=120)
    cluster.run("gnt-instance", "stop", "--timeout=0", NAME, max_seconds=120)


def test_an_image_that_is_converted_is_not_changed_by_others(files: Cluster, image: str) -> None:
    with Job(files, "gnt-instance", "modify", "-t", "file", NAME) as job:
        (info,) = files.disk_info(NAME)
        assert "open on " + info["open_on"] == WORK % (NODE, "shared")
        job.die()
        assert WORK % (NODE, "shared") in refused(files, "gnt-instance", "start", NAME)
        restore = ("gnt-gluster", "disk", "restore", "-f", NAME, "one")
        assert "disk/0 is open on a node" in refused(files, *restore)
        job.kill()
    starts(files)


def test_an_image_that_is_made_from_another_template_is_nobody_elses(files: Cluster) -> None:
    add(files, "-t", "file", *NEW[:3])
    try:
        (file,) = files.run("sh", "-c", "ls %s/%s/*" % (FILES, NAME), node=NODE).stdout.split()
        size = str(SIZE << 20)
        files.run("sh", "-c", "yes n | head -c %s > %s" % (size, file), node=NODE)
        convert = ("gnt-instance", "modify", "-t", "gluster", NAME)
        before = files.images()
        with Job(files, *convert) as job:
            (image,) = set(files.images()) - set(before)
            copy = ("gnt-gluster", "image", "copy", "gv0/" + image, "gv0/mine/copy")
            assert "is open on a node and may change" in refused(files, *copy)
            job.die()
            assert "is open on a node and may change" in refused(files, *copy)
            job.kill()
        files.run(*copy, max_seconds=60)
        python(files, FORGET, image, "mine/copy")

        with Job(files, *convert) as job:
            done = job.go_on()
        assert done.exit_code == 0, done.describe()
        assert python(files, SAME, files.image(NAME), size) == "True"
    finally:
        remove(files)


#: What a new disk has where there is no OS, on its node.
OS_IMAGE = "/var/tmp/os-image"
#: An OS whose scripts copy a disk, and none at all, where Ganeti copies it as it is.
SYSTEMS = {"scripts": NEW[:3], "raw": ("--os-parameters", "os-image=%s" % OS_IMAGE)}
#: The processes that copy, of each; the program has the image's lock once it has copied a third.
EXPORTS = {
    "scripts": r"pgrep -f '^d[d] if=\S* bs=1M status=none'",
    "raw": "for i in $(pgrep -f 'ganeti_gluster.core.copy.progra[m] export'); do"
    " awk '/^wchar/ && $2 > %d {print pid}' pid=$i /proc/$i/io; done" % (SIZE // 3 << 20),
}
IMPORTS = r"pgrep -f '^d[d] of=\S* bs=1M conv='"
#: What is said of the image meanwhile where an instance is to start.
REFUSALS = {"scripts": "is still in use; by dd", "raw": WORK % (NODE, "shared")}


# Without an OS it makes no difference how the disk is reached.
@pytest.mark.parametrize(
    ("access", "system"),
    [("userspace", "scripts"), ("kernelspace", "scripts"), ("userspace", "raw")],
    indirect=["access"],
)
def test_an_image_that_is_exported_is_not_changed_by_others(
    files: Cluster, access: str, system: str
) -> None:
    add(files, "-t", "gluster", *SYSTEMS[system])
    files.run("gnt-instance", "deactivate-disks", NAME)
    export = ("gnt-backup", "export", "-n", "node1", "--noshutdown", NAME)
    try:
        python(files, FILL, files.image(NAME), "n", str(SIZE))
        with Job(files, *export, found=EXPORTS[system]) as job:
            wait_for(lambda: "(shared)" in files.disk_info(NAME)[0]["open_on"], 30, "it is shared")
            job.die()
            assert REFUSALS[system] in refused(files, "gnt-instance", "start", NAME)
            job.kill()
            files.testbed.exec(NODE, ["pkill", "-KILL", "-f", "ganeti_gluster.with_[p]ath"])
        starts(files)

        with Job(files, *export, found=EXPORTS[system]) as job:
            done = job.go_on()
        assert done.exit_code == 0, done.describe()
        starts(files)
    finally:
        remove(files)


def test_an_image_that_is_imported_is_nobody_elses(files: Cluster, access: str) -> None:
    add(files, "-t", "gluster", *NEW[:3])
    try:
        python(files, FILL, files.image(NAME), "n", str(SIZE))
        export = ("gnt-backup", "export", "-n", "node3", "--noshutdown", NAME)
        files.run(*export, max_seconds=200)
        files.remove(NAME)
        source = ("--src-node", "node3", "--src-dir", "%s/%s" % (EXPORT, NAME))
        again = ("gnt-backup", "import", "-t", "gluster", *source, *SHAPE, NAME)
        with Job(files, *again, found=IMPORTS) as job:
            wait_for(lambda: files.disk_info(NAME)[0]["open_on"], 30, "it is open")
            job.die()
            refused(files, "gnt-instance", "start", NAME)
            files.run("kill", "-CONT", job.process, node=NODE)
            alive = ["kill", "-0", job.process]
            wait_for(lambda: files.testbed.exec(NODE, alive).exit_code != 0, 120, "it has ended")
        # Complete, whatever became of the job.
        assert tell(files, files.image(NAME)) == "n %d" % (SIZE << 20)
        starts(files)
    finally:
        remove(files)


def tell(cluster: Cluster, path: str) -> str:
    return python(cluster, TELL, path, str(SIZE))


def test_what_a_restore_left_that_was_killed_goes_with_the_next(
    files: Cluster, image: str
) -> None:
    before = files.images()
    partial = image + ".restored.partial"
    restore = Slow(files, "restore", "-f", NAME, "one", copies=partial)
    unit = "ganeti-gluster-snapshot-%s.service" % NAME
    files.run("systemctl", "kill", "--signal=KILL", unit, node=NODE)
    assert restore.ended().exit_code != 0
    assert files.images() == sorted([*before, partial])
    starts(files)
    files.run("gnt-gluster", "disk", "restore", "-f", NAME, "one", max_seconds=120)
    assert files.images() == before
    assert tell(files, image) == "n %d" % (SIZE << 20)


FORGET = """
import sys
from ganeti_gluster.core import image
from ganeti_gluster.core.volume import VolumeSpec, connect
with connect(VolumeSpec.from_params({"host": "node1", "volume": "gv0"})) as volume:
    for path in sys.argv[1:]:
        image.remove(volume, path)
"""
# Whether an image has what `yes n` writes.
SAME = """
import sys
from ganeti_gluster.core.volume import VolumeSpec, connect
size, same = int(sys.argv[2]), True
with connect(VolumeSpec.from_params({"host": "node1", "volume": "gv0"})) as volume:
    with volume.open(sys.argv[1]) as file:
        for offset in range(0, size, 1 << 20):
            same = same and file.pread(1 << 20, offset) == b"n\\n" * (1 << 19)
    same = same and volume.lstat(sys.argv[1]).size == size
print(same)
"""
