"""What the page of `gnt-gluster status` says of facts."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest

from ganeti_gluster.cmdlib import overview
from ganeti_gluster.core.image import ImageInfo
from ganeti_gluster.core.verify import facts as f
from ganeti_gluster.tools import names as tool_names
from ganeti_gluster.tools.gfapi.stat import Space
from ganeti_gluster.tools.gluster_cli import BrickStatus, VolumeBrick, VolumeInfo, VolumeStatus

BRICKS = tuple(VolumeBrick("node%d" % i, "/b", "uuid-node%d" % i) for i in (1, 2, 3))
INFO = VolumeInfo("gv0", "u", "Started", "Replicate", 3, 0, 0, 0, BRICKS, {})


def seen(*, down: str = "", split=(), images=("ganeti/a", "ganeti/b")):
    bricks = tuple(
        BrickStatus(b.server, b.path, b.server_uuid, b.server != down, 1, 1) for b in BRICKS
    )
    volume = f.VolumeFacts("gv0", INFO, {}, VolumeStatus("gv0", bricks, ()), split=split)
    places = tuple(
        f.BrickPlace("gv0", str(b), b.path, size=100 + i, free=50 - i, behind=i)
        for i, b in enumerate(BRICKS)
    )
    nodes = {
        "node1": f.NodeFacts("node1", {}, glusterd="running", bricks=places, reached=("gv0",))
    }
    names = [("vm1", 0, "ganeti/a"), ("vm1", 1, "ganeti/b"), ("vm2", 0, "ganeti/c")]
    config = SimpleNamespace(
        cluster="c",
        nodes=[
            SimpleNamespace(name="node1", offline=False),
            SimpleNamespace(name="node2", offline=True),
        ],
        disks=[f.Disk(vm, index, "gv0", path, 10, "node1") for vm, index, path in names],
    )
    infos = tuple(ImageInfo(path, 10, 5, 0o100600, 0, 0, 0.0) for path in images)
    known = {"gv0": f.ImageFacts("gv0", infos, (), (0, 0), Space(100, 47))}
    return SimpleNamespace(config=config, nodes=nodes, volumes={"gv0": volume}, images=known)


def test_a_volume_has_the_room_that_its_clients_see() -> None:
    (row,) = overview.describe(seen(down="node3"), [])["volumes"]
    # Not the smallest brick's: that has what storage.reserve keeps as well.
    assert (row["size"], row["free"], row["behind"]) == (100, 47, 2)
    assert (row["bricks_online"], row["bricks"], row["shape"]) == (2, 3, "1 x 3")
    assert (row["images"], row["allocated"]) == (2, 10)


def test_a_volume_that_does_not_answer_has_no_figures() -> None:
    look = seen()
    look.images.clear()
    (row,) = overview.describe(look, [])["volumes"]
    assert (row["size"], row["free"], row["images"]) == (None, None, None)


def test_an_export_is_an_instance_s_disk() -> None:
    look = seen()
    keys = [tool_names.unit_key("gv0", "ganeti/b"), "gv0-of-nobody"]
    exports = tuple(f.ExportView(key, True) for key in keys)
    look.nodes["node1"] = dataclasses.replace(look.nodes["node1"], exports=exports)
    rows = overview.describe(look, [])["exports"]
    assert [(row["node"], row["instance"], row["disk"]) for row in rows] == [
        ("node1", "vm1", 1),
        ("node1", None, None),
    ]
    assert [row["export"] for row in rows] == keys


def test_each_disk_and_each_instance_has_a_state() -> None:
    split = (f.SplitFile("/ganeti/b", "g"),)
    data = overview.describe(seen(split=split), [])
    assert [disk["state"] for disk in data["disks"]] == ["healthy", "split-brain", "missing"]
    assert [
        (row["instance"], row["disks"], row["state"])
        for row in overview.by_instance(data["disks"])
    ] == [
        ("vm1", 2, "split-brain"),
        ("vm2", 1, "missing"),
    ]
    data = overview.describe(seen(down="node2"), [])
    assert [disk["state"] for disk in data["disks"]] == ["degraded", "degraded", "missing"]


def test_nodes_that_did_not_tell() -> None:
    rows = overview.describe(seen(), [])["nodes"]
    assert [(row["node"], row["glusterd"]) for row in rows] == [
        ("node1", "running"),
        ("node2", "offline"),
    ]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "1 x 3"),
        ({"arbiter": 1}, "1 x (2 + 1)"),
        ({"replica": 1}, "3 x 1"),
        ({"replica": 1, "disperse": 3, "redundancy": 1}, "1 x (2 + 1)"),
    ],
)
def test_shapes_in_short(changed, words) -> None:
    assert overview.shape(dataclasses.replace(INFO, **changed)) == words
