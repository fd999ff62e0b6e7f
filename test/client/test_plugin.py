"""`gnt-gluster plugin`, through its own entry point."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import Entry, refused

NODES = [
    ("node%d.example.org" % number, [], False, "192.0.2.%d" % number, True, "default", True, "M")
    for number in (1, 2)
]
OURS = {"template": "ganeti-gluster", "noded": "ganeti-gluster", "reasons": []}
OFFLINE = {"template": "offline", "reasons": ["marked offline in Ganeti"]}


@pytest.fixture
def switch(check: Entry, tmp_path: Path) -> Path:
    """The file that switches the plugin off."""
    check.replace("constants", DISABLED_FILE=str(tmp_path / "disabled"))
    check.replace("core.serve.fleet", leave_all=lambda: None)
    return tmp_path / "disabled"


def test_this_node_alone_has_no_name(check: Entry) -> None:
    text = "--local is for this node only; do not name any nodes"
    check("plugin status --local node1", 1, err=refused(text))


def test_a_node_that_is_not_there(check: Entry) -> None:
    check.be_master(QueryNodes=NODES)
    check("plugin status node1 node9", 1, err=refused("Node 'node9' not known", "unknown_entity"))


@pytest.mark.parametrize(
    ("states", "status"),
    [
        ({"node1": OURS}, 0),
        ({"node1": OURS, "node2": OFFLINE}, 0),
        ({"node1": OURS, "node2": {**OURS, "template": "stock"}}, 1),
        ({"node1": {**OURS, "noded": "stock"}}, 1),
        ({"node1": {"template": "unknown", "reasons": ["timed out"]}}, 1),
    ],
)
def test_the_exit_status_tells_whether_the_plugin_is_everywhere(
    check: Entry, states: dict[str, Any], status: int
) -> None:
    check.replace("cmdlib.plugin_states", fetch=lambda names: states)
    rows = check("plugin status", status, out="node1 %s" % states["node1"]["template"])
    assert len(rows.splitlines()) == len(states)
    assert json.loads(check("plugin status --json", status, out=None)) == states


def test_the_plugin_is_switched_off_and_on(check: Entry, switch: Path) -> None:
    check("plugin enable", 0, out="The plugin is not switched off on this node.\n")
    check("plugin disable --dry-run", 0, out="is switched off on this node; to apply this")
    assert not switch.exists()
    check("plugin disable", 0, out="is switched off on this node; to apply this")
    assert switch.exists()
    check("plugin disable", 0, out="The plugin is already switched off on this node.\n")
    check("plugin enable --dry-run", 0, out="The plugin is no longer switched off")
    assert switch.exists()
    check("plugin enable", 0, out="The plugin is no longer switched off")
    assert not switch.exists()


def test_a_switch_that_cannot_be_made(check: Entry, tmp_path: Path, switch: Path) -> None:
    place = tmp_path / "none" / "disabled"
    check.replace("constants", DISABLED_FILE=str(place))
    check("plugin disable", 1, err="Failure: %s: No such file or directory\n" % place)
