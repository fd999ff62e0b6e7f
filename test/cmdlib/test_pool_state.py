"""The pool beside the nodes that Ganeti has."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest
from ganeti_master import Master
from gluster_pool import GlusterPool, volume

from ganeti_gluster.core.pool.settings import Settings
from ganeti_gluster.errors import GanetiGlusterError, VolumeUnreachable
from ganeti_gluster.tools.gfapi.stat import Space

from .conftest import Part

THREE = ("node1", "node2", "node3")


SPACE = Space(100, 60)


class State:
    """A pool, and what is found of it."""

    def __init__(self, module: Any, use: Any, pool: Any, master: Master) -> None:
        self.module = module
        self.use = use
        self.pool = pool
        self.master = master

    def describe(self) -> dict[str, Any]:
        found: dict[str, Any] = self.module.describe(
            self.module.find_all(self.master, self.pool), self.pool
        )
        return found


@pytest.fixture
def state(
    part: Part,
    in_pool: Callable[[Any], Any],
    master: Master,
    monkeypatch: pytest.MonkeyPatch,
) -> State:
    monkeypatch.setattr(part("volumes"), "space", lambda spec: SPACE)
    pool = in_pool(GlusterPool(volume(*THREE), members="node1 node2 node3 node4"))
    master.nodes["node4"] = master.node("node4")
    return State(part("pool_state"), part("pool_use"), pool, master)


def test_all_is_told(state: State) -> None:
    state.use.write_settings(state.master, Settings("gv0", "/srv/b"))
    state.pool.members.append("stranger")
    state.master.nodes["node5"] = state.master.node("node5", offline=True)
    found = state.describe()
    assert {node["name"]: node["peer"] for node in found["nodes"]} == {
        **dict.fromkeys([*THREE, "node4"], "connected"),
        "node5": "not in the pool",
    }
    assert found["others"] == ["stranger"]
    (volume,) = found["volumes"]
    assert volume == {
        "name": "gv0",
        "shape": "replica 3",
        "state": "Started",
        "bricks": ["%s:/srv/b/gv0" % node for node in THREE],
        "offline": [],
        "heal_pending": None,
        "on_node_add": "join",
        "settings_refused": None,
        "spares": ["node4"],
        "free": 60,
    }


def test_a_brick_that_is_down_is_named(state: State) -> None:
    state.pool.down = {"node2:/srv/b/gv0"}
    assert state.describe()["volumes"][0]["offline"] == ["node2:/srv/b/gv0"]


def test_a_member_that_is_dead_is_disconnected_and_its_brick_down(state: State) -> None:
    state.pool.dead = {"node3"}
    found = state.describe()
    assert [node["peer"] for node in found["nodes"]][2] == "disconnected"
    assert found["volumes"][0]["offline"] == ["node3:/srv/b/gv0"]


def test_a_glusterd_that_does_not_tell_of_the_volume_is_an_error_of_it(state: State) -> None:
    state.pool.refuses["volume status"] = "glusterd is busy"
    (found,) = state.describe()["volumes"]
    assert found["error"] == "gluster volume status gv0: glusterd is busy"


@pytest.mark.parametrize(
    "error",
    [
        VolumeUnreachable("volume gv0 cannot be reached", volume="gv0"),
        OSError(errno.ENOTCONN, "Transport endpoint is not connected"),
    ],
)
def test_a_volume_that_does_not_answer_has_no_free_space(
    state: State, part: Part, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(spec: object) -> None:
        raise error

    monkeypatch.setattr(part("volumes"), "space", fail)
    assert "free" not in state.describe()["volumes"][0]


def test_nor_has_one_that_is_stopped(state: State) -> None:
    state.pool.there = [volume(*THREE, state="Stopped")]
    assert "free" not in state.describe()["volumes"][0]


@pytest.mark.parametrize("change", [{"state": "Stopped"}, {"replica": 1}])
def test_what_cannot_tell_is_not_asked(state: State, change: dict[str, Any]) -> None:
    state.pool.there = [volume(*THREE, **change)]
    state.describe()
    assert "volume heal gv0 info summary" not in state.pool.asked
    assert ("volume status gv0" in state.pool.asked) is ("replica" in change)


def test_another_node_is_asked_where_the_master_does_not_tell(state: State) -> None:
    state.pool.dead = {"node1"}
    (found,) = state.module.find_all(state.master, state.pool)
    assert found.pool.anchor == "node2"
    assert found.pool.state("node1") == "disconnected"


def test_a_node_that_is_offline_is_not_asked(state: State) -> None:
    for name in ("node1", "node2"):
        state.master.nodes[name]["offline"] = True
    (found,) = state.module.find_all(state.master, state.pool)
    assert found.pool.anchor == "node3"


def test_without_a_pool_each_reason_is_told(state: State) -> None:
    state.pool.dead = {"node1", "node4"}
    state.pool.members = ["node1", "node4"]
    with pytest.raises(GanetiGlusterError) as failure:
        state.module.find_all(state.master, state.pool)
    said = str(failure.value)
    assert said.startswith("no node is in a Gluster pool; node1: gluster pool list: SSH does not")
    assert "node2: gluster pool list: no glusterd answers" in said
    assert said.endswith("; create one with gnt-gluster pool create")


def test_what_is_no_node_is_refused(state: State) -> None:
    (found,) = state.module.find_all(state.master, state.pool)
    assert state.module.need(found, "node4").name == "node4"
    with pytest.raises(GanetiGlusterError, match="node9 is not a node of this cluster"):
        state.module.need(found, "node9")
