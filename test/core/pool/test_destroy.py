"""When a volume is looked at before it is destroyed, and what is done then."""

from __future__ import annotations

from typing import Any

import pytest

from ganeti_gluster.core.pool import destroy
from ganeti_gluster.core.pool.destroy import VolumeInUse
from ganeti_gluster.core.pool.facts import PlaceFacts
from ganeti_gluster.core.pool.members import Pool
from ganeti_gluster.core.pool.steps import Step, StepFailed, run
from ganeti_gluster.tools.gluster_cli import Peer, VolumeBrick, VolumeInfo

ID = "9f7e4e2c-7f3f-4a9e-a6cf-7f1f1f0a5b3d"


class Cluster:
    """A cluster with one volume: agents and glusterd, and what was done to them."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.state = "Started"
        self.bricks = {"node1", "node2"}
        #: Instances whose disks come to be as soon as that was done.
        self.comes_after = ""

    @property
    def info(self) -> VolumeInfo:
        bricks = tuple(VolumeBrick(node, "/b/gv0", node) for node in ("node1", "node2"))
        return VolumeInfo("gv0", ID, self.state, "Replicate", 2, 0, 0, 0, bricks, {})

    def gluster(self, node: str) -> Cluster:
        return self

    def volume(self, name: str) -> VolumeInfo | None:
        return self.info if self.state else None

    def ask(self, *words: str) -> None:
        verb = words[1]
        self.state = {"stop": "Stopped", "start": "Started", "delete": ""}[verb]
        self.done.append(verb)

    def one(self, node: str, verb: str, **arguments: Any) -> Any:
        if verb == "place":
            return PlaceFacts("/b", brick_exists=node in self.bricks)
        self.done.append("discard %s %s" % (node, arguments["volume_id"]))
        self.bricks.discard(node)
        return True

    def unused(self) -> None:
        used = self.comes_after == "question" or self.comes_after in self.done
        destroy.check_instances("gv0", {"vm1"} if used else set())

    def steps(self) -> list[Step]:
        peer = Peer("node2", ("node2",), True, 3, "Peer in Cluster")
        pool = Pool("node1", "node1", (peer,), (self.info,), {})
        leave = Step("Ganeti", lambda: "leave" in self.done, lambda: self.done.append("leave"))
        return destroy.steps(
            self,  # type: ignore[arg-type]
            pool,
            self.info,
            ["node1", "node2"],
            unused=self.unused,
            leave=leave,
        )

    def run(self) -> None:
        run(self.steps(), lambda line: None)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def test_the_volume_goes_after_its_bricks(cluster: Cluster) -> None:
    cluster.run()
    gone = ["discard node1 %s" % ID, "discard node2 %s" % ID]
    assert cluster.done == ["leave", "stop", *gone, "delete"]


@pytest.mark.parametrize(
    ("moment", "done"),
    [("question", []), ("leave", ["leave"]), ("stop", ["leave", "stop", "start"])],
)
def test_a_disk_that_came_to_be_on_the_way_stops_it(cluster: Cluster, moment, done) -> None:
    cluster.comes_after = moment
    with pytest.raises(StepFailed, match="volume gv0 has disks of instances: vm1; remove or move"):
        cluster.run()
    assert cluster.done == done
    assert cluster.state == "Started"
    assert cluster.bricks == {"node1", "node2"}


def test_one_that_is_half_destroyed_is_looked_at_as_well(cluster: Cluster) -> None:
    cluster.state = "Stopped"
    cluster.bricks = {"node2"}
    cluster.comes_after = "question"
    with pytest.raises(StepFailed, match="disks of instances: vm1"):
        cluster.run()
    cluster.comes_after = ""
    cluster.run()
    assert cluster.done == ["leave", "discard node2 %s" % ID, "delete"]


def test_images_that_are_shown() -> None:
    destroy.check_images("gv0", [])
    with pytest.raises(
        VolumeInUse,
        match=r"has 6 image\(s\) that belong to no instance: 0, 1, 2, 3, 4 …; use --force",
    ):
        destroy.check_images("gv0", [str(number) for number in range(6)])


def test_an_image_whose_instance_is_known_is_not_without_one() -> None:
    instances = {"u1": "web", "u2": "db"}
    destroy.check_owners("gv0", ["ganeti/u3.0", "ganeti/x.1"], instances)
    with pytest.raises(VolumeInUse, match=r"on another volume: db, web; set .* back to gv0"):
        destroy.check_owners("gv0", ["ganeti/u1.0", "ganeti/u2.1", "ganeti/u2.0"], instances)
