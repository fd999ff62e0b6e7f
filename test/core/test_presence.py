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
from ganeti_gluster.tools.gfapi import FileStat

SPEC = VolumeSpec.from_params({"volume": "gv0", "host": "node1,node2", "port": 24007})


class Volume:
    """One that has the image a."""

    def __enter__(self) -> Volume:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def lstat(self, path: str) -> FileStat:
        if path != "ganeti/a.0":
            raise FileNotFoundError(path)
        return FileStat(0o100600, 1 << 20, 0, 0, 0, 1.5, 171, 1)


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
    stamp = "ab 1048576"
    assert presence.stamps(SPEC, wanted, run=through_main) == {"ganeti/a.0": stamp}


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


def test_in_a_job_which_does_not_know_the_exit_status_the_reason_is_told() -> None:
    done = CommandResult((), 0, "", "ganeti/a.0: Permission denied\n")
    with pytest.raises(GanetiGlusterError, match=r"volume gv0: ganeti/a\.0: Permission denied"):
        presence.present(SPEC, {"ganeti/a.0"}, run=lambda argv, **_: done)


def test_nothing_that_was_not_asked_for_is_believed() -> None:
    said = json.dumps({"ganeti/a.0": "1", "ganeti/z.0": "2"})
    found = presence.present(
        SPEC, {"ganeti/a.0"}, run=lambda argv, **_: CommandResult(tuple(argv), 0, said, "")
    )
    assert found == {"ganeti/a.0"}
