"""What a machine must have, and how its lack is said."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from testbedlib import requirements

GOOD = requirements.Machine(root=True, apt=True, fuse=True, loop=True, tun=True)
MOUNTINFO = """\
22 28 0:20 / /proc rw - proc proc rw
28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 28 0:30 / /var/lib\\040x rw - tmpfs tmpfs rw
31 28 0:31 / /var/lib rw - overlay overlay rw
"""


def test_a_good_machine_has_no_problem() -> None:
    assert GOOD.problem([]) is None
    assert GOOD.problem(["mmdebstrap"]) is None


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"root": False, "fuse": False}, "needs root"),
        ({"fuse": False}, "no FUSE"),
        ({"loop": False}, "no loop devices"),
        ({"tun": False}, "no TUN"),
        ({"overlay": False}, "no overlayfs"),
        ({"netns": "unshare failed"}, r"no network namespaces \(unshare failed\)"),
        ({"state_filesystem": "overlay"}, "is on overlay"),
        ({"apt": False}, "missing on this machine: mmdebstrap"),
    ],
)
def test_what_is_missing_is_named_in_one_line(change: dict[str, Any], text: str) -> None:
    problem = dataclasses.replace(GOOD, **change).problem(["mmdebstrap"])
    assert problem is not None
    assert problem.hint and "\n" not in str(problem)
    with pytest.raises(type(problem), match=text):
        raise problem


def test_missing_tools_become_packages() -> None:
    assert requirements.missing_packages(lambda _: "/bin/x", lambda _: True) == []
    assert requirements.missing_packages(
        lambda tool: None if tool == "ip" else "/bin/x", lambda _: False
    ) == ["debian-archive-keyring", "iproute2"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/srv", "ext4"), ("/var/lib/a", "overlay"), ("/var/lib x/a", "tmpfs"), ("/varlib", "ext4")],
)
def test_the_file_system_of_a_path_is_that_of_the_nearest_mount(path: str, kind: str) -> None:
    assert requirements.filesystem_of(Path(path), MOUNTINFO) == kind


def test_the_nodes_may_watch_files(tmp_path: Path) -> None:
    said: list[str] = []
    value = tmp_path / "max_user_instances"
    value.write_text("128\n")
    requirements.allow_watches(value, said.append)
    assert value.read_text() == "1024\n"
    assert said == ["fs.inotify.max_user_instances is 128: made 1024"]
    value.write_text("8192\n")
    requirements.allow_watches(value, said.append)
    assert value.read_text() == "8192\n"
    assert len(said) == 1
