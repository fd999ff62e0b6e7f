"""`gnt-gluster disk info`, `evict` and `remove-orphans`, through their own entry point."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError, VolumeUnreachable

from .conftest import Entry, raiser, refused

SPEC = VolumeSpec.from_params({"volume": "gv0", "host": "node1"})
DISK = SimpleNamespace(instance="vm1", index=0, uuid="u", spec=SPEC, path="ganeti/x.0", size=1)
UNREACHABLE = VolumeUnreachable("volume gv0 cannot be reached", volume="gv0")
NO_ACCESS = OSError(errno.EACCES, "Permission denied", "ganeti/x.0")


@pytest.fixture
def disks(check: Entry) -> list[object]:
    """The disks of vm1, for the master."""
    found: list[object] = [DISK]
    check.replace("cmdlib.instance_disks", find=lambda names: list(found))
    check.replace("client.disk", SshChannel=lambda: None)
    check.replace("storage.node_names", every=lambda: ["node1", "node2"])
    return found


@pytest.mark.parametrize("command", ["disk info vm9", "disk evict vm9"])
def test_an_instance_that_is_not_there(check: Entry, command: str) -> None:
    check.be_master()
    check.replace("cmdlib.cluster_config", read=lambda: {"instances": {}})
    check.replace_in(
        check.part("cmdlib.instance_disks").utils, MatchNameComponent=lambda name, known: None
    )
    check(command, 1, err=refused("Instance 'vm9' is not known", "unknown_entity"))


# -- info --------------------------------------------------------------------


def test_of_no_instance_nothing_is_shown(check: Entry) -> None:
    check("disk info", 1, err=refused("Name at least one instance"))


def test_an_instance_with_other_disks(check: Entry, disks: list[object]) -> None:
    disks.clear()
    check("disk info vm1 vm2", 0, err="No gluster disks: vm1, vm2\n")
    check("disk info --json vm1", 0, out="[]\n")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UNREACHABLE, "volume gv0 cannot be reached"),
        (NO_ACCESS, "ganeti/x.0: Permission denied"),
    ],
)
def test_a_disk_that_cannot_be_looked_at(
    check: Entry, disks: list[object], error: Exception, said: str
) -> None:
    check.replace("client.disk", connect=raiser(error))
    check("disk info vm1", 1, out="vm1 disk/0\n  image:       ganeti/x.0 on volume gv0\n")
    check("disk info vm1", 1, out="  error:       %s\n" % said)
    assert json.loads(check("disk info --json vm1", 1, out=None))[0]["error"] == said


def test_what_a_volume_tells_of_a_disk(check: Entry, disks: list[object]) -> None:
    image = SimpleNamespace(size=1 << 20, allocated=0, mode=0o600, uid=0, gid=0)
    health = SimpleNamespace(degraded=False, split_brain=False, detail="")
    check.replace("client.disk", connect=lambda spec: contextlib.nullcontext())
    check.replace("client.disk", holder_of=lambda volume, path: None)
    check.replace("core.image", stat=lambda *where: image, get_info=lambda *where: "origin")
    check.replace("core.health", check=lambda *where: health)
    out = check("disk info vm1", 0, out="  owner, mode: 0:0 0600\n  state:       healthy\n")
    assert out.endswith("  open on:     -\n  info:        origin\n")
    (told,) = json.loads(check("disk info --json vm1", 0, out=None))
    assert (told["size"], told["configured_size"], told["open_on"]) == (1 << 20, 1 << 20, "")


# -- evict -------------------------------------------------------------------


@pytest.fixture
def holder(check: Entry, disks: list[object]) -> list[int]:
    """The number of the node that has the image: node2; and what was taken from whom."""
    number = [2]
    check.replace("client.disk", node_number=lambda node: int(node[-1]))
    check.replace("cmdlib.evict", last_holder=lambda spec, path, nodes: number[0])
    check.replace("cmdlib.evictions", take_from=lambda node, images: number.insert(0, 0))
    return number


def test_an_image_that_nobody_has(check: Entry, holder: list[int]) -> None:
    holder[0] = 0
    check("disk evict vm1", 0, out="No node has an image of vm1 open.\n")


def test_an_image_that_a_stranger_has(check: Entry, holder: list[int]) -> None:
    holder[0] = 7
    said = "image ganeti/x.0 of volume gv0 is open on a machine that is not a node of this cluster"
    check("disk evict -f vm1", 1, err="Failure: %s; stop what uses it there\n" % said)


def test_nothing_is_taken_if_the_answer_is_no(check: Entry, holder: list[int]) -> None:
    check.answer(False)
    said = "No image was taken from a node; use --yes to skip this question\n"
    check("disk evict vm1", 13, out="node2: ganeti/x.0\n", err=said)
    assert check.questions[0].startswith("Take these images from node2? A guest that uses them")
    assert holder == [2]


def test_a_dry_run_takes_nothing(check: Entry, holder: list[int]) -> None:
    check("disk evict --dry-run vm1", 0, out="node2: ganeti/x.0\n")
    assert holder == [2]


def test_the_image_is_taken(check: Entry, holder: list[int]) -> None:
    check("disk evict -f vm1", 0, out="Taken from node2; the instance can be started on")
    assert holder == [0, 2]


def test_an_image_that_stays_where_it_is(check: Entry, holder: list[int]) -> None:
    error = GanetiGlusterError("cannot close the connections", hint="switch it off")
    check.replace("cmdlib.evictions", take_from=raiser(error))
    check(
        "disk evict -f vm1",
        1,
        out="node2: ganeti/x.0\n",
        err="Failure: cannot close the connections; switch it off\n",
    )


# -- remove-orphans ----------------------------------------------------------


@pytest.fixture
def orphans(check: Entry) -> list[object]:
    """Images that belong to nobody: one, for the master."""
    image = SimpleNamespace(path="ganeti/x.0", size=1, allocated=1, mtime=0.0)
    images: list[object] = [SimpleNamespace(spec=SPEC, image=image, leftover=False, origin="")]
    check.replace("cmdlib.cluster_config", load=lambda: None)
    check.replace("cmdlib.orphans", find=lambda config: (list(images), 0))
    check.replace("cmdlib.orphans", remove=lambda found: bool(images.pop()) or True)
    return images


def test_there_are_none(check: Entry, orphans: list[object]) -> None:
    orphans.clear()
    check("disk remove-orphans", 0, out="There is nothing to remove.\n")


def test_those_that_stay_are_counted(check: Entry, orphans: list[object]) -> None:
    check.replace("cmdlib.orphans", find=lambda config: ([], 3))
    check("disk remove-orphans --json", 0, out="[]\n", err="3 more belong to no instance, but")


def test_none_is_removed_if_the_answer_is_no(check: Entry, orphans: list[object]) -> None:
    check.answer(False)
    said = "No image was removed; use --yes to skip this question\n"
    check("disk remove-orphans", 13, out="gv0 ganeti/x.0 ", err=said)
    assert len(orphans) == 1 and check.questions[0].startswith("Remove these 1 images? ")


def test_a_dry_run_removes_none(check: Entry, orphans: list[object]) -> None:
    check("disk remove-orphans --dry-run", 0, out="gv0 ganeti/x.0 ")
    assert len(orphans) == 1


def test_they_are_removed(check: Entry, orphans: list[object]) -> None:
    check("disk remove-orphans -f", 0, out=None, err="Removed ganeti/x.0 of volume gv0\n")
    assert not orphans


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UNREACHABLE, "volume gv0 cannot be reached"),
        (NO_ACCESS, "ganeti/x.0: Permission denied"),
    ],
)
def test_one_that_cannot_be_removed(
    check: Entry, orphans: list[object], error: Exception, said: str
) -> None:
    check.replace("cmdlib.orphans", remove=raiser(error))
    said = "Could not remove ganeti/x.0 of volume gv0: %s\n" % said
    check("disk remove-orphans -f", 1, out=None, err=said)


def test_a_volume_that_does_not_tell(check: Entry, orphans: list[object]) -> None:
    check.replace("cmdlib.orphans", find=raiser(UNREACHABLE))
    check("disk remove-orphans -f", 1, err="Failure: volume gv0 cannot be reached\n")


# -- move --------------------------------------------------------------------


class Moves:
    """Moves the disks it has been given, and keeps what it was asked for."""

    def __init__(self, check: Entry) -> None:
        self.asked: list[Any] = []
        self.moved: list[object] = [DISK]
        check.replace("cmdlib.disk_move", move=self.move)

    def move(self, asked: Any, listen: Callable[[dict[str, Any]], None]) -> list[object]:
        self.asked.append(asked)
        listen({"event": "message", "text": "Copying disk/0"})
        return self.moved


def test_disks_are_moved(check: Entry) -> None:
    moves = Moves(check)
    out = check("disk move --volume gv1 --bandwidth-limit 3 vm1", 0, out="Copying disk/0\n")
    assert out.endswith("Moved disk/0 of vm1 from volume gv0 to gv1\n")
    (asked,) = moves.asked
    assert (asked.instance, asked.volume, asked.limit) == ("vm1", "gv1", 3 << 20)


def test_disks_that_are_there_already(check: Entry) -> None:
    Moves(check).moved = []
    check("disk move --volume gv1 vm1", 0, out="All disks of vm1 are on volume gv1\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("vm1", "--volume: name the volume"),
        ("--volume gv1 --bandwidth-limit 0 vm1", "bandwidth limit 0: it must be at least 1 MiB"),
    ],
)
def test_a_move_that_is_not_understood(check: Entry, words: str, said: str) -> None:
    moves = Moves(check)
    check("disk move %s" % words, 1, err=said)
    assert not moves.asked


def test_a_move_that_fails(check: Entry) -> None:
    error = GanetiGlusterError("the disk has been moved, but", hint="give the command again")
    check.replace("cmdlib.disk_move", move=raiser(error))
    said = "Failure: the disk has been moved, but; give the command again\n"
    check("disk move --volume gv1 vm1", 1, err=said)
