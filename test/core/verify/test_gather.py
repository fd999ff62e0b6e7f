"""What a node's glusterd says, in its own words, and its servers of images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster import constants
from ganeti_gluster.core.serve import control
from ganeti_gluster.core.serve.server import PROGRAM
from ganeti_gluster.core.verify import facts as f
from ganeti_gluster.core.verify import gather
from ganeti_gluster.core.verify.gather import (
    is_read_only,
    look_at_brick,
    look_at_glusterd,
    look_at_servers,
    server_problem,
)
from ganeti_gluster.tools import command
from ganeti_gluster.tools.command import CommandFailed, CommandResult
from ganeti_gluster.tools.gluster_cli import Gluster

DATA = Path(__file__).parents[2] / "tools" / "gluster_cli" / "data" / "11.1"
REFUSED = (
    "<cliOutput><opRet>-1</opRet><opErrno>0</opErrno>"
    "<opErrstr>volume get option: failed</opErrstr></cliOutput>"
)
ANSWERS = {
    "peer status": (DATA / "peer-status.xml").read_text(),
    "pool list": (DATA / "pool-list.xml").read_text(),
    "volume info": (DATA / "volume-info-none.xml").read_text(),
    "volume get": REFUSED,
}


def glusterd(**other: str) -> Gluster:
    answers = {**ANSWERS, **{words.replace("_", " "): text for words, text in other.items()}}

    def execute(argv: Sequence[str], _timeout: float) -> CommandResult:
        return CommandResult(tuple(argv), 0, answers[" ".join(argv[3:5])], "")

    return Gluster(execute, patience=0)


def test_a_glusterd_that_does_not_tell_its_op_version_is_there_all_the_same() -> None:
    told = look_at_glusterd(glusterd())
    assert (told["glusterd"], told["op_version"]) == (f.RUNNING, 0)
    assert [peer.name for peer in told["peers"]] == ["node2", "node3"]


def test_a_node_asks_glusterd_only_what_it_answers_by_itself() -> None:
    """All nodes ask at the same time: `volume status` would lock the pool, and ask all others."""
    asked = []

    def execute(argv: Sequence[str], _timeout: float) -> CommandResult:
        asked.append(" ".join(argv[3:]))
        return CommandResult(tuple(argv), 0, ANSWERS[" ".join(argv[3:5])], "")

    look_at_glusterd(Gluster(execute, patience=0))
    assert sorted(asked) == ["peer status", "pool list", "volume get all all", "volume info"]


@pytest.mark.parametrize("words", ["peer_status", "volume_info", "pool_list"])
def test_a_glusterd_that_does_not_tell_the_rest_is_not(words: str) -> None:
    told = look_at_glusterd(glusterd(**{words: REFUSED}))
    assert told["glusterd"] == f.SILENT
    assert "volume get option: failed" in told["glusterd_reason"]


def test_the_server_of_images_is_looked_at_by_running_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def run(argv: Sequence[str], *, timeout: float) -> CommandResult:
        asked.append(list(argv))
        return CommandResult(tuple(argv), 0, "image-server (ganeti-gluster) 0.9\n", "")

    monkeypatch.setattr(command, "run", run)
    assert server_problem() == ""
    assert asked == [[PROGRAM, "--version"]]


def test_a_server_of_images_that_does_not_run_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(argv: Sequence[str], *, timeout: float) -> CommandResult:
        missing = "libgfapi.so.0: cannot open shared object file"
        raise CommandFailed(argv, "exit status 127", exit_code=127, output=missing)

    monkeypatch.setattr(command, "run", run)
    assert server_problem() == (
        "%s --version: exit status 127: libgfapi.so.0: cannot open shared object file" % PROGRAM
    )


def served(state: str, waiting: float = 0.0, why: str = "") -> control.ServerStatus:
    return control.ServerStatus(
        state=state,
        mode="exclusive",
        size=4096,
        block=512,
        peers=(),
        users=0,
        waiting=waiting,
        why=why,
        requests=0,
        bricks=3,
        connected=3,
        version="0.9",
    )


def test_all_servers_of_open_images_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def status(key: str) -> control.ServerStatus | None:
        if key == "d":
            raise control.NoAnswer("its server does not answer within 5 s")
        return {
            "a": served("serving"),
            "b": served("lost", 7.0, "another node has had the image in the meantime"),
            "c": None,  # it has ended
        }[key]

    monkeypatch.setattr(constants, "IMAGE_SERVER_DIR", str(tmp_path))
    monkeypatch.setattr(control, "status", status)
    assert look_at_servers() == ()
    for key in "dcba":
        (tmp_path / (key + ".conf")).touch()
    assert look_at_servers() == (
        f.ServerView("a", "serving", image="?/?", mode="exclusive"),
        f.ServerView(
            "b",
            "lost",
            7.0,
            "another node has had the image in the meantime",
            "?/?",
            mode="exclusive",
        ),
        f.ServerView("d", "waiting", 0.0, "its server does not answer within 5 s", "?/?"),
    )


def test_a_brick_is_not_read_only_because_this_process_may_not_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        os,
        "statvfs",
        lambda path: SimpleNamespace(
            f_flag=os.ST_RDONLY, f_blocks=1, f_frsize=1, f_bavail=1, f_files=1, f_favail=1
        ),
    )
    seen = []
    monkeypatch.setattr(gather, "is_read_only", lambda path: bool(seen.append(path)))
    assert look_at_brick("gv0", "n:/x", str(tmp_path)).read_only is False
    assert seen == [str(tmp_path)]


@pytest.mark.parametrize(
    ("mounts", "inside", "expected"),
    [
        (["above"], [], True),
        (["above"], ["above/lost+found"], True),
        (["above"], ["above/b"], True),
        (["above"], ["above/b", "above/b/ganeti"], False),
        (["above"], ["above/other"], False),
        (["above", "above/b"], ["above/other", "above/b"], True),
        ([], ["above/b"], False),
        ([""], [], False),
    ],
)
def test_an_empty_file_system_is_told_from_one_that_is_not_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mounts, inside, expected
) -> None:
    mounted = {str(tmp_path / name) for name in mounts}
    monkeypatch.setattr(os.path, "ismount", lambda path: path in mounted)
    for name in ["above", *inside]:
        (tmp_path / name).mkdir()
    place = look_at_brick("gv0", "n:/x", str(tmp_path / "above/b"))
    assert (place.mounted, place.empty) == (False, expected)


ROOT_MOUNT = "20 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], False),
        (["30 20 8:2 / %s rw shared:2 - xfs /dev/sdb rw,noquota"], False),
        (["30 20 8:2 / %s ro shared:2 - xfs /dev/sdb rw,noquota"], True),
        (["30 20 8:2 / %s rw shared:2 - ext4 /dev/sdb ro,errors=remount-ro"], True),
        # Another's place, and one that is only called alike.
        (
            ["30 20 8:2 / %s/brick/x ro - xfs /dev/sdb ro", "31 20 8:3 / %s/br ro - xfs x ro"],
            False,
        ),
        # One on top of another.
        (["30 20 8:2 / %s ro - xfs x ro", "31 20 8:3 / %s/brick rw - xfs x rw"], False),
        (["30 20 8:2 / %s/brick rw - xfs x rw", "31 30 8:3 / %s/brick ro - xfs x ro"], True),
    ],
)
def test_whether_the_system_has_a_brick_read_only(
    tmp_path: Path, lines: list[str], expected: bool
) -> None:
    place = tmp_path / "with blank"
    (place / "brick").mkdir(parents=True)
    mounts = tmp_path / "mountinfo"
    escaped = str(place).replace(" ", "\\040")
    mounts.write_text("\n".join([ROOT_MOUNT, *(line % escaped for line in lines), ""]))
    assert is_read_only(str(place / "brick"), mounts) is expected
