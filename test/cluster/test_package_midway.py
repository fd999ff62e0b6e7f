"""The package upgraded and removed while it is at work: waited for, refused, or not noticed."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demolib import guest
from testbedlib import CompletedCommand, wait_for

from .conftest import AGENT, Cluster, package
from .test_broken_migration import TARGET, bandwidth, has_stream
from .test_image_lock import FILL, TELL, python
from .test_snapshot import REMOVE, SOCKET, Guest

pytestmark = [pytest.mark.qemu, pytest.mark.one_suite]

NAME, STOPPED, MOVED = "mid1", "mid2", "mid3"
MIB = 1 << 20
PATHS = "/etc/ganeti/file-storage-paths"
FILES = "/srv/ganeti/file-storage"
#: Where the guest runs; node1 is the master, which carries out what it asks.
NODE = "node2"
NEWER = "/root/ganeti-gluster-newer.deb"
VERSION = "9.9.9"
# Whoever has begun with the former release must not load a module of this one.
GUARD = (
    """
import ganeti_gluster as _whole
if _whole.__version__ != "%s":
    raise SystemExit("%%s of another release than this process" %% __name__)
"""
    % VERSION
)


@pytest.fixture(scope="module")
def newer(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A later release on every node, as a file; none of its modules goes with the former's."""
    root = tmp_path_factory.mktemp("newer")
    tree, deb = root / "tree", root / "newer.deb"
    subprocess.run(["dpkg-deb", "-R", package(), tree], check=True, timeout=60)
    control = tree / "DEBIAN/control"
    lines = control.read_text().splitlines()
    control.write_text(
        "".join(
            "%s\n" % ("Version: " + VERSION if line.startswith("Version:") else line)
            for line in lines
        )
    )
    for path in (tree / "usr/lib/python3/dist-packages/ganeti_gluster").rglob("*.py"):
        if "_vendor" not in path.parts:
            _mark(path)
    build = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, deb]
    subprocess.run(build, check=True, timeout=60, stdout=subprocess.DEVNULL)
    for node in cluster.nodes:
        cluster.testbed.push(node, deb, NEWER)
    return NEWER


def _mark(path: Path) -> None:
    text = path.read_text()
    if path.name == "__init__.py" and path.parent.name == "ganeti_gluster":
        text += '\n__version__ = "%s"\n' % VERSION
    path.write_text(text + GUARD)


@pytest.fixture(autouse=True)
def as_before(cluster: Cluster) -> Iterator[None]:
    """The package under test again on each node that has another, or none."""
    yield
    for node in cluster.nodes:
        form = "${db:Status-Status} ${Version}"
        done = cluster.testbed.exec(node, ["dpkg-query", "-Wf", form, "ganeti-gluster"])
        if done.stdout != "installed " + package().name.split("_")[1]:
            cluster.testbed.push(node, package(), "/root/again.deb")
            cluster.run("dpkg", "-i", "/root/again.deb", node=node, max_seconds=300)
    cluster.everywhere("systemctl", "stop", *AGENT)


def upgrade(cluster: Cluster, node: str, **options: object) -> CompletedCommand:
    return cluster.run("dpkg", "-i", NEWER, node=node, **{"max_seconds": 400, **options})


@pytest.fixture(scope="module")
def running(cluster: Cluster) -> Iterator[Guest]:
    """A guest that writes, with some more data than it has itself."""
    boot = cluster.boot(NAME, NODE)
    cluster.add(NAME, node=NODE, disks=("size=256M",))
    found = Guest(cluster, boot, NAME, node=NODE)
    boot.wait(lambda events: guest.last_acknowledged(events) > 5, 150, "records")
    argv = ("/usr/bin/python3", "-c", SOCKET, cluster.image(NAME))
    uri = "nbd+unix:///?socket=%s" % cluster.run(*argv, node=NODE).stdout.strip()
    cluster.run("qemu-io", "-f", "raw", "-c", "write -P 7 128M 112M", uri, node=NODE)
    yield found
    boot.close()
    left = [path for path in cluster.images() if ".snap." in path]
    cluster.run("/usr/bin/python3", "-c", REMOVE, "node1", *left)
    cluster.remove(NAME)


