"""Findings of our hook as lines of Ganeti's verification."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.core.verify import expected_volumes
from ganeti_gluster.core.verify.finding import MARK, Finding
from ganeti_gluster.errors import PatchRefused
from ganeti_gluster.patches import cluster_verify
from ganeti_gluster.tools.decode import as_data

ERROR = Finding.of("BRICK_DOWN", "node1:/b", "it is not running", volume="gv0")
WARNING = Finding.of("NODED_STALE", "node1", "old")


class Stock:
    """The part of Ganeti's unit that is extended."""

    ETYPE_ERROR, ETYPE_WARNING = "ERROR", "WARNING"

    def __init__(self, *, error_codes: bool = False, ignored: tuple[str, ...] = ()) -> None:
        self.op = SimpleNamespace(error_codes=error_codes, ignore_errors=ignored, depends=None)
        self.said: list[tuple[Any, ...]] = []
        self.cfg = SimpleNamespace(
            GetNodeName=lambda uuid: uuid.removeprefix("uuid-"),
            GetNodeList=lambda: ["uuid-node1", "uuid-node2"],
        )

    def BuildHooksEnv(self) -> dict[str, str]:
        return {"CLUSTER_TAGS": ""}

    def HooksCallBack(self, phase, hooks_results, feedback_fn, lu_result):
        return lu_result

    def _ErrorMsgList(self, descriptor, name, messages, log_type):
        self.said.append((log_type, descriptor[1], name, *messages))


@pytest.fixture
def unit() -> type[Stock]:
    class Own(Stock):
        pass

    constants = SimpleNamespace(
        HOOKS_PHASE_POST="post",
        CV_ENODEHOOKS=("node", "ENODEHOOKS", ""),
        CV_TNODE="node",
        DT_GLUSTER="gluster",
        DT_EXT="ext",
    )
    cluster_verify.extend(SimpleNamespace(LUClusterVerifyGroup=Own, constants=constants))
    return Own


def results(*findings: Any, **changed: Any) -> dict[str, Any]:
    output = "noise\\n" + MARK + json.dumps([as_data(each) for each in findings]) + "\\nnoise"
    usual = {"fail_msg": "", "offline": False, "payload": [(cluster_verify.HOOK, 0, output)]}
    return {"uuid-node1": SimpleNamespace(**{**usual, **changed})}


def test_an_error_fails_verification_and_a_warning_does_not(unit) -> None:
    lu = unit()
    assert lu.HooksCallBack("post", results(WARNING), None, True) is True
    assert lu.HooksCallBack("post", results(ERROR), None, True) is False
    assert [(kind, code, node) for kind, code, node, _ in lu.said] == [
        ("WARNING", "NODED_STALE", "node1"),
        ("ERROR", "BRICK_DOWN", "node1"),
    ]
    assert lu.said[0][3].startswith("NODED_STALE: old; ")
    assert lu.said[1][3].startswith("BRICK_DOWN: node1:/b: it is not running; ")


def test_programs_get_the_code_once(unit) -> None:
    lu = unit(error_codes=True)
    lu.HooksCallBack("post", results(ERROR), None, True)
    assert lu.said[0][3].startswith("node1:/b: it is not running; ")


def test_errors_of_hooks_can_be_ignored(unit) -> None:
    lu = unit(ignored=("ENODEHOOKS",))
    assert lu.HooksCallBack("post", results(ERROR), None, True) is True
    assert lu.said[0][0] == "WARNING"


@pytest.mark.parametrize(
    "changed",
    [
        {"fail_msg": "no answer"},
        {"offline": True},
        {"payload": [("cluster-verify-post.d/another", 1, MARK + "[]")]},
        {"payload": [(cluster_verify.HOOK, 0, "")]},
    ],
)
def test_what_says_nothing_of_ours_is_left_to_ganeti(unit, changed) -> None:
    lu = unit()
    assert lu.HooksCallBack("post", results(ERROR, **changed), None, True) is True
    assert lu.said == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "5",
        "{}",
        "[1]",
        "[" * 10000,
        json.dumps([{**as_data(WARNING), "code": ["x"]}]),
        json.dumps([{**as_data(WARNING), "code": "\x1b[2J"}]),
        json.dumps([{**as_data(WARNING), "severity": []}]),
        json.dumps([{**as_data(WARNING), "severity": "GREAT"}]),
        json.dumps([{**as_data(WARNING), "object": None}]),
        json.dumps([{**as_data(WARNING), "text": "\x1b[2J"}]),
        json.dumps([{**as_data(WARNING), "text": "\ud800"}]),
        json.dumps([{**as_data(WARNING), "remedy": "\0"}]),
    ],
)
def test_findings_that_are_none_are_one_of_that_node_alone(unit, text) -> None:
    lu = unit()
    answers = {
        **results(payload=[(cluster_verify.HOOK, 0, MARK + text)]),
        "uuid-node2": results(Finding.of("GLUSTERD_DOWN", "node2", "down"))["uuid-node1"],
    }
    assert lu.HooksCallBack("post", answers, None, True) is False
    assert [(kind, code, node) for kind, code, node, _ in lu.said] == [
        ("WARNING", "NOT_UNDERSTOOD", "node1"),
        ("ERROR", "GLUSTERD_DOWN", "node2"),
    ]
    assert lu.said[0][3].startswith("NOT_UNDERSTOOD: its answer is not understood: ")
    assert lu.said[0][3].isprintable()


def test_what_the_master_found_is_said_of_the_node_that_it_is_about(unit) -> None:
    lu = unit()
    brick = Finding.of("BRICK_FULL", "node2:/b", "full")
    cluster = Finding.of("VOLUME_MISSING", "gv0", "gone")
    lu.HooksCallBack("post", results(brick, cluster), None, True)
    assert [(code, node) for _, code, node, _ in lu.said] == [
        ("BRICK_FULL", "node2"),
        ("VOLUME_MISSING", "node1"),
    ]


def test_the_hook_knows_whether_the_master_is_asked_as_well(unit) -> None:
    lu = unit()
    lu.cfg.GetClusterInfo = lambda: SimpleNamespace(enabled_disk_templates=[])
    assert lu.BuildHooksEnv() == {"CLUSTER_TAGS": ""}
    lu.op.depends = [(-1, [])]
    assert lu.BuildHooksEnv() == {"CLUSTER_TAGS": "", expected_volumes.WHOLE_VARIABLE: "yes"}
    assert expected_volumes.master_looks(
        {"GANETI_" + expected_volumes.WHOLE_VARIABLE: "yes"}, "node1"
    )
    assert expected_volumes.master_looks({"GANETI_NODE_TAGS_node1": ""}, "node1")
    assert not expected_volumes.master_looks({"GANETI_NODE_TAGS_node2": ""}, "node1")


@pytest.mark.parametrize(
    "payload", ["x", [1], [("a", 0)], [(cluster_verify.HOOK, 0, None)], {"a": 1}]
)
def test_what_a_node_ran_may_be_anything(unit, payload) -> None:
    lu = unit()
    assert lu.HooksCallBack("post", results(payload=payload), None, True) is True
    assert [(kind, code) for kind, code, _, _ in lu.said] == [("WARNING", "NOT_UNDERSTOOD")]


def test_another_shape_of_ganeti_is_left_alone() -> None:
    with pytest.raises(PatchRefused, match="LUClusterVerifyGroup lacks"):
        cluster_verify.extend(SimpleNamespace(constants=None))
