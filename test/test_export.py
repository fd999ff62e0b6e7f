"""Exports: one daemon an image, flushed before it goes, nothing left behind."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ganeti_gluster import constants, export
from ganeti_gluster.command import CommandFailed, CommandResult
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.export import Export, ExportFailed
from ganeti_gluster.volume import Server, VolumeSpec

SPEC = VolumeSpec("gv0", (Server("node1", 24007), Server("node2", 24007)))
IMAGE = "ganeti/9f8d.0"


class Node:
    """A node's systemd and mounts, as far as exports go."""

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.mounted = False
        self.fail: str | None = None

    def run(self, argv: Sequence[str], *, timeout: float, check: bool = True) -> CommandResult:
        self.commands.append(argv[0] if argv[0] != "systemctl" else "systemctl %s" % argv[2])
        if argv[0] == self.fail:
            raise CommandFailed(argv, "exit status 32", exit_code=32, output="target is busy")
        if argv[0] == "systemd-run":
            self.mounted = True
        if argv[0] == "umount":
            self.mounted = False
        return CommandResult(tuple(argv), 0, "", "")


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    node = Node()
    monkeypatch.setattr(constants, "EXPORT_DIR", str(tmp_path / "exports"))
    monkeypatch.setattr(export, "mounted_at", lambda path: node.mounted)
    return node


def an_export(node: Node, image: str = IMAGE) -> Export:
    return Export(SPEC, image, run=node.run)


CLEARED = ["systemctl kill", "systemctl stop", "systemctl reset-failed", "umount"]


def test_constructing_one_does_nothing(node: Node) -> None:
    an_export(node)
    assert node.commands == []
    assert not os.path.exists(constants.EXPORT_DIR)


def test_images_have_different_paths_and_units(node: Node) -> None:
    images = [an_export(node, image) for image in ("a/b.0", "a/b.1", "a-b.0")]
    assert len({image.path for image in images}) == 3
    assert len({image.unit for image in images}) == 3
    assert an_export(node).path == an_export(node).path


def test_an_active_export_is_used_as_it_is(node: Node) -> None:
    first = an_export(node).start()
    assert an_export(node).start() == first
    assert node.commands == ["systemd-run"]


def test_the_daemon_opens_the_image_raw_and_uncached(node: Node) -> None:
    argv = export.start_argv(an_export(node))
    blockdev = json.loads(argv[argv.index("--blockdev") + 1])
    assert blockdev["driver"] == "raw"
    assert blockdev["cache"] == {"direct": True}
    assert blockdev["file"]["driver"] == "gluster"
    assert [server["host"] for server in blockdev["file"]["server"]] == ["node1", "node2"]
    assert blockdev["file"]["path"] == IMAGE


def test_a_failed_start_leaves_nothing(node: Node) -> None:
    node.fail = "systemd-run"
    with pytest.raises(ExportFailed, match="cannot export image %s of volume gv0" % IMAGE):
        an_export(node).start()
    assert node.commands == ["systemd-run", *CLEARED]
    assert os.listdir(constants.EXPORT_DIR) == []


def test_a_daemon_that_died_is_replaced(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    an_export(node).start()
    monkeypatch.setattr(Export, "_answers", lambda self: False)
    an_export(node).start()
    assert node.commands == ["systemd-run", *CLEARED, "systemd-run"]


def test_stopping_one_whose_daemon_died_takes_it_away_and_says_so(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    an_export(node).start()
    node.commands.clear()
    monkeypatch.setattr(Export, "_answers", lambda self: False)
    with pytest.raises(ExportFailed, match="had died; what was written to"):
        an_export(node).stop()
    assert node.commands == CLEARED
    an_export(node).stop()  # and nothing is left to say


def test_stopping_flushes_first_then_unmounts_then_kills(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    an_export(node).start()
    node.commands.clear()
    monkeypatch.setattr(export, "_flush", lambda path: node.commands.append("flush"))
    an_export(node).stop()
    assert node.commands == ["flush", "umount", *CLEARED]
    assert os.listdir(constants.EXPORT_DIR) == []


def test_stopping_what_is_not_exported_runs_nothing(node: Node) -> None:
    an_export(node).stop()
    assert node.commands == []


def test_an_image_that_cannot_be_flushed_stays_exported(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: str) -> None:
        raise OSError(107, "Transport endpoint is not connected", path)

    an_export(node).start()
    node.commands.clear()
    monkeypatch.setattr(export, "_flush", fail)
    with pytest.raises(ExportFailed, match="could not be flushed: Transport endpoint"):
        an_export(node).stop()
    assert node.commands == []
    assert node.mounted


def test_an_export_in_use_stays(node: Node) -> None:
    an_export(node).start()
    node.commands.clear()
    node.fail = "umount"
    with pytest.raises(ExportFailed, match=r"still in use: umount .*: target is busy") as caught:
        an_export(node).stop()
    assert node.commands == ["umount"]
    assert caught.value.hint == "find the user with fuser -m %s" % an_export(node).path


def test_the_flush_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> Any:
        raise OSError(5, "Input/output error")

    path = tmp_path / "image"
    path.touch()
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error"):
        export._flush(str(path))


def test_its_errors_are_the_packages(node: Node) -> None:
    assert issubclass(ExportFailed, GanetiGlusterError)