def tell(cluster: Cluster, path: str) -> str:
    """Which bytes an image has, and its size."""
    return python(cluster, TELL, path, "96")


#: Seconds that a command may take.
_LONGEST = 900


class Work(threading.Thread):
    """A command that goes on while a test does something else."""

    def __init__(
        self,
        cluster: Cluster,
        *argv: str,
        begun: Callable[[], object],
        node: str = "node1",
        seconds: float = 60,
    ) -> None:
        super().__init__()
        self._cluster, self._argv, self._node = cluster, list(argv), node
        self.result: CompletedCommand | None = None
        self.start()
        wait_for(lambda: begun() or self.result, seconds, "it is under way")
        assert self.result is None, self.result

    def run(self) -> None:
        self.result = self._cluster.testbed.exec(self._node, self._argv, timeout=_LONGEST)

    def ended(self) -> CompletedCommand:
        self.join(_LONGEST)
        assert self.result is not None
        return self.result


def snapshot(running: Guest, name: str, limit: int = 2) -> Work:
    """Begin a snapshot that takes a while."""
    return Work(
        running.cluster,
        *("gnt-gluster", "disk", "snapshot", "--bandwidth-limit=%d" % limit, "--name", name, NAME),
        begun=lambda: [each for each in running.nodes() if each.startswith("gga.")],
    )


@pytest.mark.parametrize("node", [pytest.param("node1", marks=pytest.mark.slow), NODE])
def test_a_snapshot_goes_on_through_an_upgrade(
    cluster: Cluster, running: Guest, newer: str, node: str
) -> None:
    name = "up-%s" % node
    work = snapshot(running, name)
    upgrade(cluster, node)
    assert work.is_alive()
    done = work.ended()
    assert "Took snapshot %s of %s" % (name, NAME) in done.stdout, done
    assert running.snapshots()[name]["complete"]
    running.check_untouched()
    guest.check_unbroken(running.boot.events())


REMOVE_PACKAGE = ("apt-get", "remove", "--yes", "ganeti-gluster")


def refused(cluster: Cluster, node: str, *argv: str) -> str:
    """What the end of the package is refused with; it stays as it is."""
    done = cluster.run(*argv, node=node, fail=True, max_seconds=200)
    form = "${db:Status-Want} ${db:Status-Status} ${Version}"
    status = cluster.run("dpkg-query", "-Wf", form, "ganeti-gluster", node=node).stdout
    assert status.split()[1:] == ["installed", package().name.split("_")[1]]
    return done.stdout + done.stderr


@pytest.mark.parametrize("node", [pytest.param("node1", marks=pytest.mark.slow), NODE])
def test_no_removal_while_a_snapshot_is_taken(cluster: Cluster, running: Guest, node: str) -> None:
    work = snapshot(running, "rm-%s" % node)
    said = refused(cluster, node, *REMOVE_PACKAGE)
    assert work.is_alive()
    what = "'gnt-gluster disk snapshot" if node == "node1" else "work on snapshots of instance"
    assert "ganeti-gluster is not removed while this is under way: " + what in said
    done = work.ended()
    assert "Took snapshot" in done.stdout, done
    running.check_untouched()
    guest.check_unbroken(running.boot.events())


