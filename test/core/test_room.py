"""The space of a volume, asked of another process."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import pytest

from ganeti_gluster.core import room
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.command import CommandResult
from ganeti_gluster.tools.gfapi.stat import Space

SPEC = VolumeSpec.from_params({"volume": "gv0", "host": "node1,node2", "port": 24007})


class Volume:
    def __enter__(self) -> Volume:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def space(self) -> Space:
        return Space(9, 4)


def through_main(argv: list[str], **_: Any) -> CommandResult:
    """Run the program in this process."""
    assert argv[:4] == ["/usr/bin/python3", "-P", "-m", room.MODULE]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = room.main(argv[4:])
    return CommandResult(tuple(argv), code, out.getvalue(), err.getvalue())


def test_the_space_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(spec: VolumeSpec) -> Volume:
        assert spec == SPEC
        return Volume()

    monkeypatch.setattr(room, "connect", connect)
    assert room.of_volume(SPEC, run=through_main) == Space(9, 4)


def test_a_volume_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(spec: VolumeSpec) -> Volume:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(room, "connect", connect)
    with pytest.raises(GanetiGlusterError, match="volume gv0: Input/output error"):
        room.of_volume(SPEC, run=through_main)


@pytest.mark.parametrize("printed", ["", "\n", "no", "[]", "[1]", '["1", 2]', "[-1, 2]"])
def test_another_answer_is_an_error(printed: str) -> None:
    def run(argv: list[str], **_: Any) -> CommandResult:
        return CommandResult(tuple(argv), 0, printed, "")

    with pytest.raises(GanetiGlusterError):
        room.of_volume(SPEC, run=run)
