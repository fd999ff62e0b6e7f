"""Swift's four services on nodes, configured so that they run: rings, one device."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from .node import Node

# What Debian's units ask for, with one process each: the machine has few cores.
_RINGS = """set -e
cd /etc/swift
while read -r name port; do
    rm -f "$name.builder"
    swift-ring-builder "$name.builder" create 3 1 1
    swift-ring-builder "$name.builder" add "r1z1-127.0.0.1:$port/sdb1" 1
    swift-ring-builder "$name.builder" rebalance
done <<END
account 6202
container 6201
object 6200
END
"""
_SETTINGS = r"""set -e
cd /etc/swift
for name in account container object; do
    grep -q ^mount_check $name-server.conf ||
        sed -i 's/^\[DEFAULT\]$/[DEFAULT]\nmount_check = false\nworkers = 0/' $name-server.conf
done
sed -i 's/^workers = .*/workers = 0/' proxy-server.conf
install -d -o swift -g swift /srv/node/sdb1
"""


def configure(nodes: Sequence[Node]) -> None:
    """Let the services start on each of `nodes`, which are stores of their own; idempotent."""
    first = nodes[0]
    if not os.path.exists(first.inside("/etc/swift/object.ring.gz")):
        first.run(["sh", "-c", _RINGS], timeout=120)
    for node in nodes:
        node.run(["sh", "-c", _SETTINGS], timeout=60)
        for name in ("account", "container", "object"):
            ring = "/etc/swift/%s.ring.gz" % name
            if node is not first:
                shutil.copy(first.inside(ring), node.inside(ring))
