"""The plugin's state in a node's answer, and the reason where there is none."""

from __future__ import annotations

import json

import pytest

from ganeti_gluster.plugin_state import parse

STATE = {
    "version": "0.1.0",
    "ganeti": "3.1.0",
    "template": "ganeti-gluster",
    "reasons": [],
    "noded": "ganeti-gluster",
    "noded_reasons": [],
}


def test_a_state_is_what_the_node_tells():
    assert parse(True, json.dumps(STATE)) == STATE


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((False, "\x1b[2Jcut\n"), "�[2Jcut"),
        ((True, "x"), "its answer is not understood: it is not JSON: x"),
        ((True, "[" * 10000), "its answer is not understood: it is nested too deeply"),
        ((True, "[]"), "its answer is not understood: not an object, but list"),
        ((True, "{}"), "its answer is not understood: template: it is missing"),
        ((True, json.dumps({"template": "offline"})), "template: not one of the permitted words"),
        ((True, json.dumps({**STATE, "reasons": "x"})), "reasons: not a list, but str"),
        ((True, json.dumps({**STATE, "reasons": [1]})), "reasons[0]: not a string, but int"),
        ((True, json.dumps({**STATE, "version": "\x1b[2J"})), "version: a string that cannot be"),
    ],
)
def test_where_there_is_none_there_is_a_reason(answer, reason):
    found = parse(*answer)
    assert found["template"] == "unknown"
    assert reason in found["reasons"][0] and found["reasons"][0].isprintable()
