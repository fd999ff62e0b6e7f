"""Which images may be removed: those that no instance has or may be getting."""

from __future__ import annotations

import contextlib
import errno
from types import SimpleNamespace
from typing import Any

import pytest
from ganeti_master import Master

from ganeti_gluster.core.image import ImageInfo
from ganeti_gluster.core.serve.holder import OpenElsewhere
from ganeti_gluster.core.verify.facts import ImageFacts
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import VolumeUnreachable

from .conftest import Part

NOW = 1_000_000_000.0
DAY = 86400
UUID = "9f7e4e2c-7f3f-4a9e-a6cf-7f1f1f0a5b3d"
ORPHAN = "ganeti/%s.0" % UUID
SPEC = VolumeSpec.from_params({"volume": "gv0", "host": "node1"})


class Orphans:
    """A volume with one image that no disk names, two days old."""

    def __init__(self, module: Any, config: Any, master: Master) -> None:
        self.module = module
        self.config = config
        self.master = master
        self.path = ORPHAN
        self.mtime = NOW - 2 * DAY
        self.size = 1
        self.holder = False
        self.gone = False
        self.unreachable: Exception | None = None
        self.removed: list[str] = []
        self.under_way = False

    @property
    def image(self) -> ImageInfo:
        return ImageInfo(self.path, self.size, 1, 0o100600, 0, 0, self.mtime)

    def connect(self, spec: Any) -> Any:
        if self.unreachable:
            raise self.unreachable
        return contextlib.nullcontext("volume")

    def gather(self, spec: VolumeSpec) -> ImageFacts:
        if self.unreachable:
            raise self.unreachable
        return ImageFacts("gv0", (self.image,), (), (0, 0))

    @contextlib.contextmanager
    def locked(self, volume: object, path: str, *, node: str) -> Any:
        if self.gone:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        if self.holder:
            raise OpenElsewhere(path, None)
        yield

    def remove_image(self, volume: object, path: str) -> bool:
        self.removed.append(path)
        return True

    def remove_remains(self, volume: object, path: str, instead: str, **of: object) -> bool:
        assert (instead, of) == (ORPHAN, {"node": "node1", "nodes": ["node1", "node2"]})
        if not self.under_way:
            self.removed.append(path)
        return not self.under_way

    def find(self) -> tuple[list[str], int]:
        found, kept = self.module.find(self.config.load())
        return [each.image.path for each in found], kept

    def remove(self) -> bool:
        ((candidate,), _) = self.module.find(self.config.load())
        return bool(self.module.remove(candidate))


@pytest.fixture
def orphans(part: Part, master: Master, monkeypatch: pytest.MonkeyPatch) -> Orphans:
    found = Orphans(part("orphans"), part("cluster_config"), master)
    use = part("pool_use")
    use.use(master, use.params_for("gv0", ["node1"]), None)
    for name, value in (
        ("connect", found.connect),
        ("gather_images", found.gather),
        ("locked", found.locked),
        ("time", SimpleNamespace(time=lambda: NOW)),
        ("node_names", SimpleNamespace(own=lambda: "node1", every=lambda: ["node1", "node2"])),
        ("remove_remains", found.remove_remains),
    ):
        monkeypatch.setattr(found.module, name, value)
    monkeypatch.setattr(found.module.image, "get_info", lambda volume, path: "vm9")
    monkeypatch.setattr(found.module.image, "stat", lambda volume, path: found.image)
    monkeypatch.setattr(found.module.image, "remove", found.remove_image)
    return found


def job(summary: str, status: str = "running", *, begun: float = NOW - 3 * DAY) -> list[Any]:
    return [status, [summary], [int(begun), 5]]


def test_an_image_of_nobody_may_go(orphans: Orphans) -> None:
    assert orphans.find() == ([ORPHAN], 0)


