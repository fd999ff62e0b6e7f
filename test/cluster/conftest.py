"""The cluster of a testbed on which the package is installed, and instances on it."""

from __future__ import annotations

import glob
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demolib.console import Boot
from testbedlib import CompletedCommand, Testbed, assert_command, layout, wait_for

ROOT = Path(__file__).resolve().parents[2]
OS_DIRECTORY = "/srv/ganeti/os"
SERVERS = "node1,node2,node3"
EXPORTS = "ganeti-gluster-export-*"
#: What is active on a node while the package works.
AGENT = ("ganeti-gluster-agent.path", "ganeti-gluster-agent.service")


@dataclass(frozen=True)
class Cluster:
    """The cluster, as an administrator on its master has it."""

    testbed: Testbed

    @property
    def nodes(self) -> list[str]:
        return self.testbed.nodes

    def run(self, *argv: str, node: str = "node1", **options: Any) -> CompletedCommand:
        """A command on a node, by default the master; see `assert_command`."""
        return assert_command(argv, node=node, testbed=self.testbed, **options)

    def everywhere(self, *argv: str) -> None:
        """A command on every node."""
        for node in self.nodes:
            self.run(*argv, node=node)

    def add(
        self,
        name: str,
        *,
        node: str = "node1",
        start: bool = True,
        disks: Sequence[str] = ("size=1G",),
        **options: Any,
    ) -> str:
        """Add an instance, with one disk of 1 GiB, and return its first image's path."""
        numbered = ["%d:%s" % pair for pair in enumerate(disks)]
        self.run(
            *("gnt-instance", "add", "-t", "gluster", "-o", "guest+default"),
            *(word for disk in numbered for word in ("--disk", disk)),
            *("-B", "minmem=128,maxmem=128,vcpus=1"),
            *("--net", "0:mode=bridged", "--no-name-check", "--no-ip-check"),
            *(() if start else ("--no-start",)),
            *("-n", node, name),
            **{"max_seconds": 120, **options},
        )
        return "" if options.get("fail") else self.image(name)

    def image(self, name: str) -> str:
        """The path of the image of an instance's first disk."""
        uuid = self.run("gnt-instance", "list", "--no-headers", "-o", "uuid", name)
        return "ganeti/%s.0" % uuid.stdout.strip()

    def remove(self, name: str) -> None:
        """Remove an instance without waiting for its guest."""
        self.run("gnt-instance", "remove", "-f", "--shutdown-timeout=0", name, max_seconds=120)

    def status(self, **options: Any) -> dict[str, dict[str, Any]]:
        """What `gnt-gluster plugin status` says, by node."""
        done = self.run("gnt-gluster", "plugin", "status", "--json", **options)
        answer: dict[str, dict[str, Any]] = json.loads(done.stdout)
        return answer

    def disk_info(self, name: str, **options: Any) -> list[dict[str, Any]]:
        """What `gnt-gluster disk info` says of an instance."""
        done = self.run("gnt-gluster", "disk", "info", "--json", name, **options)
        answer: list[dict[str, Any]] = json.loads(done.stdout)
        return answer

    def images(self, node: str = "node1", *, directory: str = "ganeti") -> list[str]:
        """The images in a directory of the volume, seen by libgfapi in a new process."""
        program = (
            "import json, sys, ganeti_gluster.core.image as i;"
            "from ganeti_gluster.core.volume import *;"
            "v = connect(VolumeSpec.from_params({'host': '%s', 'volume': 'gv0'}));"
            "print(json.dumps([f.path for f in i.list_images(v, sys.argv[1]).images]"
            " if v.access(sys.argv[1]) else []))" % SERVERS
        )
        done = self.run("/usr/bin/python3", "-c", program, directory, node=node)
        answer: list[str] = json.loads(done.stdout)
        return answer

    def exports(self) -> dict[str, str]:
        """The units of exports on each node, "" where there is none."""
        return {
            node: self.run(
                "systemctl", "list-units", "--all", "--no-legend", EXPORTS, node=node
            ).stdout
            for node in self.nodes
        }

    def has_brick(self, node: str, host: str) -> bool:
        """Whether a server of an image on a node has a connection to the brick of another.

        It comes back up to half a minute after that host: what is shut off meanwhile
        as well is more than the volume is made for.
        """
        argv = ("ss", "-Htnp", "state", "established", "dst", layout.node_address(host))
        lines = self.run(*argv, node=node).stdout.splitlines()
        return any("image-server" in line and ":24007 " not in line for line in lines)

    def monitor(self, name: str, command: str, *, node: str = "node1") -> str:
        """What the monitor of an instance's QEMU answers, "" where there is none."""
        socket = "UNIX-CONNECT:/run/ganeti/kvm-hypervisor/ctrl/%s.monitor" % name
        argv = ["socat", "-t2", "-", socket]
        order = command.encode() + b"\n"
        return self.testbed.exec(node, argv, timeout=30, stdin=order).stdout

    def boot(self, name: str, node: str) -> Boot:
        """The console of an instance that is about to start on a node."""
        return Boot(self.testbed.node(node), name)

    def restart(self, node: str) -> None:
        """Restart Ganeti's daemons on a node, as it takes a change of the plugin."""
        self.run("systemctl", "restart", "ganeti", node=node)
        wait_for(
            lambda: (
                self.testbed.exec("node1", ["gnt-cluster", "command", "true"]).exit_code == 0
                and self.status_known(node)
            ),
            60,
            "the node daemon of %s is back" % node,
        )

    def status_known(self, node: str) -> bool:
        """Whether the node daemon answers the master."""
        done = self.testbed.exec(
            "node1", ["gnt-node", "list", "--no-headers", "-o", "mtotal", node]
        )
        return done.exit_code == 0 and done.stdout.strip() not in ("", "?")


def prepare(cluster: Cluster) -> None:
    """Make the guest's OS known and enable the template.

    What the package does every minute stands still, since it is a third of what a dozen
    nodes have to do on two cores; tests of it do it themselves.
    """
    cluster.everywhere("systemctl", "stop", *AGENT)
    cluster.everywhere("mkdir", "-p", OS_DIRECTORY)
    cluster.everywhere("ln", "-sfn", "/src/qa/os/guest", OS_DIRECTORY + "/guest")
    cluster.run(
        *("gnt-cluster", "modify", "--enabled-disk-templates", "gluster,diskless,ext"),
        *("--ipolicy-disk-templates", "gluster,diskless,ext"),
        *("-D", "gluster:access=userspace,volume=gv0,host=%s" % SERVERS.replace(",", r"\,")),
    )


def package() -> Path:
    """The package under test."""
    (path,) = glob.glob(str(ROOT / "build" / "ganeti-gluster_*.deb"))
    return Path(path)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster, with the template enabled."""
    cluster = Cluster(Testbed())
    prepare(cluster)
    return cluster


@pytest.fixture
def set_access(cluster: Cluster) -> Iterator[Callable[[str], None]]:
    """Change how disks are reached; userspace again afterwards."""

    def change(access: str) -> None:
        cluster.run("gnt-cluster", "modify", "-D", "gluster:access=%s" % access)

    yield change
    change("userspace")
