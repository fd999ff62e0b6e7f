"""What QEMU is told, and what is made of what it says."""

from __future__ import annotations

from typing import Any

import pytest

from ganeti_gluster.core.snapshot import graph
from ganeti_gluster.core.snapshot.graph import Device, SnapshotRefused

ID = "disk-894e5ebe-4ed2-4e1a"
QDEV = "/machine/peripheral/%s/virtio-backend" % ID
SIZE = 1 << 30


def block(node: str, *, device: str = "", qdev: str | None = QDEV) -> dict[str, Any]:
    """A part of `query-block`'s answer, as QEMU 7.2 and 10.0 give it."""
    return {
        "device": device,
        "qdev": qdev,
        "inserted": {"node-name": node, "drv": "raw", "image": {"virtual-size": SIZE}},
    }


EMPTY = {"device": "floppy0", "qdev": "/machine/unattached/device[14]"}


@pytest.mark.parametrize(
    ("found", "node"),
    [
        (block(ID), ID),  # Ganeti 3.1: the node has Ganeti's id
        (block("#block128", device=ID), "#block128"),  # Ganeti 3.0: the drive has it
        (block(ID, qdev="/machine/unattached/device[5]"), ID),  # an IDE disk
        (block("ggt." + ID), ID),  # with something of ours left
        (block("ggt.block128", device=ID), "#block128"),
    ],
)
def test_a_disk_is_found_by_ganetis_id(found: dict[str, Any], node: str) -> None:
    device = graph.find_device([EMPTY, block("x", qdev="/machine/peripheral/x"), found], ID)
    assert device == Device(ID, found["qdev"], node, SIZE)


def test_a_disk_that_qemu_does_not_have_is_refused() -> None:
    with pytest.raises(SnapshotRefused, match="QEMU has no disk %s" % ID):
        graph.find_device([EMPTY, block("other", qdev="/machine/peripheral/%sx" % ID)], ID)


@pytest.mark.parametrize("node", [ID, "#block128"])
def test_the_names_of_our_nodes_tell_the_disks_node(node: str) -> None:
    device = Device(ID, QDEV, node, SIZE)
    for name in (device.top, device.filter, device.fleece, device.view):
        assert len(name) <= 31 and "#" not in name
        assert graph.reveal(name) == node
    assert graph.reveal(node) is None


@pytest.mark.parametrize("node", ["x" * 28, "block128"])
def test_a_name_that_could_not_be_told_from_ours_is_refused(node: str) -> None:
    with pytest.raises(SnapshotRefused, match="cannot be extended"):
        graph.hide(node)


@pytest.mark.parametrize("status", ["active", "setup", "postcopy-active", "device"])
def test_a_guest_on_its_way_is_refused(status: str) -> None:
    with pytest.raises(SnapshotRefused, match="being migrated"):
        graph.check_migration({"status": status})


def test_a_guest_that_was_migrated_before_is_not() -> None:
    graph.check_migration({"status": "completed"})
    graph.check_migration({})


def test_all_disks_have_one_instant() -> None:
    devices = [Device(ID, QDEV, ID, SIZE), Device("b", "/b", "#block7", SIZE)]
    command = graph.begin(devices)
    assert command.execute == "blockdev-reopen"
    assert [(each["node-name"], each["file"]) for each in command.arguments["options"]] == [
        ("ggt." + ID, "ggc." + ID),
        ("ggt.block7", "ggc.block7"),
    ]


def test_a_guests_write_is_never_refused_for_the_snapshots_sake() -> None:
    commands = graph.insert_fleece(Device(ID, QDEV, ID, SIZE), 3)
    (cbw,) = [c for c in commands if c.arguments.get("driver") == "copy-before-write"]
    assert cbw.arguments["on-cbw-error"] == "break-snapshot"
    assert cbw.arguments["cbw-timeout"] == graph.SAVE_SECONDS


def named(*names: str) -> list[dict[str, Any]]:
    return [{"node-name": name} for name in names]


def test_everything_is_undone_in_the_order_that_qemu_demands() -> None:
    device = Device(ID, QDEV, "#block128", SIZE)
    nodes = named(device.filter, device.top, "#block128", device.view, device.fleece, "#block065")
    blocks = [EMPTY, block(device.top, device=ID)]
    exports = [{"id": device.view, "node-name": device.view}]
    assert [tuple(c) for c in graph.undo(nodes, blocks, exports)] == [
        ("nbd-server-stop", {}),
        ("blockdev-del", {"node-name": device.view}),
        (
            "blockdev-reopen",
            {
                "options": [
                    {
                        "driver": "raw",
                        "node-name": device.top,
                        "file": "#block128",
                        "discard": "unmap",
                    }
                ]
            },
        ),
        ("blockdev-del", {"node-name": device.filter}),
        ("qom-set", {"path": QDEV, "property": "drive", "value": "#block128"}),
        ("blockdev-del", {"node-name": device.top}),
        ("blockdev-del", {"node-name": device.fleece}),
    ]


def test_the_exports_of_others_go_on() -> None:
    commands = graph.undo(named("ggf.x"), [], [{"id": "theirs"}])
    assert [tuple(c) for c in commands] == [("blockdev-del", {"node-name": "ggf.x"})]


def test_a_qemu_without_anything_of_ours_is_left_alone() -> None:
    assert graph.ours(named(ID, "#block065", "gg.x", "ggt.")) == []
