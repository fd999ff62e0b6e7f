"""The commands that make QEMU offer its disks as they were at one instant; data only.

For each disk a pass-through node is put between the guest's device and the disk's node (`top`),
and next to it a filter that saves what the guest is about to overwrite (`filter`) in a local file
(`fleece`).  One `blockdev-reopen` then puts all filters below their pass-through nodes.  QEMU
holds back the requests of all disks during that one command, so all disks have the same instant,
the guest is never stopped, and nothing is half done if this process ends.  A write that was
acknowledged before that command is in the snapshot, and one that was made after it is not; a write
that waited for another one is never in it alone.

If a saved block cannot be written to the local file, or not in time, the filter gives up the
snapshot and lets the guest's write pass (on-cbw-error=break-snapshot).

The names of the nodes show what they belong to, so that the remains of a killed process can be
removed with the information from QEMU itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ganeti_gluster.errors import GanetiGlusterError

#: Seconds that a write of the guest waits at most for its old block to be saved.
SAVE_SECONDS = 5

_TOP, _FILTER, _FLEECE, _VIEW = "ggt.", "ggc.", "ggf.", "gga."
_OURS = re.compile(r"gg[tcfa]\.(.+)")
# A name that QEMU gave itself, which may be said but not given: "#block123".
_OWN_NAME = re.compile(r"#block(\d+)")
_HIDDEN_NAME = re.compile(r"block(\d+)")
#: Characters of a node's name, QEMU's limit.
_NAME_LENGTH = 31

#: States of a migration in which QEMU's block graph had better stay as it is.
_MIGRATING = frozenset(
    ("setup", "active", "postcopy-active", "postcopy-paused", "postcopy-recover", "pre-switchover")
    + ("device", "wait-unplug", "colo", "cancelling")
)


class SnapshotRefused(GanetiGlusterError):
    """QEMU, as it is now, cannot take a snapshot; nothing was changed."""


class Command(NamedTuple):
    """A QMP command."""

    execute: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Device:
    """A guest's disk in QEMU.

    `identity` is Ganeti's id of it, `qdev` the path of the object whose property
    `drive` names the node it reads, `node` that node's name without anything of
    ours, `size` its bytes.
    """

    identity: str
    qdev: str
    node: str
    size: int

    def _name(self, prefix: str) -> str:
        return prefix + hide(self.node)

    @property
    def top(self) -> str:
        return self._name(_TOP)

    @property
    def filter(self) -> str:
        return self._name(_FILTER)

    @property
    def fleece(self) -> str:
        return self._name(_FLEECE)

    @property
    def view(self) -> str:
        """The node that shows the disk as it was; also its name as an export."""
        return self._name(_VIEW)


def hide(node: str) -> str:
    """A node's name in the form in which it is part of ours."""
    own = _OWN_NAME.fullmatch(node)
    hidden = "block%s" % own[1] if own else node
    if len(_TOP + hidden) > _NAME_LENGTH or (not own and _HIDDEN_NAME.fullmatch(node)):
        raise SnapshotRefused("QEMU's name %r for a disk cannot be extended" % node)
    return hidden


def reveal(ours: str) -> str | None:
    """The disk's node that one of our names belongs to, None if it is not ours."""
    match = _OURS.fullmatch(ours)
    if match is None:
        return None
    hidden = match[1]
    return "#%s" % hidden if _HIDDEN_NAME.fullmatch(hidden) else hidden


def find_device(blocks: Iterable[Mapping[str, Any]], identity: str) -> Device:
    """The disk with Ganeti's id in the answer of `query-block`; or `SnapshotRefused`.

    Ganeti 3.0 gives its id to the drive, Ganeti 3.1 to the node, both to the
    device unless it is an IDE disk.
    """
    path = "/machine/peripheral/%s" % identity
    for block in blocks:
        inserted, qdev = block.get("inserted"), block.get("qdev")
        if not inserted or not qdev:
            continue
        name = inserted["node-name"]
        node = reveal(name) or name
        if (
            identity in (block.get("device"), node, qdev)
            or qdev == path
            or qdev.startswith(path + "/")
        ):
            return Device(
                identity,
                qdev if qdev.startswith("/") else "/machine/peripheral/%s" % qdev,
                node,
                inserted["image"]["virtual-size"],
            )
    raise SnapshotRefused("QEMU has no disk %s" % identity)


def check_migration(status: Mapping[str, Any]) -> None:
    """Refuse while the answer of `query-migrate` says that the guest is on its way."""
    if status.get("status") in _MIGRATING:
        raise SnapshotRefused("the instance is being migrated")


