"""Disks move to another volume, and what was cut short is completed or taken back."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ganeti_cli import GenericError, HooksAbort, OpPrereqError
from ganeti_master import Master
from local_volume import LocalVolume

from ganeti_gluster.core.serve import holder
from ganeti_gluster.errors import GanetiGlusterError, InvalidParameter, VolumeNotFound

from .conftest import Part

PATHS = ["ganeti/vm1.0", "ganeti/vm1.1"]
CONTENT = dict(zip(PATHS, (b"a" * (1 << 20), b"b" * (2 << 20)), strict=True))


class Guests:
    """Nothing runs on the instance's node."""

    node = "node1"

    def is_running(self, instance: str) -> bool:
        return False


class Report:
    """Nobody listens."""

    def message(self, text: str) -> None:
        pass

    def progress(self, disk: int, progress: object) -> None:
        pass


class Cluster:
    """The instance vm1 with two disks on gv0, whose node does what it is asked."""

    def __init__(self, part: Part, master: Master, root: Path) -> None:
        self.master, self.part = master, part
        self.volumes: dict[str, Any] = {}
        for name in ("gv0", "gv1", "gv2"):
            (root / name).mkdir()
            self.volumes[name] = LocalVolume(root / name)
            self.volumes[name].name = name
        for path, content in CONTENT.items():
            self.volumes["gv0"].write(path, content)
        #: What happens in place of the change of the configuration, and after it.
        self.refusal: BaseException | None = None
        self.afterwards: BaseException | None = None
        self.asked: list[Any] = []

    def move(self, volume: str = "gv1") -> list[Any]:
        module = self.part("disk_move")
        moved: list[Any] = module.move(module.Asked("vm1", volume), lambda event: None)
        return moved

    @contextmanager
    def connect(self, spec: Any) -> Iterator[Any]:
        if spec.name not in self.volumes:
            raise VolumeNotFound("no volume %s" % spec.name, volume=spec.name)
        yield self.volumes[spec.name]

    def carry_out(self, instance: Any, wanted: Any, listen: object) -> dict[str, Any]:
        images = self.part("disk_move").images
        self.asked.append(wanted)
        return images.do(wanted, Guests(), Report())  # type: ignore[no-any-return]

    def set_params(self, instance_name: str, disks: list[Any]) -> None:
        if self.refusal:
            raise self.refusal
        for kind, uuid, change in disks:
            assert (kind, set(change)) == (
                "modify",
                {"volume", "serial", "old_image", "new_image"},
            )
            self.master.config["disks"][uuid]["params"] = {"volume": change["volume"]}
        if self.afterwards:
            raise self.afterwards

    def are_on(self, volume: str) -> None:
        """Whole, on that volume alone, which the configuration names."""
        for name, there in self.volumes.items():
            content = CONTENT if name == volume else {}
            assert {path: there.read(path) for path in there.names()} == content
        found = self.part("instance_disks").find(["vm1"])
        assert [disk.spec.name for disk in found] == [volume, volume]


