"""What a node's glusterd says, in the words that it said it with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ganeti_gluster.command import CommandResult
from ganeti_gluster.gluster_cli import Gluster
from ganeti_gluster.verify import facts as f
from ganeti_gluster.verify.gather import look_at_glusterd

DATA = Path(__file__).parents[1] / "gluster_cli" / "data" / "11.1"
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


@pytest.mark.parametrize("words", ["peer_status", "volume_info", "pool_list"])
def test_a_glusterd_that_does_not_tell_the_rest_is_not(words: str) -> None:
    told = look_at_glusterd(glusterd(**{words: REFUSED}))
    assert told["glusterd"] == f.SILENT
    assert "volume get option: failed" in told["glusterd_reason"]