def insert_fleece(device: Device, fdset: int) -> list[Command]:
    """Give QEMU the local file, of the disk's size, and a pass-through node for the disk.

    The file came as a descriptor, so that it needs no name that QEMU could open
    (it may run as another user, or in another root).  Nothing that was saved
    has to survive QEMU, so it is never flushed.
    """
    return [
        Command(
            "blockdev-add",
            {
                "driver": "raw",
                "node-name": device.fleece,
                "discard": "unmap",
                "file": {
                    "driver": "file",
                    "filename": "/dev/fdset/%d" % fdset,
                    "locking": "off",
                    "discard": "unmap",
                    "cache": {"no-flush": True},
                },
            },
        ),
        Command("blockdev-add", _top(device, device.node)),
        Command("qom-set", {"path": device.qdev, "property": "drive", "value": device.top}),
        Command(
            "blockdev-add",
            {
                "driver": "copy-before-write",
                "node-name": device.filter,
                "discard": "unmap",
                "file": device.node,
                "target": device.fleece,
                "on-cbw-error": "break-snapshot",
                "cbw-timeout": SAVE_SECONDS,
            },
        ),
    ]


def begin(devices: Sequence[Device]) -> Command:
    """The instant of the snapshot: one command for all disks, all of it or none."""
    return _reopen([_top(device, device.filter) for device in devices])


def show(devices: Sequence[Device], socket_name: str) -> list[Command]:
    """Offer the disks as they were by NBD, on the listening socket that QEMU was given."""
    return [
        *(
            Command(
                "blockdev-add",
                {"driver": "snapshot-access", "node-name": device.view, "file": device.filter},
            )
            for device in devices
        ),
        Command("nbd-server-start", {"addr": {"type": "fd", "data": {"str": socket_name}}}),
        *(
            Command(
                "block-export-add",
                {
                    "type": "nbd",
                    "id": device.view,
                    "node-name": device.view,
                    "name": device.view,
                    "writable": False,
                },
            )
            for device in devices
        ),
    ]


def ours(nodes: Iterable[Mapping[str, Any]]) -> list[str]:
    """Our nodes in the answer of `query-named-block-nodes`."""
    names = (str(node["node-name"]) for node in nodes)
    return sorted(name for name in names if reveal(name) is not None)


def undo(
    nodes: Iterable[Mapping[str, Any]],
    blocks: Iterable[Mapping[str, Any]],
    exports: Iterable[Mapping[str, Any]],
) -> list[Command]:
    """What takes away all that is ours, in the order that QEMU demands.

    From the answers of `query-named-block-nodes`, `query-block` and
    `query-block-exports`.  What shows a snapshot goes before the filter leaves
    the disk's way.
    """
    names = ours(nodes)
    others = [export for export in exports if reveal(str(export["id"])) is None]
    commands = []
    if not others:
        # It waits for the clients, unlike the deletion of an export; and QEMU has only one
        # server, and no other way to show that it runs.
        commands.append(Command("nbd-server-stop", {}))
    commands += _delete(names, _VIEW)
    tops = [name for name in names if name.startswith(_TOP)]
    if tops:
        commands.append(_reopen([_pass_through(top, _node(top)) for top in tops]))
    commands += _delete(names, _FILTER)
    for block in blocks:
        name = block.get("inserted", {}).get("node-name", "")
        if name in tops and block.get("qdev"):
            qdev = str(block["qdev"])
            commands.append(
                Command(
                    "qom-set",
                    {
                        "path": qdev if qdev.startswith("/") else "/machine/peripheral/%s" % qdev,
                        "property": "drive",
                        "value": _node(name),
                    },
                )
            )
    commands += _delete(names, _TOP)
    return commands + _delete(names, _FLEECE)


def _delete(names: Iterable[str], prefix: str) -> list[Command]:
    return [
        Command("blockdev-del", {"node-name": name}) for name in names if name.startswith(prefix)
    ]


def _node(name: str) -> str:
    node = reveal(name)
    assert node is not None
    return node


def _top(device: Device, below: str) -> dict[str, Any]:
    return _pass_through(device.top, below)


def _pass_through(top: str, below: str) -> dict[str, Any]:
    # Discards go on to the disk's own node, which does what it is set to do.
    return {"driver": "raw", "node-name": top, "file": below, "discard": "unmap"}


def _reopen(options: list[dict[str, Any]]) -> Command:
    return Command("blockdev-reopen", {"options": options})