@pytest.fixture
def cluster(
    part: Part, master: Master, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Cluster:
    use = part("pool_use")
    use.use(master, use.params_for("gv0", ["node1"]), None)
    master.add_instance("vm1", {}, {}, state="down")
    master.config["instances"]["u-vm1"]["serial_no"] = 7
    found, module = Cluster(part, master, tmp_path), part("disk_move")
    monkeypatch.setattr(master, "_InstanceSetParams", found.set_params, raising=False)
    monkeypatch.setattr(module, "connect", found.connect)
    monkeypatch.setattr(module.images, "connect", found.connect)
    monkeypatch.setattr(module, "_LOCK", str(tmp_path / "lock"))
    monkeypatch.setattr(module.node_names, "own", lambda: "node1")
    monkeypatch.setattr(module.hold, "OWN_SECONDS", 0.0)
    monkeypatch.setattr(part("snapshots"), "carry_out", found.carry_out)
    monkeypatch.setattr(part("cluster_config"), "live", lambda: master.config)
    monkeypatch.setattr(holder, "ask_each", lambda volume, question: [])
    return found


def test_all_disks_move_and_the_old_images_go(cluster: Cluster) -> None:
    assert [disk.index for disk in cluster.move()] == [0, 1]
    cluster.are_on("gv1")
    (asked,) = cluster.asked
    assert (asked.checksum, asked.disks_volume.name, asked.snapshots_volume.name) == (
        True,
        "gv0",
        "gv1",
    )
    assert cluster.move() == []
    cluster.move("gv2")
    cluster.are_on("gv2")
    cluster.move("gv0")
    cluster.are_on("gv0")


def test_disks_of_several_volumes_are_brought_together(cluster: Cluster) -> None:
    cluster.master.config["disks"]["vm1-disk1"]["params"] = {"volume": "gv1"}
    cluster.volumes["gv1"].write(PATHS[1], CONTENT[PATHS[1]])
    cluster.volumes["gv0"].unlink(PATHS[1])
    (instance,) = cluster.part("snapshots").find(["vm1"])
    with pytest.raises(OpPrereqError, match=r"on several volumes \(gv0, gv1\); move them to one"):
        assert instance.volume
    assert [disk.index for disk in cluster.move("gv2")] == [0, 1]
    cluster.are_on("gv2")


@pytest.mark.parametrize("refusal", [OpPrereqError("used since", "x"), HooksAbort("busy")])
def test_what_the_job_refuses_is_taken_back(cluster: Cluster, refusal: Exception) -> None:
    cluster.refusal = refusal
    with pytest.raises(type(refusal)):
        cluster.move()
    cluster.are_on("gv0")


@pytest.mark.parametrize("error", [GenericError("no answer"), KeyboardInterrupt()])
@pytest.mark.parametrize("when", ["refusal", "afterwards"])
def test_what_is_not_known_to_be_done_is_left_to_the_next_command(
    cluster: Cluster, error: BaseException, when: str
) -> None:
    setattr(cluster, when, error)
    with pytest.raises(GanetiGlusterError, match="it is not known whether the configuration"):
        cluster.move()
    for path, content in CONTENT.items():
        assert cluster.volumes["gv0"].read(path) == cluster.volumes["gv1"].read(path) == content
    setattr(cluster, when, None)
    cluster.move()
    cluster.are_on("gv1")
    assert len(cluster.asked) == (2 if when == "refusal" else 1)


def test_a_job_that_ended_between_two_disks_is_completed(cluster: Cluster) -> None:
    cluster.afterwards = GenericError("the master daemon is gone")
    with pytest.raises(GanetiGlusterError):
        cluster.move()
    cluster.master.config["disks"]["vm1-disk1"]["params"] = {}
    cluster.afterwards = None
    assert [disk.index for disk in cluster.move()] == [1]
    cluster.are_on("gv1")


def test_an_old_image_that_cannot_be_removed_is_removed_by_the_next_command(
    cluster: Cluster,
) -> None:
    def fail(what: str, *names: object) -> None:
        if (what, names[0]) == ("unlink", PATHS[1]):
            raise OSError(errno.ENOTCONN, "too few bricks", PATHS[1])

    cluster.volumes["gv0"].before = fail
    with pytest.raises(GanetiGlusterError, match=r"has been moved, but its old image .* too few"):
        cluster.move()
    cluster.volumes["gv0"].before = lambda *what: None
    assert cluster.volumes["gv0"].names() == [PATHS[1]]
    cluster.master.instances["vm1"]["oper_state"] = True
    assert cluster.move() == []
    cluster.are_on("gv1")


def test_an_old_image_whose_volume_is_gone_is_no_more(cluster: Cluster) -> None:
    cluster.afterwards = GenericError("the master daemon is gone")
    with pytest.raises(GanetiGlusterError):
        cluster.move()
    gone = cluster.volumes.pop("gv0")
    cluster.move()
    cluster.are_on("gv1")
    assert gone.names() == PATHS


@pytest.mark.parametrize("moment", ["before the copies", "after them"])
def test_what_another_command_has_moved_meanwhile_stays(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """This one waits for the volume's servers; on a new master it is given again."""
    module = cluster.part("disk_move")

    def move_elsewhere() -> None:
        for path, content in CONTENT.items():
            if moment == "after them":
                cluster.volumes["gv1"].unlink(path)
            cluster.volumes["gv1"].write(path, content)
            cluster.volumes["gv1"].setxattr(path, module.images.MOVED_FROM, b"gv0")
        for disk in cluster.master.config["disks"].values():
            disk["params"] = {"volume": "gv1"}

    @contextmanager
    def connect(spec: Any) -> Iterator[Any]:
        with cluster.connect(spec) as volume:
            if spec.name == "gv1" and (moment == "before the copies" or cluster.asked):
                monkeypatch.setattr(module, "connect", cluster.connect)
                move_elsewhere()
            yield volume

    monkeypatch.setattr(module, "connect", connect)
    cluster.refusal = OpPrereqError("has been changed since", "x")
    with pytest.raises((OpPrereqError, GanetiGlusterError)):
        cluster.move()
    assert {path: cluster.volumes["gv1"].read(path) for path in PATHS} == CONTENT


def test_an_image_that_no_move_has_made_stays(cluster: Cluster) -> None:
    cluster.volumes["gv1"].write(PATHS[1], b"another")
    with pytest.raises(
        GanetiGlusterError, match=r"image ganeti/vm1\.1 of volume gv1 already exists"
    ):
        cluster.move()
    assert cluster.volumes["gv1"].read(PATHS[1]) == b"another"
    assert cluster.volumes["gv1"].names() == [PATHS[1]]
    assert cluster.volumes["gv0"].names() == PATHS


def running(cluster: Cluster) -> None:
    cluster.master.instances["vm1"]["oper_state"] = True


def silent(cluster: Cluster) -> None:
    cluster.master.instances["vm1"]["oper_state"] = None


def pending(cluster: Cluster) -> None:
    cluster.master.jobs = [[7, "waiting", ["INSTANCE_SET_PARAMS(vm1)"]]]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (running, "Instance vm1 is running; stop it first"),
        (silent, "does not answer"),
        (pending, "Job 7 is about to modify instance vm1"),
    ],
)
def test_an_instance_that_cannot_be_moved_now(
    cluster: Cluster, state: Callable[[Cluster], None], said: str
) -> None:
    state(cluster)
    with pytest.raises(OpPrereqError, match=said):
        cluster.move()
    cluster.are_on("gv0")


def test_jobs_of_others_and_jobs_that_ended_are_no_hindrance(cluster: Cluster) -> None:
    cluster.master.jobs = [
        [1, "success", ["INSTANCE_SET_PARAMS(vm1)"]],
        [2, "running", ["INSTANCE_SET_PARAMS(vm2)"]],
    ]
    cluster.move()
    cluster.are_on("gv1")


def test_one_command_at_a_time(cluster: Cluster, tmp_path: Path) -> None:
    private = cluster.part("disk_move").private
    with (
        private.locked(str(tmp_path / "lock")),
        pytest.raises(GanetiGlusterError, match="another disk move is running"),
    ):
        cluster.move()


@pytest.mark.parametrize(("volume", "error"), [("a/b", InvalidParameter), ("gv9", VolumeNotFound)])
def test_what_is_no_volume(cluster: Cluster, volume: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        cluster.move(volume)
    cluster.are_on("gv0")