@pytest.fixture(scope="module")
def stopped(cluster: Cluster) -> Iterator[str]:
    """The image of a stopped instance, with a snapshot named one, and files as a template."""
    cluster.everywhere("mkdir", "-p", FILES)
    for node in cluster.nodes:
        cluster.run("sh", "-c", "echo %s >> %s" % (FILES, PATHS), node=node)
    cluster.run(
        *("gnt-cluster", "modify", "--enabled-disk-templates", "gluster,diskless,ext,file"),
        *("--ipolicy-disk-templates", "gluster,diskless,ext,file"),
        *("--file-storage-dir", FILES),
    )
    cluster.add(STOPPED, node=NODE, start=False, disks=("size=96M",))
    cluster.run("gnt-instance", "deactivate-disks", STOPPED)
    path = cluster.image(STOPPED)
    python(cluster, FILL, path, "o", "96")
    disk = ("gnt-gluster", "disk")
    cluster.run(*disk, "snapshot", "--name=one", STOPPED, max_seconds=120)
    yield path
    cluster.run("/usr/bin/python3", "-c", REMOVE, "node1", path + ".snap.one")
    cluster.remove(STOPPED)
    cluster.everywhere("rm", "-f", PATHS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words, left",
    [
        (("restore", "-f", STOPPED, "one"), ".restored.partial"),
        (("clone", STOPPED, "one", "copied"), ""),
    ],
    ids=["restore", "clone"],
)
def test_work_on_a_stopped_instance_goes_on(
    cluster: Cluster, stopped: str, newer: str, words: tuple[str, ...], left: str
) -> None:
    before = cluster.images()
    argv = ("gnt-gluster", "disk", words[0], "--bandwidth-limit=3", *words[1:])
    work = Work(cluster, *argv, begun=lambda: cluster.images() != before)
    said = refused(cluster, NODE, *REMOVE_PACKAGE)
    assert "of instance " + STOPPED in said
    upgrade(cluster, NODE)
    assert work.is_alive()
    done = work.ended()
    assert done.exit_code == 0, done
    made = sorted(set(cluster.images()) - set(before))
    assert made == (["ganeti/copied"] if words[0] == "clone" else [])
    assert tell(cluster, made[0] if made else stopped) == "o %d" % (96 * MIB)
    cluster.run("/usr/bin/python3", "-c", REMOVE, "node1", *made)


# A process of the node daemon's that answers a request, "" if there is none.
REQUEST = """
for daemon in $(cat /run/ganeti/ganeti-noded.pid); do pgrep -P $daemon; done; true
"""


def requests(cluster: Cluster, node: str) -> list[str]:
    return cluster.run("sh", "-c", REQUEST, node=node).stdout.split()


@pytest.mark.slow
def test_a_conversion_outlives_the_node_daemon(cluster: Cluster, stopped: str, newer: str) -> None:
    argv = ("gnt-instance", "modify", "-t", "file", STOPPED)
    work = Work(cluster, *argv, begun=lambda: _stand_still(cluster, NODE))
    pids = requests(cluster, NODE)
    try:
        said = refused(cluster, NODE, *REMOVE_PACKAGE)
        assert "a request of the node daemon, process %s" % pids[0] in said
        upgrade(cluster, NODE)
        assert work.is_alive()
    finally:
        cluster.run("sh", "-c", "kill -CONT %s || true" % " ".join(pids), node=NODE)
    done = work.ended()
    assert done.exit_code == 0, done
    cluster.run("gnt-instance", "modify", "-t", "gluster", STOPPED, max_seconds=120)
    assert tell(cluster, cluster.image(STOPPED)) == "o %d" % (96 * MIB)


def _stand_still(cluster: Cluster, node: str) -> bool:
    """Stop the request that copies."""
    copying = "tail -n 3 /var/log/ganeti/node-daemon.log | grep -q 'Copying image'"
    if cluster.testbed.exec(node, ["sh", "-c", copying]).exit_code:
        return False
    return not cluster.testbed.exec(node, ["kill", "-STOP", *requests(cluster, node)]).exit_code


def noded(cluster: Cluster, node: str) -> str:
    """The node daemon's process."""
    return cluster.run("cat", "/run/ganeti/ganeti-noded.pid", node=node).stdout.strip()


