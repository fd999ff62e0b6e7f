"""A conversion has the image's lock, shared for its source and alone for its target."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from local_volume import LocalVolume

from ganeti_gluster.core import at_rest
from ganeti_gluster.core.serve import holder
from ganeti_gluster.core.serve.hold import LockLost
from ganeti_gluster.core.serve.holder import node_number, work_number
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import CopyFailed

SPEC = VolumeSpec.from_params({"host": "node1", "volume": "gv0"})
IMAGE = "ganeti/x.0"
OURS = SimpleNamespace(place=(SPEC, IMAGE))
CONTENT = b"disk" * 1024


class Node:
    """What the node copies on: `during` is called when a copy is under way."""

    def __init__(self, volume: LocalVolume, path: Path) -> None:
        self.volume = volume
        self.path = path
        self.during: Callable[[], object] = lambda: None

    @property
    def file(self) -> Any:
        return SimpleNamespace(dev_path=str(self.path), place=None)

    def lock(self) -> tuple[int, int] | None:
        with self.volume.open(IMAGE, write=True) as file:
            return file.conflicting_lock(fcntl.F_WRLCK)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    (tmp_path / "volume").mkdir()
    volume = LocalVolume(tmp_path / "volume")
    volume.write(IMAGE, CONTENT)
    (tmp_path / "file").write_bytes(CONTENT[::-1])
    in_use = SimpleNamespace(status=lambda: None, end=lambda: None)
    monkeypatch.setattr(at_rest, "ImageInUse", lambda spec, path, patience: in_use)
    monkeypatch.setattr(holder, "ask_each", lambda volume, question: [])
    return Node(volume, tmp_path / "file")


@pytest.fixture
def module(ganeti: SimpleNamespace, node: Node, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    found: ModuleType = ganeti.load("convert")

    @contextlib.contextmanager
    def connect(spec: VolumeSpec) -> Iterator[LocalVolume]:
        yield node.volume

    copy = vars(found)["copy"]

    def copied(*arguments: Any) -> Any:
        node.during()
        return copy(*arguments)

    monkeypatch.setattr(found, "connect", connect)
    monkeypatch.setattr(found, "copy", copied)
    return found


def test_the_source_is_shared_with_who_reads_it(module: ModuleType, node: Node) -> None:
    seen = []
    node.during = lambda: seen.append(node.lock())
    module.convert(OURS, node.file)
    assert seen == [(fcntl.F_RDLCK, work_number("node1"))]
    assert node.path.read_bytes() == CONTENT
    assert node.volume.files == []


def test_the_target_is_nobody_elses(module: ModuleType, node: Node) -> None:
    seen = []
    node.during = lambda: seen.append(node.lock())
    module.convert(node.file, OURS)
    assert seen == [(fcntl.F_WRLCK, work_number("node1"))]
    assert node.volume.read(IMAGE) == CONTENT[::-1]
    assert node.volume.files == []


@pytest.mark.parametrize("to_file", [True, False])
def test_an_image_that_another_node_has_is_refused_with_its_name(
    module: ModuleType, node: Node, to_file: bool
) -> None:
    devices = (OURS, node.file) if to_file else (node.file, OURS)
    with (
        node.volume.elsewhere(IMAGE, node_number("node2")),
        pytest.raises(CopyFailed, match="is open on node node2"),
    ):
        module.convert(*devices)
    assert node.volume.read(IMAGE) == CONTENT
    assert node.path.read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("to_file", [True, False])
def test_a_copy_whose_lock_was_lost_has_failed(
    module: ModuleType, node: Node, to_file: bool
) -> None:
    node.during = lambda: node.volume.lose(IMAGE)
    devices = (OURS, node.file) if to_file else (node.file, OURS)
    with pytest.raises((LockLost, CopyFailed)):
        module.convert(*devices)
