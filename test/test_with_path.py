"""A command that has a path for an image as long as it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from ganeti_gluster import with_path
from ganeti_gluster.core.serve.holder import OpenElsewhere, node_number
from ganeti_gluster.core.volume import VolumeSpec

NODE = "node1"
SPEC = VolumeSpec.from_params({"host": "node1,[::1]:24008", "volume": "gv0"})


def argv(*, locking: bool = True) -> list[str]:
    script = ["bash", "-c", "dd of=$A --"]
    return with_path.argv(
        SPEC, "ganeti/x.0", ["A", "B"], script, node=NODE, locking=locking, patience=60
    )


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was opened, run and closed, instead of doing it; the command ends with 3."""
    calls: list[Any] = []

    class ImageInUse:
        def __init__(self, spec: VolumeSpec, path: str, patience: int) -> None:
            calls.append((spec, path, patience))
            self.spec = spec

        @contextlib.contextmanager
        def with_device(self, number: int, *, locking: bool) -> Iterator[str]:
            calls.append((number, locking))
            yield "/dev/nbd0"
            calls.append("closed")

    @contextlib.contextmanager
    def connect(spec: VolumeSpec) -> Iterator[str]:
        yield "volume"

    @contextlib.contextmanager
    def kept(volume: str, in_use: ImageInUse, *, node: str) -> Iterator[None]:
        calls.append((volume, node))
        yield
        calls.append("given back")

    def run(path: str, variables: Sequence[str], command: Sequence[str]) -> int:
        calls.append((path, list(variables), list(command)))
        return 3

    monkeypatch.setattr(with_path, "ImageInUse", ImageInUse)
    monkeypatch.setattr(with_path, "connect", connect)
    monkeypatch.setattr(with_path, "kept_from_others", kept)
    monkeypatch.setattr(with_path, "_run", run)
    return calls


@pytest.mark.parametrize("locking", [True, False])
def test_the_program_reads_what_its_command_says(used: list[Any], locking: bool) -> None:
    words = argv(locking=locking)
    assert words[:4] == ["/usr/bin/python3", "-P", "-m", "ganeti_gluster.with_path"]
    assert with_path.main(words[4:]) == 3
    assert used == [
        (SPEC, "ganeti/x.0", 60),
        (node_number(NODE), locking),
        *([("volume", NODE)] if locking else []),
        ("/dev/nbd0", ["A", "B"], ["bash", "-c", "dd of=$A --"]),
        *(["given back"] if locking else []),
        "closed",
    ]


def test_an_image_that_is_open_elsewhere_runs_nothing(
    used: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(self: Any, number: int, *, locking: bool) -> None:
        raise OpenElsewhere("ganeti/x.0", None)

    monkeypatch.setattr(with_path.ImageInUse, "with_device", refuse)
    assert with_path.main(argv()[4:]) == 1
    assert capsys.readouterr().err == "Failure: image ganeti/x.0 is open on another node\n"
    assert len(used) == 1
