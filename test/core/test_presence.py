"""Which images are on a volume, asked of another process."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import pytest

from ganeti_gluster.core import presence
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError, VolumeNotFound
from ganeti_gluster.tools.command import CommandResult

SPEC = VolumeSpec.from_params({"volume": "gv0", "host": "node1,node2", "port": 24007})


class Volume:
    """One that has the image a."""

    def __enter__(self) -> Volume:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def access(self, path: str) -> bool:
        return path == "ganeti/a.0"


def through_main(argv: list[str], **_: Any) -> CommandResult:
    """Run the program in this process."""
    assert argv[:4] == ["/usr/bin/python3", "-P", "-m", presence.MODULE]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = presence.main(argv[4:])
    return CommandResult(tuple(argv), code, out.getvalue(), err.getvalue())


def test_what_is_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "connect", lambda spec: Volume())
    wanted = {"ganeti/a.0", "ganeti/b.0"}
    assert presence.present(SPEC, wanted, run=through_main) == {"ganeti/a.0"}


def test_a_volume_that_is_not_there_has_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(spec: VolumeSpec) -> Volume:
        assert spec == SPEC
        raise VolumeNotFound(
            "there is no volume gv0", volume="gv0", servers=[("node1", "no such volume")]
        )

    monkeypatch.setattr(presence, "connect", connect)
    assert presence.present(SPEC, {"ganeti/a.0"}, run=through_main) == set()


def test_one_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(spec: VolumeSpec) -> Volume:
        raise GanetiGlusterError("no server answers")

    monkeypatch.setattr(presence, "connect", connect)
    with pytest.raises(GanetiGlusterError, match="volume gv0: no server answers"):
        presence.present(SPEC, {"ganeti/a.0"}, run=through_main)


def test_nothing_that_was_not_asked_for_is_believed() -> None:
    said = json.dumps(["ganeti/a.0", "ganeti/z.0"])
    found = presence.present(
        SPEC, {"ganeti/a.0"}, run=lambda argv, **_: CommandResult(tuple(argv), 0, said, "")
    )
    assert found == {"ganeti/a.0"}
