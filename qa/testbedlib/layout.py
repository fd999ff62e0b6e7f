"""Names, paths and addresses: where everything of a testbed is, and nothing else."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from .errors import TestbedError

DEFAULT_SUITE = "trixie"
# With QEMU from elsewhere than the suite itself, this stands after a "+": it makes other
# nodes and another root tree, as another suite does.
QEMUS = ("backports",)
SUITES = ("trixie", "trixie+backports", "bookworm", "sid")
DEFAULT_NAME = "testbed"
DEFAULT_NODES = 3
MAX_NODES = 9
DEFAULT_BRICK_GIB = 8

CLUSTER_NAME = "cluster1"
VOLUME = "gv0"
BRIDGE = "br0"
BRICK_MOUNT = "/srv/gluster/brick1"
BRICK_IMAGES = "/srv/bricks"  # inside a node: where its brick images are bound
SPARE_DEVICE = "/dev/testbed-spare"  # inside a node that was given an empty disk
SOURCE_MOUNT = "/src"

# TEST-NET-1 of RFC 5737: it exists inside the testbed's network namespace alone.
PREFIX = "192.0.2."
PREFIX_BITS = 24
HOST_ADDRESS = PREFIX + "1"
CLUSTER_ADDRESS = PREFIX + "2"
CGROUP = "ganeti-gluster-testbed"
DEFAULT_STATE = "/var/lib/ganeti-gluster-testbed"

_NAME = re.compile(r"[a-z][a-z0-9-]{0,19}\Z")
PROJECT = Path(__file__).resolve().parents[2]


def chosen_suite(suite: str | None = None, qemu: str | None = None) -> str:
    """The one of SUITES that the options name; SUITE and QEMU stand for those not given.

    Raises TestbedError if there is none such.
    """
    suite = suite or os.environ.get("SUITE") or DEFAULT_SUITE
    qemu = qemu or os.environ.get("QEMU")
    if qemu and not suite.endswith("+" + qemu):
        suite = "%s+%s" % (suite, qemu)
    if suite not in SUITES:
        raise TestbedError("suite %r: it is one of %s" % (suite, ", ".join(SUITES)))
    return suite


def node_names(count: int) -> list[str]:
    """node1 to nodeN."""
    if not 1 <= count <= MAX_NODES:
        raise TestbedError("%d nodes: a testbed has 1 to %d" % (count, MAX_NODES))
    return ["node%d" % (i + 1) for i in range(count)]


def node_address(node: str) -> str:
    """The address of a node: node1 is .11."""
    return PREFIX + str(10 + int(node[len("node") :]))


def cache_dir() -> Path:
    """Where the root trees are kept between testbeds (TESTBED_CACHE)."""
    return Path(os.environ.get("TESTBED_CACHE") or "/var/cache/ganeti-gluster-testbed")


def state_base() -> Path:
    """Where testbeds keep their state (TESTBED_STATE)."""
    return Path(os.environ.get("TESTBED_STATE") or DEFAULT_STATE)


@dataclass(frozen=True)
class Layout:
    """Every path and kernel name that belongs to the testbed called `name`."""

    name: str

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise TestbedError(
                "testbed name %r: use up to 20 of a-z, 0-9 and -, a letter first" % self.name
            )

    @property
    def kernel_name(self) -> str:
        """The name in the kernel, which knows nothing of TESTBED_STATE."""
        base = str(state_base())
        if base == DEFAULT_STATE:
            return self.name
        return "%s-%s" % (self.name, hashlib.sha256(base.encode()).hexdigest()[:8])

    @property
    def directory(self) -> Path:
        return state_base() / self.name

    @property
    def state_file(self) -> Path:
        return self.directory / "testbed.json"

    @property
    def lock_file(self) -> Path:
        return state_base() / (".%s.lock" % self.name)

    @property
    def cgroup_mount(self) -> Path:
        return self.directory / "cgroup"

    @property
    def cgroup(self) -> Path:
        return self.cgroup_mount / CGROUP / self.kernel_name

    @property
    def netns(self) -> str:
        return "ggt-" + self.kernel_name

    @property
    def netns_file(self) -> Path:
        return Path("/run/netns") / self.netns

    def node_dir(self, node: str) -> Path:
        return self.directory / node

    def node_cgroup(self, node: str) -> Path:
        return self.cgroup / node

    def brick_image(self, node: str) -> Path:
        return self.node_dir(node) / "bricks" / "brick1.img"

    def cut_mark(self, node: str) -> Path:
        return self.node_dir(node) / "cut"


def host_interface(node: str) -> str:
    """The end of a node's cable that is on the bridge."""
    return "v" + node


def hosts_file() -> str:
    """/etc/hosts of every node; the same for each testbed."""
    names = [(HOST_ADDRESS, "testbed"), (CLUSTER_ADDRESS, CLUSTER_NAME)]
    names += [(node_address(node), node) for node in node_names(MAX_NODES)]
    return "127.0.0.1\tlocalhost\n" + "".join("%s\t%s\n" % pair for pair in names)
