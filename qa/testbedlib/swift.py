"""Swift's four services on a node, configured so that they run: rings, one device."""

from __future__ import annotations

from .node import Node

DEVICES = "/srv/node"
PORTS = {"account": 6202, "container": 6201, "object": 6200}
SERVICES = ("swift-account", "swift-container", "swift-object", "swift-proxy")


def configure(node: Node) -> None:
    """Make rings of this node alone and a device; the services can start then."""
    for name, port in PORTS.items():
        builder = "/etc/swift/%s.builder" % name
        tool = ["swift-ring-builder", builder]
        node.run(["rm", "-f", builder], timeout=30)
        node.run([*tool, "create", "3", "1", "1"], timeout=60)
        node.run([*tool, "add", "r1z1-127.0.0.1:%d/sdb1" % port, "1"], timeout=60)
        node.run([*tool, "rebalance"], timeout=60)
        # One process each: the machine has few cores for all nodes.
        settings = r"s/^\[DEFAULT\]$/[DEFAULT]\nmount_check = false\nworkers = 0/"
        node.run(["sed", "-i", settings, "/etc/swift/%s-server.conf" % name], timeout=30)
    one_process = "s/^workers = .*/workers = 0/"
    node.run(["sed", "-i", one_process, "/etc/swift/proxy-server.conf"], timeout=30)
    node.run(["install", "-d", "-o", "swift", "-g", "swift", DEVICES + "/sdb1"], timeout=30)
