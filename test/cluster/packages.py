"""A Debian package that is removed from a node for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from .conftest import Cluster

# The package cannot be had again on a node: keep its files, and what dpkg knows.
_KEEP = """{ dpkg -L $0; ls /var/lib/dpkg/info/$0.* /var/lib/dpkg/status; } |
while read -r path; do [ ! -e $path ] || echo $path; done |
tar -cPf /var/tmp/$0.tar --no-recursion --files-from=-"""
_RESTORE = """systemctl unmask --quiet $0; tar -xPf /var/tmp/$0.tar; systemctl daemon-reload"""


@contextlib.contextmanager
def removed(cluster: Cluster, package: str, node: str) -> Iterator[None]:
    """Remove a package with one service of the same name, whatever depends on it."""
    cluster.run("sh", "-c", _KEEP, package, node=node)
    try:
        cluster.run("dpkg", "--remove", "--force-depends", package, node=node, max_seconds=60)
        yield
    finally:
        cluster.run("sh", "-c", _RESTORE, package, node=node)