def version(cluster: Cluster, node: str) -> str:
    form = "${Version}"
    return cluster.run("dpkg-query", "-Wf", form, "ganeti-gluster", node=node).stdout


@pytest.mark.slow
@pytest.mark.parametrize("node", ["node1", TARGET])
def test_an_upgrade_waits_for_a_migration(cluster: Cluster, newer: str, node: str) -> None:
    boot = cluster.boot(MOVED, "node1")
    cluster.add(MOVED)
    bandwidth(cluster, "3")
    try:
        boot.wait(lambda events: guest.last_acknowledged(events) > 5, 60, "records")
        boot.follow_to(cluster.testbed.node(TARGET))
        argv = ("gnt-instance", "migrate", "-f", "-n", TARGET, MOVED)
        work = Work(cluster, *argv, begun=lambda: has_stream(cluster))
        daemon = noded(cluster, node)
        waits = ["pgrep", "-f", "ganeti_gluster.under_way restart"]
        new = Work(
            *(cluster, "dpkg", "-i", NEWER),
            begun=lambda: cluster.testbed.exec(node, waits).stdout,
            node=node,
        )
        wait_for(lambda: version(cluster, node) == VERSION, 60, "it is unpacked")
        assert work.is_alive() and noded(cluster, node) == daemon
        cluster.monitor(MOVED, "migrate_set_parameter max-bandwidth 1000M")
        done, said = work.ended(), new.ended()
        assert done.exit_code == 0 and said.exit_code == 0, (done, said)
        assert "waits for the end of a migration" in said.stderr
        assert noded(cluster, node) != daemon
        boot.wait(lambda events: guest.last_acknowledged(boot.here()) > 0, 60, "it goes on there")
        guest.check_unbroken(boot.events())
        assert cluster.disk_info(MOVED)[0]["open_on"] == "node %s (exclusive)" % TARGET
    finally:
        boot.close()
        cluster.monitor(MOVED, "migrate_set_parameter max-bandwidth 1000M")
        bandwidth(cluster, "1000")
        cluster.remove(MOVED)


# Prints what modules of the package would load later that a process has loaded, of those named.
LATE = """
import ast, importlib, importlib.util, os, sys

sys.path.insert(0, os.path.realpath("/usr/share/ganeti/default"))
for name in sys.argv[1:]:
    importlib.import_module(name)

def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from ("%s.%s" % (node.module, alias.name) for alias in node.names)

def is_module(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False

for name, module in list(sys.modules.items()):
    if not name.startswith("ganeti_gluster.") or not getattr(module, "__file__", None):
        continue
    with open(module.__file__) as stream:
        tree = ast.parse(stream.read())
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            for wanted in imported(function):
                if wanted.startswith("ganeti_gluster.") and wanted not in sys.modules:
                    if is_module(wanted):
                        print(name, wanted)
"""


@pytest.mark.parametrize(
    ("modules", "but"),
    [
        ("ganeti.server.noded", "ganeti_gluster.storage.snapshot_worker"),
        (
            "ganeti_gluster.core.whole ganeti_gluster.core.snapshot.worker"
            " ganeti_gluster.storage.guests",
            "",
        ),
        ("ganeti_gluster.core.copy.program", ""),
        ("ganeti_gluster.with_path", ""),
        # Programs of their own, and what the node daemon alone does.
        (
            "ganeti_gluster.core.whole ganeti_gluster.client.gnt_gluster",
            "ganeti_gluster.client.web ganeti_gluster.patches.instance_migration"
            " ganeti_gluster.storage.snapshot_worker ganeti_gluster.tools.gfapi.library",
        ),
    ],
)
def test_what_works_for_long_loads_nothing_late(cluster: Cluster, modules: str, but: str) -> None:
    """An upgrade would put another release's in its place."""
    said = cluster.run("/usr/bin/python3", "-P", "-c", LATE, *modules.split()).stdout
    assert [line for line in said.splitlines() if line.split()[0] not in but.split()] == []
