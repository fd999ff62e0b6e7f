"""The testbed's network: a namespace with a bridge, and a cable to each node."""

from __future__ import annotations

import json

from . import command
from .layout import BRIDGE, HOST_ADDRESS, PREFIX_BITS, Layout, host_interface

SECONDS = 15


def create_argvs(netns: str) -> list[list[str]]:
    """The commands that make the namespace, its bridge and its own address."""
    inside = ["ip", "-n", netns]
    return [
        ["ip", "netns", "add", netns],
        [*inside, "link", "set", "lo", "up"],
        [*inside, "link", "add", BRIDGE, "type", "bridge", "stp_state", "0", "forward_delay", "0"],
        [*inside, "address", "add", "%s/%d" % (HOST_ADDRESS, PREFIX_BITS), "dev", BRIDGE],
        [*inside, "link", "set", BRIDGE, "up"],
    ]


def connect_argvs(netns: str, node: str, cut: bool) -> list[list[str]]:
    """The commands that plug in a node's cable; a cut node's stays without signal."""
    link = ["ip", "-n", netns, "link", "set", host_interface(node)]
    return [[*link, "master", BRIDGE], [*link, "down" if cut else "up"]]


def shape_argv(interface: str, kbit: int) -> list[str]:
    """The command that bounds what an interface sends; what waits for longer is dropped."""
    rate = ["tbf", "rate", "%dkbit" % kbit, "burst", "16k", "latency", "300ms"]
    return ["tc", "qdisc", "replace", "dev", interface, "root", *rate]


def slow_argvs(netns: str, node: str, kbit: int) -> list[list[str]]:
    """The commands that bound what is sent to a node."""
    return [["ip", "netns", "exec", netns, *shape_argv(host_interface(node), kbit)]]


def quicken_argvs(netns: str, node: str) -> list[list[str]]:
    """The commands that undo `slow_argvs`."""
    delete = ["tc", "qdisc", "del", "dev", host_interface(node), "root"]
    return [["ip", "netns", "exec", netns, *delete]]


def create(layout: Layout) -> None:
    for argv in create_argvs(layout.netns):
        command.run(argv, timeout=SECONDS)


def connect(layout: Layout, node: str, cut: bool) -> None:
    for argv in connect_argvs(layout.netns, node, cut):
        command.run(argv, timeout=SECONDS)


def destroy(layout: Layout) -> None:
    """Remove the namespace with all that is in it; no-op if it is not there."""
    if layout.netns_file.exists():
        command.run(["ip", "netns", "delete", layout.netns], timeout=SECONDS)


def interfaces(layout: Layout) -> set[str]:
    """The names of the interfaces in the namespace."""
    shown = command.run(
        ["ip", "-n", layout.netns, "-json", "link", "show"], timeout=SECONDS
    ).stdout
    return {link["ifname"] for link in json.loads(shown or "[]") if "ifname" in link}
