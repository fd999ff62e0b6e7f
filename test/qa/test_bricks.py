"""Which loop devices belong to a node."""

from __future__ import annotations

import json
from pathlib import Path

from testbedlib import bricks

# losetup 2.41 and 2.38, `--json --output NAME,BACK-INO,BACK-MAJ:MIN`
LISTING = json.dumps(
    {
        "loopdevices": [
            {"name": "/dev/loop0", "back-ino": 11, "back-maj:min": "254:0"},
            {"name": "/dev/loop1", "back-ino": 12, "back-maj:min": "0:44"},
            {"name": "/dev/loop2", "back-ino": None, "back-maj:min": None},
            {"name": "/dev/loop3", "back-ino": "13", "back-maj:min": " 254:0"},
        ]
    }
)


def test_devices_are_read_from_mountinfo() -> None:
    text = "28 1 254:0 / / rw - ext4 x rw\n29 28 0:44 / /a rw - overlay y rw\n"
    assert bricks.devices_of(text) == {"254:0", "0:44"}


def test_only_loops_over_a_nodes_own_file_systems_are_its() -> None:
    assert bricks.loops_on(LISTING, {"0:44", "0:45"}) == ["/dev/loop1"]


def test_loops_over_an_image_are_told_by_inode_and_device() -> None:
    assert bricks.over_images(LISTING, {(13, "254:0"), (12, "254:0")}) == ["/dev/loop3"]


def test_no_loop_device_at_all_prints_nothing() -> None:
    assert bricks.loops_on("", {"0:44"}) == []
    assert bricks.over_images("", {(1, "0:44")}) == []


def test_a_recorded_loop_is_a_nodes_while_it_is_the_same(tmp_path: Path) -> None:
    for name, sequence in (("loop1", "7"), ("loop2", "8")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "diskseq").write_text(sequence + "\n")
    records = []
    for index, text in enumerate(("loop1 7", "loop2 7", "loop3 7", "", "loop1")):
        records.append(tmp_path / str(index))
        records[-1].write_text(text)
    assert list(bricks.recorded([*records, tmp_path / "none"], str(tmp_path))) == ["/dev/loop1"]
