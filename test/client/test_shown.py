"""What `gnt-gluster status` and `pool status` show, and what the hook of verification tells."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.core.verify import expected_volumes
from ganeti_gluster.core.verify.finding import MARK, Finding, from_json
from ganeti_gluster.tools.gluster_cli import (
    BrickHeal,
    BrickStatus,
    GlusterFailed,
    VolumeBrick,
    VolumeInfo,
    VolumeStatus,
)

BRICKS = tuple(VolumeBrick("node%d" % n, "/b", "u%d" % n) for n in (1, 2, 3))
INFO = VolumeInfo("gv0", "u", "Started", "Replicate", 3, 0, 0, 0, BRICKS, {})

Client = Callable[[str], Any]


def of_cluster(client: Client, name: str) -> Any:
    """A module of `ganeti_gluster.cmdlib`, on Ganeti's library as it is here."""
    client("options")
    return importlib.import_module("ganeti_gluster.cmdlib.%s" % name)


def test_each_table_has_its_headers_and_rows(
    client: Client, opts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = client("status")
    tables: list[dict[str, Any]] = []

    def table(**options: Any) -> list[str]:
        tables.append(options)
        return ["", *(" ".join(row) for row in options["data"])]

    monkeypatch.setattr(status.cli, "GenerateTable", table)
    monkeypatch.setattr(status.utils, "FormatUnit", lambda value, unit: "%d%s" % (value, unit))
    data = {
        "cluster": "c",
        "nodes": [
            {
                "node": "node1",
                "glusterd": "running",
                "peers": 2,
                "peers_connected": 1,
                "template": "stock",
                "glusterfs": "11.1",
                "reached": ["gv0"],
                "unreachable": ["gv1"],
            },
            {"node": "node2", "glusterd": "offline"},
        ],
        "volumes": [],
        "bricks": [
            {"brick": "node1:/b", "state": "online", "size": 1 << 30, "free": None, "behind": 0}
        ],
        "disks": [],
        "exports": [
            {
                "node": "node1",
                "instance": "vm1",
                "disk": 0,
                "export": "gv0-1",
                "running": False,
            }
        ],
        "findings": [],
    }
    opts.all = opts.no_headers = False
    opts.units = "m"
    lines = status.render(data, opts, colours=False)
    assert lines[0].startswith("c: healthy, 1 of 2 nodes with glusterd, ")
    assert [list(each["headers"].values()) for each in tables] == [
        ["Node", "Glusterd", "Peers", "Template", "GlusterFS", "Reaches"],
        ["Brick", "State", "Size", "Free", "ToHeal"],
        ["Node", "Instance", "Disk", "Export", "State"],
    ]
    assert tables[0]["data"][0] == ["node1", "running", "1/2", "stock", "11.1", "gv0, not gv1"]
    assert tables[0]["data"][1] == ["node2", "offline", "-", "-", "-", "-"]
    assert tables[1]["data"] == [["node1:/b", "online", "1024m", "-", "0"]]
    assert tables[1]["numfields"] == ["size", "free", "behind"]
    assert tables[2]["data"] == [["node1", "vm1", "0", "gv0-1", "down"]]


class Glusterd:
    """glusterd, of which a question may fail."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails

    def status(self, name: str) -> VolumeStatus:
        self._may_fail("status")
        bricks = tuple(
            BrickStatus(one.server, one.path, one.server_uuid, one.server != "node3", 1, 1)
            for one in BRICKS
        )
        return VolumeStatus(name, bricks, ())

    def heal_counts(self, name: str, *, timeout: float) -> list[BrickHeal]:
        self._may_fail("heal")
        return [BrickHeal("node%d:/b" % n, True, "", n, n, 0, 0) for n in (1, 2)]

    def _may_fail(self, what: str) -> None:
        if what == self.fails:
            raise GlusterFailed(["volume", what], "busy")


@pytest.mark.parametrize(
    ("fails", "error", "down", "heals"),
    [
        ("", "", ["node3:/b"], 2),
        ("heal", "gluster volume heal: busy", ["node3:/b"], None),
        ("status", "gluster volume status: busy", [], None),
    ],
)
def test_the_state_of_a_volume_is_told_as_far_as_it_is_known(
    client: Client, fails: str, error: str, down: list[str], heals: int | None
) -> None:
    pool_state = of_cluster(client, "pool_state")
    state, said = pool_state.look(Glusterd(fails), INFO)
    assert (said, [brick.name for brick in state.down]) == (error, down)
    assert state.heals == heals


OWN = [Finding.of("GLUSTERD_DOWN", "node2", "down")]
WHOLE = [*OWN, Finding.of("VOLUME_MISSING", "gv0", "gone")]
GROUP = {"GANETI_NODE_TAGS_node1": "", "GANETI_NODE_TAGS_node2": ""}
PARAMS = {expected_volumes.ENVIRONMENT: json.dumps([{"volume": "gv0"}])}


@pytest.mark.parametrize(
    ("myself", "environment", "findings"),
    [
        ("node1", {**PARAMS, **GROUP}, WHOLE),
        ("node2", {**PARAMS, **GROUP}, []),
        ("node2", {**PARAMS, "GANETI_NODE_TAGS_node2": ""}, OWN),
        ("node2", {**PARAMS, "GANETI_" + expected_volumes.WHOLE_VARIABLE: "yes"}, []),
        ("node2", {expected_volumes.ENVIRONMENT: "[]"}, []),
    ],
)
def test_each_node_is_told_of_by_one_hook_alone(
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    myself: str,
    environment: dict[str, str],
    findings: list[Any],
) -> None:
    hook = of_cluster(client, "verify_hook")
    monkeypatch.setattr(hook.ssconf, "GetMasterAndMyself", lambda: ("node1", myself))
    monkeypatch.setattr(
        hook.logging.handlers, "SysLogHandler", lambda path: hook.logging.NullHandler()
    )
    monkeypatch.setattr(hook.expected_volumes, "save", lambda node, params: None)
    monkeypatch.setattr(hook.cluster_config, "load", lambda: SimpleNamespace(used=True))
    monkeypatch.setattr(hook.verify, "look_at_cluster", lambda config: config)
    monkeypatch.setattr(hook.verify, "check_cluster", lambda seen: WHOLE)
    monkeypatch.setattr(hook.node_verify, "local_facts", lambda params: params)
    monkeypatch.setattr(hook.node_verify, "local_findings", lambda facts: OWN)
    assert hook.main(environment) == 0
    said = capsys.readouterr().out
    assert from_json(said.removeprefix(MARK)) == findings