@pytest.mark.parametrize(("age", "goes"), [(DAY + 1, True), (DAY, False), (0, False), (-5, False)])
def test_but_not_within_a_day(orphans: Orphans, age: float, goes: bool) -> None:
    orphans.mtime = NOW - age
    assert orphans.find() == (([ORPHAN], 0) if goes else ([], 1))


@pytest.mark.parametrize(
    ("jobs", "goes"),
    [
        ([], True),
        ([job("INSTANCE_CREATE(vm9)")], False),
        ([job("BACKUP_PREPARE(vm9)", "waiting")], False),
        ([job("NODE_EVACUATE(node1)", "queued")], False),
        ([job("INSTANCE_CREATE(vm9)", "canceling")], False),
        ([job("INSTANCE_CREATE(vm9)", "success")], True),
        ([job("INSTANCE_CREATE(vm9)", "error")], True),
        ([job("INSTANCE_CREATE(vm9)", begun=NOW - DAY)], True),  # the image is older
        ([job("CLUSTER_VERIFY")], True),
        ([job("INSTANCE_QUERY_DATA")], True),
        ([["running", ["INSTANCE_CREATE(vm9)"], None]], True),
        ([job("INSTANCE_CREATE(a)", begun=NOW - DAY), job("INSTANCE_COPY(b)")], False),
    ],
)
def test_nor_what_a_job_may_be_making(orphans: Orphans, jobs: list[list[Any]], goes: bool) -> None:
    orphans.master.jobs = jobs
    assert orphans.find() == (([ORPHAN], 0) if goes else ([], 1))


def test_nor_what_has_the_uuid_of_an_instance(orphans: Orphans) -> None:
    # It is new, and the configuration's file does not have it yet.
    orphans.master.add_instance("vm1", uuid=UUID)
    assert orphans.find() == ([], 1)


def test_an_instance_s_disk_is_no_orphan(orphans: Orphans) -> None:
    orphans.master.add_instance("vm1", {"logical_id": ["gluster", ORPHAN]})
    assert orphans.find() == ([], 0)


def test_a_detached_disk_is_none_either(orphans: Orphans) -> None:
    # Ganeti keeps it, to be attached again, though its instance is gone.
    orphans.master.add_instance("vm1", {"logical_id": ["gluster", ORPHAN]})
    del orphans.master.config["instances"]["u-vm1"], orphans.master.instances["vm1"]
    assert orphans.find() == ([], 0)


def test_to_know_nothing_is_no_reason(orphans: Orphans) -> None:
    orphans.unreachable = VolumeUnreachable("volume gv0 cannot be reached", volume="gv0")
    with pytest.raises(VolumeUnreachable):
        orphans.find()


def test_one_that_is_as_it_was_is_removed(orphans: Orphans) -> None:
    assert orphans.remove()
    assert orphans.removed == [ORPHAN]


@pytest.mark.parametrize("change", ["written", "grown", "opened", "gone"])
def test_one_that_is_not_is_left(orphans: Orphans, change: str) -> None:
    ((candidate,), _) = orphans.module.find(orphans.config.load())
    if change == "written":
        orphans.mtime += 1
    elif change == "grown":
        orphans.size += 1
    elif change == "opened":
        orphans.holder = True
    else:
        orphans.gone = True
    assert not orphans.module.remove(candidate)
    assert orphans.removed == []


@pytest.mark.parametrize("mark", [".restored", ".replaced"])
@pytest.mark.parametrize("under_way", [False, True])
def test_what_a_restoration_left_is_removed(orphans: Orphans, mark: str, under_way: bool) -> None:
    # The name begins with the UUID of an instance, which keeps any other image.
    orphans.master.add_instance("vm1", {"logical_id": ["gluster", ORPHAN]}, uuid=UUID)
    orphans.path, orphans.under_way = ORPHAN + mark, under_way
    assert orphans.find() == ([ORPHAN + mark], 0)
    assert orphans.remove() != under_way
    assert orphans.removed == ([] if under_way else [ORPHAN + mark])
