"""A new cluster with the template from its first moment; the last, as it ends the old one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testbedlib.cluster import init_argv

from .conftest import Cluster, package, prepare

*OPTIONS, NAME = init_argv(["gluster"])


def init(parameter: str) -> list[str]:
    """The command that makes the cluster, with a parameter of the template."""
    return [*OPTIONS, "-D", "gluster:" + parameter, NAME]


@pytest.fixture
def no_cluster(cluster: Cluster) -> Iterator[None]:
    """Destroy the cluster; the testbed is as at its beginning afterwards."""
    # A node with bricks cannot be removed.
    cluster.run("gluster", "--mode=script", "volume", "stop", "gv0", "force")
    cluster.run("gluster", "--mode=script", "volume", "delete", "gv0")
    for node in cluster.nodes[1:]:
        cluster.run("gnt-node", "remove", node)
    cluster.run("gnt-cluster", "destroy", "--yes-do-it")
    yield
    cluster.testbed.reset()
    cluster.testbed.install([package()])
    prepare(cluster)


def test_init_takes_the_template_without_an_entry_in_file_storage_paths(
    cluster: Cluster, no_cluster: None
) -> None:
    cluster.everywhere("rm", "-f", "/etc/ganeti/file-storage-paths")
    cluster.run(*init("access=userspace"), max_seconds=120)
    info = cluster.run("gnt-cluster", "info").stdout
    assert "enabled disk templates: gluster" in info
    assert "preallocation: off" in info
