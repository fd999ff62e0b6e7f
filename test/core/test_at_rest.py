"""Images that are kept as they are, and images that nobody else has."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from local_volume import LocalVolume

from ganeti_gluster.core import at_rest
from ganeti_gluster.core.serve import holder
from ganeti_gluster.core.serve.files import EXCLUSIVE, SHARED
from ganeti_gluster.core.serve.hold import LockLost
from ganeti_gluster.core.serve.holder import OpenElsewhere, node_number
from ganeti_gluster.core.volume import VolumeSpec

IMAGE = "ganeti/x.0"
SPEC = VolumeSpec.from_params({"host": "node1", "volume": "gv0"})
NODE = "node1"


class Server:
    """This node's server of the image: what it holds, and what was asked of it in `calls`."""

    def __init__(self, volume: LocalVolume, mode: str = "") -> None:
        self._volume = volume
        self._file: Any = None
        self.mode = ""
        self.user = False
        self.calls: list[str] = []
        if mode:
            self.change(mode)
            self.calls.clear()

    def change(self, mode: str) -> None:
        self.calls.append(mode)
        if self._file is None:
            self._file = self._volume.open(IMAGE, write=True)
        self._file.lock(0 if mode == SHARED else 1, pid=node_number(NODE))
        self.mode = mode

    @property
    def server(self) -> Server:
        return self

    @property
    def path(self) -> str:
        return IMAGE

    @property
    def spec(self) -> VolumeSpec:
        return SPEC

    def status(self) -> Any:
        return SimpleNamespace(mode=self.mode) if self.mode else None

    def has_user(self) -> bool:
        return self.user

    def flush(self) -> None:
        self.calls.append("flush")

    def end(self) -> None:
        self.calls.append("end")
        if self._file is not None:
            self._file.close()
        self._file, self.mode = None, ""


@pytest.fixture
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(holder, "ask_each", lambda volume, question: [])
    found = LocalVolume(tmp_path)
    found.write(IMAGE, b"old")
    return found


def serving(volume: Any, monkeypatch: pytest.MonkeyPatch, mode: str = "") -> Server:
    server = Server(volume, mode)
    monkeypatch.setattr(at_rest, "ImageInUse", lambda spec, path, patience: server)
    return server


@pytest.mark.parametrize("mode", ["", EXCLUSIVE])
def test_who_is_alone_keeps_all_others_out(
    volume: Any, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    server = serving(volume, monkeypatch, mode)
    with at_rest.alone(volume, SPEC, IMAGE, node=NODE) as hold:
        hold.check()
        with pytest.raises(OSError, match="locked"):
            server.change(EXCLUSIVE)
        with (
            pytest.raises(OpenElsewhere),
            at_rest.locked(volume, IMAGE, node="node2", shared=True),
        ):
            pytest.fail("it is written")
    server.change(EXCLUSIVE)


def test_an_image_that_is_used_here_is_not_taken(
    volume: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serving(volume, monkeypatch, EXCLUSIVE)
    server.user = True
    for kept in (at_rest.alone, at_rest.at_rest):
        with (
            pytest.raises(at_rest.NotAtRest, match="is in use on this node"),
            kept(volume, SPEC, IMAGE, node=NODE),
        ):
            pytest.fail("it is in use")
    assert server.calls == []


def test_an_image_that_another_node_has_is_not_taken(
    volume: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving(volume, monkeypatch)
    for kept in (at_rest.alone, at_rest.at_rest):
        with (
            volume.elsewhere(IMAGE, node_number("node2")),
            pytest.raises(OpenElsewhere),
            kept(volume, SPEC, IMAGE, node=NODE),
        ):
            pytest.fail("another has it")
    assert volume.files == []


def test_what_a_script_works_on_is_nobodys_meanwhile(
    volume: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serving(volume, monkeypatch, EXCLUSIVE)
    server.user = True  # the script itself
    with at_rest.kept_from_others(volume, server, node=NODE):  # type: ignore[arg-type]
        with pytest.raises(OSError, match="locked"):
            server.change(EXCLUSIVE)
        assert server.mode == SHARED
    assert server.mode == EXCLUSIVE


@pytest.mark.parametrize("mode", [EXCLUSIVE, ""])
def test_a_script_whose_image_another_had_has_failed(
    volume: Any, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    server = serving(volume, monkeypatch, EXCLUSIVE)
    with (
        pytest.raises(LockLost, match="may have been used by another"),
        at_rest.kept_from_others(volume, server, node=NODE),  # type: ignore[arg-type]
    ):
        server.mode = mode  # a start on this node, or a server that has lost it


def test_the_scripts_own_error_counts(volume: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serving(volume, monkeypatch, EXCLUSIVE)
    with (
        pytest.raises(ValueError, match="broken"),
        at_rest.kept_from_others(volume, server, node=NODE),  # type: ignore[arg-type]
    ):
        raise ValueError("broken")
    assert server.mode == EXCLUSIVE
