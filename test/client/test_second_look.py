"""Whoever is asked may answer hours later: what was true then is looked at again."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.core.serve.holder import OpenElsewhere
from ganeti_gluster.core.services import config, control
from ganeti_gluster.core.snapshot.catalogue import About, Snapshot
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import CopyFailed

from .conftest import Person

Import = Callable[[str], Any]

SPEC = VolumeSpec.from_params({"volume": "gv0", "host": "node1"})


@contextlib.contextmanager
def no_connection(spec: VolumeSpec) -> Iterator[None]:
    yield None


# -- services ----------------------------------------------------------------


@pytest.mark.parametrize("verb", ["Stop", "Restart"])
def test_services_are_left_alone_where_another_node_has_them_by_now(
    client: Import, person: Person, opts: Any, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    swift = client("swift")
    nodes = [SimpleNamespace(name="node1")]
    monkeypatch.setattr(swift.config, "load", config.ServicesConfig)
    monkeypatch.setattr(swift.services, "targets_of", lambda type, named: nodes)
    monkeypatch.setattr(swift.services, "choose_services", lambda type, named: type.services)
    monkeypatch.setattr(swift.services, "run", lambda *args, **named: pytest.fail("it was done"))
    person.meanwhile = lambda: nodes.append(SimpleNamespace(name="node2"))
    opts.type = config.GLUSTER_SWIFT

    with pytest.raises(swift.errors.OpPrereqError, match=r"Nothing was done: .* on node1, node2"):
        getattr(swift, verb)(opts, [])
    assert len(person.questions) == 1


def test_services_that_are_as_they_were_are_stopped(
    client: Import, person: Person, opts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    swift = client("swift")
    done = []
    monkeypatch.setattr(swift.config, "load", config.ServicesConfig)
    monkeypatch.setattr(
        swift.services, "targets_of", lambda type, named: [SimpleNamespace(name="node1")]
    )
    monkeypatch.setattr(swift.services, "choose_services", lambda type, named: type.services)
    monkeypatch.setattr(
        swift.services, "run", lambda verb, *args, **named: done.append(verb) or []
    )
    opts.type = config.GLUSTER_SWIFT
    swift.Stop(opts, [])
    assert done == [control.STOP]


# -- images ------------------------------------------------------------------


class Export:
    """`image export` to a device that is a file, of an image that nobody has open."""

    def __init__(self, copy: Any, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.copy = copy
        self.place = place
        self.is_device = True
        self.holder: object = None
        self.locked = False
        self.copied: list[str] = []
        source = contextlib.nullcontext(SimpleNamespace(name="image ganeti/x.0 of volume gv0"))
        monkeypatch.setattr(copy, "ImageSource", lambda volume, path: source)
        monkeypatch.setattr(
            copy, "connect", lambda spec: contextlib.nullcontext(SimpleNamespace(name="gv0"))
        )
        monkeypatch.setattr(copy, "is_block_device", lambda path: self.is_device)
        monkeypatch.setattr(copy, "locked", self.lock_image)
        monkeypatch.setattr(copy.node_names, "own", lambda: "node1")
        monkeypatch.setattr(copy, "ExistingFile", lambda path: path)
        monkeypatch.setattr(copy, "_run", self.copy_to)

    @contextlib.contextmanager
    def lock_image(self, volume: Any, path: str, *, node: str, shared: bool) -> Iterator[Any]:
        assert (path, node, shared) == ("ganeti/x.0", "node1", True)
        if self.holder is not None:
            raise OpenElsewhere(path, None)
        self.locked = True
        yield SimpleNamespace(check=lambda: None)
        self.locked = False

    def copy_to(self, opts: Any, source: Any, target: str, confirm: object) -> None:
        assert self.locked and confirm is not None
        self.copied.append(target)

    def run(self, opts: Any) -> None:
        opts.host = "node1"
        self.copy.Export(opts, ["gv0/ganeti/x.0", str(self.place)])


@pytest.fixture
def export(
    client: Import, person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Export:
    place = tmp_path / "device"
    place.touch()
    return Export(client("copy"), place, monkeypatch)


def test_a_device_that_is_what_it_was_is_written_to(export: Export, opts: Any) -> None:
    export.run(opts)
    assert export.copied == [str(export.place)]


def test_what_is_no_device_any_more_is_not_overwritten(
    export: Export, person: Person, opts: Any
) -> None:
    person.meanwhile = lambda: setattr(export, "is_device", False)
    with pytest.raises(CopyFailed, match="is no longer the device that was confirmed"):
        export.run(opts)
    assert not export.copied


def test_another_device_of_the_same_name_is_not_overwritten(
    export: Export, person: Person, opts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.stat
    numbers = iter([7, 8])

    def look(path: Any, **options: Any) -> Any:
        if path == str(export.place):
            return SimpleNamespace(st_rdev=next(numbers), st_mode=stat.S_IFBLK)
        return real(path, **options)

    monkeypatch.setattr(os, "stat", look)
    with pytest.raises(CopyFailed, match="is no longer the device that was confirmed"):
        export.run(opts)
    assert not export.copied


def test_an_image_that_was_opened_meanwhile_is_not_copied(
    export: Export, person: Person, opts: Any
) -> None:
    def open_it() -> None:
        assert not export.locked  # for as long as the answer takes
        export.holder = "node2"

    person.meanwhile = open_it
    with pytest.raises(CopyFailed, match="is open on a node"):
        export.run(opts)
    assert not export.copied


# -- snapshots ---------------------------------------------------------------

COMMANDS = pytest.mark.parametrize("command", ["Restore", "Remove"])


class Catalogue:
    """A volume with one snapshot of an instance, and what is done with it."""

    def __init__(self, snapshot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken = 1000.0
        self.images = {0: SimpleNamespace(path="ganeti/x.0.snap.s")}
        self.done: list[str] = []
        instance = SimpleNamespace(
            name="vm1", uuid="u", node="node1", running=False, volume=SPEC, paths={0: "ganeti/x.0"}
        )
        monkeypatch.setattr(snapshot, "connect", no_connection)
        monkeypatch.setattr(snapshot.snapshots, "find", lambda names: [instance])
        monkeypatch.setattr(snapshot.snapshots, "choose", lambda instance, disks: ())
        monkeypatch.setattr(snapshot.catalogue, "find", self.find)
        monkeypatch.setattr(snapshot.catalogue, "find_complete", self.find)
        monkeypatch.setattr(
            snapshot.snapshots,
            "carry_out",
            lambda instance, wanted, listen: self.done.append(wanted.operation),
        )
        self.snapshot = snapshot

    def find(self, volume: Any, uuid: str, paths: Any, name: str) -> Snapshot:
        about = About("vm1", name, self.taken, tuple(self.images))
        return Snapshot(uuid, name, about, dict(self.images), ())

    def run(self, command: str, opts: Any) -> None:
        getattr(self.snapshot, command)(opts, ["vm1", "s"])


@pytest.fixture
def catalogue(client: Import, person: Person, monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    return Catalogue(client("snapshot"), monkeypatch)


@COMMANDS
def test_a_snapshot_that_is_the_same_is_used(
    catalogue: Catalogue, opts: Any, command: str
) -> None:
    catalogue.run(command, opts)
    assert catalogue.done == [command.lower()]


@COMMANDS
def test_a_newer_snapshot_of_the_same_name_is_not(
    catalogue: Catalogue, person: Person, opts: Any, command: str
) -> None:
    person.meanwhile = lambda: setattr(catalogue, "taken", 2000.0)
    with pytest.raises(
        catalogue.snapshot.errors.OpPrereqError,
        match="Snapshot s has been replaced by another one since you were asked",
    ):
        catalogue.run(command, opts)
    assert not catalogue.done


@COMMANDS
def test_nor_one_that_has_other_disks_by_now(
    catalogue: Catalogue, person: Person, opts: Any, command: str
) -> None:
    person.meanwhile = lambda: catalogue.images.update({1: SimpleNamespace(path="y")})
    with pytest.raises(
        catalogue.snapshot.errors.OpPrereqError,
        match="Snapshot s has been replaced by another one since you were asked",
    ):
        catalogue.run(command, opts)
    assert not catalogue.done


# -- images that somebody holds, or nobody -----------------------------------


def test_only_images_that_the_node_still_has_are_taken_from_it(
    client: Import, person: Person, opts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = client("disk")
    holder = {"ganeti/x.0": 1, "ganeti/x.1": 1}
    disks = [SimpleNamespace(spec=SPEC, path=path) for path in holder]
    taken = []
    monkeypatch.setattr(disk.instance_disks, "find", lambda names: disks)
    monkeypatch.setattr(disk.node_names, "every", lambda: ["node1"])
    monkeypatch.setattr(disk, "node_number", lambda node: 1)
    monkeypatch.setattr(disk.evict, "last_holder", lambda spec, path, nodes: holder[path])
    monkeypatch.setattr(disk.evictions, "take_from", lambda node, images: taken.append(images))
    person.meanwhile = lambda: holder.update({"ganeti/x.0": 0})

    assert disk.Evict(opts, ["vm1"]) == 0
    assert taken == [[(SPEC, "ganeti/x.1")]]


def test_an_orphan_that_is_an_instance_s_by_now_is_left_alone(
    client: Import, person: Person, opts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    orphans = client("orphans")
    image = SimpleNamespace(path="ganeti/x.0", size=1, allocated=1, mtime=0.0)
    found = [SimpleNamespace(spec=SPEC, image=image, leftover=False, origin="")]
    monkeypatch.setattr(orphans.cluster_config, "load", lambda: None)
    monkeypatch.setattr(orphans.orphans, "find", lambda config: (list(found), 0))
    monkeypatch.setattr(orphans.orphans, "remove", lambda candidate: pytest.fail("removed"))
    person.meanwhile = found.clear

    orphans.RemoveOrphans(opts, [])
    assert "Did not remove ganeti/x.0 of volume gv0" in person.shown[-1]
