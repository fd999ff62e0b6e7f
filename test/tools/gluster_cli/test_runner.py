"""What is taken for success, for failure and for a glusterd that is busy."""

from __future__ import annotations

import pytest

from ganeti_gluster.tools.command import CommandResult
from ganeti_gluster.tools.gluster_cli import (
    Gluster,
    GlusterBusy,
    GlusterdDown,
    GlusterFailed,
    runner,
)

SUCCESS = "<cliOutput><opRet>0</opRet><opErrno>0</opErrno><opErrstr/></cliOutput>"


class Answers:
    """Stands for the command: gives one text after the other, the last for ever."""

    def __init__(self, *texts):
        self.texts = list(texts)
        self.asked = []

    def __call__(self, argv, timeout):
        self.asked.append(list(argv))
        text = self.texts.pop(0) if len(self.texts) > 1 else self.texts[0]
        return CommandResult(tuple(argv), 0, text, "")


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(runner, "PAUSE", 0)


def test_the_command_asks_nothing_and_answers_in_xml():
    answers = Answers(SUCCESS)
    Gluster(answers).ask("volume", "info")
    assert answers.asked == [["gluster", "--mode=script", "--xml", "volume", "info"]]


@pytest.mark.parametrize(
    ("name", "number", "message"),
    [
        (
            "peer-probe-unknown",
            107,
            "gluster volume x: Probe returned with Transport endpoint is not connected",
        ),
        ("volume-create-exists", 0, "gluster volume x: Volume gv0 already exists"),
        ("volume-status-stopped", 30800, "gluster volume x: Volume gv0 is not started"),
        ("rebalance-none", 30800, "gluster volume x: Rebalance not started for volume distrep"),
    ],
)
def test_exit_status_0_does_not_count(text, name, number, message):
    with pytest.raises(GlusterFailed) as caught:
        Gluster(Answers(text(name + ".xml"))).ask("volume", "x")
    assert (str(caught.value), caught.value.number) == (message, number)


def test_without_a_glusterd(text):
    with pytest.raises(GlusterdDown) as caught:
        Gluster(Answers(text("glusterd-down.txt"))).peers()
    assert str(caught.value) == (
        "gluster peer status: no glusterd answers; start it with: systemctl start glusterd"
    )


def test_a_busy_glusterd_is_asked_again(text):
    answers = Answers(text("busy.xml"), text("busy.xml"), SUCCESS)
    Gluster(answers).ask("volume", "set")
    assert len(answers.asked) == 3


def test_a_locked_peer_counts_as_busy():
    locked = SUCCESS.replace(">0</opRet>", ">-1</opRet>").replace(
        "<opErrstr/>", "<opErrstr>Locking failed on node2. Please check log file.</opErrstr>"
    )
    answers = Answers(locked, SUCCESS)
    Gluster(answers).ask("volume", "set")
    assert len(answers.asked) == 2


def test_patience_ends(text):
    with pytest.raises(GlusterBusy, match="Another transaction is in progress for dist"):
        Gluster(Answers(text("busy.xml")), patience=-1).ask("volume", "set")


def test_profiling_that_is_off_is_no_error(text):
    assert Gluster(Answers(text("profile-off.xml"))).profile("gv0") is None


def test_one_volume_of_several(text):
    gluster = Gluster(Answers(text("volume-info.xml")))
    found = gluster.volume("gv0")
    assert found is not None
    assert found.name == "gv0"
    assert gluster.volume("nosuch") is None


def test_a_heal_is_started_without_xml():
    answers = Answers("Launching heal operation to perform index self heal on volume gv0 ...")
    assert Gluster(answers).start_heal("gv0", full=True) == ""
    assert answers.asked == [["gluster", "--mode=script", "volume", "heal", "gv0", "full"]]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("\x1b[2J\0", "�[2J�"),
        ("<cliOutput><opRet>-1</opRet><opErrstr>\x9b2J</opErrstr></cliOutput>", "�2J"),
        (
            "<cliOutput><opRet>0</opRet><count>%s</count></cliOutput>" % ("9" * 5000),
            "the answer is not understood: a number that is out of range",
        ),
    ],
)
def test_what_another_node_answers_can_be_read_and_printed(answer, said):
    with pytest.raises(GlusterFailed) as caught:
        Gluster(Answers(answer)).volumes()
    assert str(caught.value) == "gluster volume info: " + said


def test_names_in_an_answer_can_be_printed():
    peer = "<peer><hostname>a\x9b2J</hostname><state>--5</state></peer>"
    answer = "<cliOutput><opRet>0</opRet><peerStatus>%s</peerStatus></cliOutput>" % peer
    (found,) = Gluster(Answers(answer)).peers()
    assert (found.hostname, found.state) == ("a�2J", -1)
