"""When a volume may be destroyed, and what is found again after a failure midway."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ganeti_master import Master
from gluster_pool import GlusterPool, volume

from ganeti_gluster.core.pool.settings import Settings
from ganeti_gluster.core.pool.steps import Step, StepFailed, run
from ganeti_gluster.errors import GanetiGlusterError, VolumeUnreachable

from .conftest import Part

THREE = ("node1", "node2", "node3")


class Destroy:
    """A volume that Ganeti uses, with settings, and the images on it."""

    def __init__(self, module: Any, use: Any, pool: Any, master: Master) -> None:
        self.module = module
        self.use = use
        self.pool = pool
        self.master = master
        self.images: list[str] = []
        self.unreachable: Exception | None = None

    def connect(self, spec: Any) -> Any:
        if self.unreachable:
            raise self.unreachable
        return contextlib.nullcontext(SimpleNamespace(access=lambda path: path == "ganeti"))

    def list(self, volume: object, directory: str) -> Any:
        return SimpleNamespace(images=[SimpleNamespace(path=path) for path in self.images])

    def plan(self, *, force: bool = False) -> tuple[list[Step], list[str]]:
        found: tuple[list[Step], list[str]] = self.module.plan(
            "gv0", self.master, self.pool, force=force
        )
        return found


@pytest.fixture
def destroy(
    part: Part,
    in_pool: Callable[[Any], Any],
    master: Master,
    monkeypatch: pytest.MonkeyPatch,
) -> Destroy:
    pool = in_pool(GlusterPool(volume(*THREE)))
    use = part("pool_use")
    use.write_settings(master, Settings("gv0", "/srv/b"))
    use.use(master, use.params_for("gv0", THREE), None)
    found = Destroy(part("pool_destroy"), use, pool, master)
    monkeypatch.setattr(found.module, "connect", found.connect)
    monkeypatch.setattr(found.module.image, "list_images", found.list)
    return found


def test_ganeti_does_without_it_and_forgets_it_in_the_end(destroy: Destroy) -> None:
    steps, left = destroy.plan()
    assert left == []
    texts = [step.text for step in steps]
    without = steps[texts.index("Ganeti without volume gv0")]
    forgotten = steps[-2]
    assert forgotten.text == "settings of the pool removed"
    assert not without.done() and not forgotten.done()
    run([without, forgotten], lambda line: None)
    assert destroy.use.is_unused(destroy.master, "gv0")
    assert destroy.master.tags == set()
    assert without.done() and forgotten.done()


@pytest.mark.parametrize("force", [False, True])
def test_a_volume_with_disks_of_instances_is_refused(destroy: Destroy, force: bool) -> None:
    destroy.master.add_instance("vm1", {})
    with pytest.raises(GanetiGlusterError, match="volume gv0 has disks of instances: vm1; remove"):
        destroy.plan(force=force)


def test_disks_of_another_volume_are_none_of_it(destroy: Destroy) -> None:
    ext = {"dev_type": "ext", "params": {"volume": "gv1"}, "logical_id": ["gluster", "x.0"]}
    destroy.master.add_instance("vm1", ext)
    destroy.plan()


def test_images_of_nobody_are_refused_but_by_force(destroy: Destroy) -> None:
    destroy.images = ["ganeti/x.0"]
    with pytest.raises(GanetiGlusterError, match=r"1 image\(s\) that belong to no instance: ga"):
        destroy.plan()
    assert destroy.plan(force=True)


def test_a_volume_that_does_not_tell_is_refused_but_by_force(destroy: Destroy) -> None:
    destroy.unreachable = VolumeUnreachable("volume gv0 cannot be reached", volume="gv0")
    with pytest.raises(GanetiGlusterError, match="volume gv0 cannot be reached"):
        destroy.plan()
    assert destroy.plan(force=True)


def test_one_that_is_stopped_is_not_asked(destroy: Destroy) -> None:
    destroy.unreachable = ZeroDivisionError()
    destroy.pool.there = [volume(*THREE, state="Stopped")]
    assert destroy.plan()


def test_bricks_of_nodes_that_ganeti_does_not_reach_are_named(destroy: Destroy) -> None:
    destroy.pool.there = [volume("node1", "node2", "node9")]
    destroy.pool.members.append("node9")
    destroy.master.nodes["node2"]["offline"] = True
    assert destroy.plan()[1] == ["node2:/srv/b/gv0", "node9:/srv/b/gv0"]


def test_a_disk_that_is_made_after_the_question_stops_it(destroy: Destroy) -> None:
    steps, _ = destroy.plan(force=True)
    destroy.master.add_instance("vm1", {})
    with pytest.raises(StepFailed, match="volume gv0 has disks of instances: vm1"):
        run(steps, lambda line: None)
    assert destroy.pool.there and not any("volume stop" in line for line in destroy.pool.asked)
