"""What Ganeti's hooks do for the pool, and what they refuse."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ganeti_cli import OpExecError
from ganeti_master import Master
from gluster_pool import GlusterPool, volume

from ganeti_gluster.core.pool import build, extend
from ganeti_gluster.errors import GanetiGlusterError

from .conftest import Part

THREE = ("node1", "node2", "node3")
EVERY = ["node-add-post", "node-remove-pre", "node-remove-post", "node-modify-pre"]


class Hooks:
    """Runs a hook, and looks at what it says."""

    def __init__(self, module: Any, master: Master, capsys: pytest.CaptureFixture[str]) -> None:
        self.module = module
        self.master = master
        self._capsys = capsys

    def keep(self, *settings: str, volume: str = "gv0") -> None:
        self.master.tags |= {"gluster:pool:%s:%s" % (volume, each) for each in settings}

    def __call__(self, name: str, status: int, node: str = "node4", **more: str) -> str:
        environment = {"GANETI_OP_TARGET": node, **more}
        found = self.module.run(name, environment)
        said = str(self._capsys.readouterr().out)
        assert found == status, said
        return said


@pytest.fixture
def pool(in_pool: Callable[[Any], Any], master: Master) -> Any:
    master.nodes["node4"] = master.node("node4")
    return in_pool(GlusterPool(volume(*THREE)))


@pytest.fixture
def hook(
    part: Part,
    pool: Any,
    master: Master,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Hooks:
    def join(agents: GlusterPool, members: list[str], say: object) -> None:
        agents.members += [name for name in members if name not in agents.members]

    def unjoined(agents: GlusterPool, members: list[str]) -> str:
        return ", ".join(name for name in members if name not in agents.members)

    monkeypatch.setattr(build, "join", join)
    monkeypatch.setattr(build, "unjoined", unjoined)
    monkeypatch.setattr(
        extend, "add", lambda gluster, info, bricks, say: gluster.ask(
            "volume", "add-brick", info.name, *bricks
        ),
    )  # fmt: skip
    return Hooks(part("pool_hooks"), master, capsys)


@pytest.mark.parametrize("name", [name for name in EVERY if name != "node-remove-pre"])
def test_without_settings_nothing_is_asked(hook: Hooks, pool: GlusterPool, name: str) -> None:
    assert hook(name, 0, "node3", GANETI_OFFLINE="True") == ""
    assert pool.asked == []


def test_a_node_with_bricks_is_not_removed_without_settings_either(
    hook: Hooks, pool: GlusterPool
) -> None:
    said = hook("node-remove-pre", 1, "node3")
    assert "node node3 has bricks with data: /srv/b/gv0 of volume gv0" in said
    assert hook("node-remove-pre", 0, "node4") == ""


def test_nor_is_a_node_that_may_be_the_server_of_bricks_that_are_down(
    hook: Hooks, pool: GlusterPool, seen: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # GlusterFS knows it by a name that nobody can tell.
    peers = [
        replace(peer, names=("former",), connected=False) if peer.uuid == "uuid-node3" else peer
        for peer in pool.peers("node1")
    ]
    monkeypatch.setattr(pool, "peers", lambda node: peers)
    hook.master.nodes["node3"]["offline"] = True
    pool.dead.add("node3")
    pool.members.append("node4")
    assert hook("node-remove-pre", 0, "node4") == ""  # it says which it is
    assert hook("node-remove-pre", 1, "node3").startswith(
        "node node3 may be the server of bricks that are down, since that is no node that Ganeti"
        " knows: node3:/srv/b/gv0; start that server and run gnt-cluster verify, or move"
    )
    seen["node3"] = "uuid-node3"
    assert "node node3 has bricks with data: /srv/b/gv0" in hook("node-remove-pre", 1, "node3")


def test_where_no_pool_is_a_node_is_removed(hook: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> Any:
        raise GanetiGlusterError("no node is in a Gluster pool")

    monkeypatch.setattr(
        importlib.import_module("ganeti_gluster.cmdlib.pool_state"), "find_all", none
    )
    assert hook("node-remove-pre", 0, "node3") == ""


@pytest.mark.parametrize("name", EVERY)
def test_only_the_master_does_anything(
    hook: Hooks, pool: GlusterPool, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    hook.keep("dir:/srv/b")
    ssconf = importlib.import_module("ganeti.ssconf")
    monkeypatch.setattr(ssconf, "GetMasterAndMyself", lambda ss=None: ("node1", "node2"))
    assert hook(name, 0, "node3", GANETI_OFFLINE="True") == ""
    assert pool.asked == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (GanetiGlusterError("no pool", hint="create one"), "no pool; create one\n"),
        (OpExecError("the master daemon has gone"), "the master daemon has gone\n"),
        (OSError(13, "Permission denied", "/x"), "/x: Permission denied\n"),
    ],
)
@pytest.mark.parametrize("name", EVERY)
def test_an_error_is_one_line_and_fails_the_hook(
    hook: Hooks, monkeypatch: pytest.MonkeyPatch, name: str, error: Exception, said: str
) -> None:
    def fail(*args: object) -> None:
        raise error

    hook.keep("dir:/srv/b")
    monkeypatch.setitem(hook.module.HOOKS, name, fail)
    assert hook(name, 1) == said


# -- a node that is added ----------------------------------------------------


def test_a_new_node_becomes_a_spare(hook: Hooks, pool: GlusterPool) -> None:
    hook.keep("dir:/srv/b")
    pool.ready.add("node4")
    said = hook("node-add-post", 0)
    assert said.endswith("node4 is a spare for volume gv0\n")
    assert "node4" in pool.members


@pytest.mark.parametrize(
    "settings", [["dir:/srv/b", "node-add:off"], ["dir:/srv/b", "group:another"]]
)
def test_a_node_that_is_not_meant_is_left(
    hook: Hooks, pool: GlusterPool, settings: list[str]
) -> None:
    hook.keep(*settings)
    assert hook("node-add-post", 0) == ""
    assert "node4" not in pool.members


def test_a_node_that_is_added_offline_is_left(
    hook: Hooks, pool: GlusterPool, master: Master
) -> None:
    hook.keep("dir:/srv/b")
    master.nodes["node4"]["offline"] = True
    assert hook("node-add-post", 0) == ""
    assert "node4" not in pool.members


def test_a_node_that_is_not_fit_fails_the_hook_with_all_that_is_wrong(
    hook: Hooks, pool: GlusterPool
) -> None:
    hook.keep("dir:/srv/b", "device:/dev/vdb")
    pool.dead.add("node4")
    assert hook("node-add-post", 1) == "node4: SSH does not reach it: no route\n"
    assert "node4" not in pool.members


def test_a_node_that_has_bricks_has_them_started(hook: Hooks, pool: GlusterPool) -> None:
    hook.keep("dir:/srv/b")
    pool.down = {"node3:/srv/b/gv0"}
    assert hook("node-add-post", 0, "node3") == (
        "node3 already has bricks\nvolume gv0: brick node3:/srv/b/gv0 started\n"
    )
    assert pool.asked[-1] == "volume start gv0 force"


def test_a_whole_set_of_spares_extends_the_volume(
    hook: Hooks, pool: GlusterPool, master: Master
) -> None:
    hook.keep("dir:/srv/b", "node-add:join+extend")
    for name in ("node5", "node6"):
        master.nodes[name] = master.node(name)
        pool.members.append(name)
        pool.ready.add(name)
    pool.ready.add("node4")
    said = hook("node-add-post", 0)
    bricks = ["%s:/srv/b/gv0" % name for name in ("node4", "node5", "node6")]
    assert "added a set of bricks to volume gv0: %s\n" % ", ".join(bricks) in said
    assert said.endswith("the new bricks are used for new images\n")
    assert pool.asked[-1] == "volume rebalance gv0 fix-layout start"


@pytest.mark.parametrize(
    ("template", "state", "waits"),
    [
        ("gluster", "up", True),
        ("ext", "up", True),
        ("gluster", "down", False),
        ("drbd", "up", False),
        ("diskless", "up", False),
    ],
)
def test_the_layout_stays_while_an_instance_runs(
    hook: Hooks, pool: GlusterPool, master: Master, template: str, state: str, waits: bool
) -> None:
    hook.keep("dir:/srv/b", "node-add:join+extend")
    for name in ("node5", "node6"):
        master.nodes[name] = master.node(name)
        pool.members.append(name)
    pool.ready |= {"node4", "node5", "node6"}
    master.add_instance("vm1", state=state, disk_template=template)
    said = hook("node-add-post", 0)
    assert ("run gnt-gluster pool rebalance gv0\n" in said) is waits
    assert ("volume rebalance gv0 fix-layout start" in pool.asked) is not waits


def test_too_few_spares_extend_nothing(hook: Hooks, pool: GlusterPool) -> None:
    hook.keep("dir:/srv/b", "node-add:join+extend")
    pool.ready.add("node4")
    assert hook("node-add-post", 0).endswith("node4 is a spare for volume gv0\n")
    assert len(pool.there[0].bricks) == 3


def test_settings_that_are_not_valid_are_told_of(hook: Hooks, pool: GlusterPool) -> None:
    hook.keep("dir:b")
    assert hook("node-add-post", 1) == (
        "nothing was done for volume gv0: directory 'b': it is not an absolute path in normal"
        " form; set its pool settings again with gnt-gluster pool modify\n"
    )


# -- a node that is removed --------------------------------------------------


@pytest.mark.parametrize(("dead", "how"), [(False, "evacuate node3"), (True, "replace node3 NEW")])
def test_a_node_with_bricks_is_not_removed(
    hook: Hooks, pool: GlusterPool, dead: bool, how: str
) -> None:
    hook.keep("dir:/srv/b")
    pool.dead = {"node3"} if dead else set()
    assert hook("node-remove-pre", 1, "node3") == (
        "node node3 has bricks with data: /srv/b/gv0 of volume gv0;"
        " first run gnt-gluster pool %s\n" % how
    )


def test_one_without_bricks_leaves_the_pool(hook: Hooks, pool: GlusterPool) -> None:
    hook.keep("dir:/srv/b")
    pool.members.append("node4")
    assert hook("node-remove-pre", 0) == ""
    assert "node4 removed from the pool: done" in hook("node-remove-post", 0)
    assert pool.members == list(THREE)
    assert "peer detach node4" in pool.asked


def test_a_dead_one_leaves_it_by_force(hook: Hooks, pool: GlusterPool) -> None:
    hook.keep("dir:/srv/b")
    pool.members.append("node4")
    pool.dead.add("node4")
    hook("node-remove-post", 0)
    assert "peer detach node4 force" in pool.asked


def test_where_nothing_is_done_for_new_nodes_none_is_taken_out(
    hook: Hooks, pool: GlusterPool
) -> None:
    hook.keep("dir:/srv/b", "node-add:off")
    assert hook("node-remove-post", 0) == ""
    assert pool.asked == []


def test_a_node_that_has_got_a_brick_meanwhile_stays(hook: Hooks, pool: GlusterPool) -> None:
    hook.keep("dir:/srv/b")
    said = hook("node-remove-post", 1, "node3")
    assert "node3 removed from the pool: node3 still has bricks" in said
    assert pool.members == list(THREE)


# -- a node that is marked ---------------------------------------------------


def test_a_live_node_is_not_marked_offline_while_another_is_down(
    hook: Hooks, pool: GlusterPool
) -> None:
    hook.keep("dir:/srv/b")
    pool.down = {"node2:/srv/b/gv0"}
    assert hook("node-modify-pre", 1, "node3", GANETI_OFFLINE="True") == (
        "node node3 is alive and its bricks are needed, since these bricks are not online:"
        " node2:/srv/b/gv0; see gnt-gluster pool status\n"
    )


@pytest.mark.parametrize(
    ("down", "dead", "state", "environment"),
    [
        ("", "", "Started", {"GANETI_OFFLINE": "True"}),
        ("node3:/srv/b/gv0", "", "Started", {"GANETI_OFFLINE": "True"}),  # its own
        ("node2:/srv/b/gv0", "node3", "Started", {"GANETI_OFFLINE": "True"}),
        ("node2:/srv/b/gv0", "", "Stopped", {"GANETI_OFFLINE": "True"}),
        ("node2:/srv/b/gv0", "", "Started", {"GANETI_OFFLINE": "False"}),
        ("node2:/srv/b/gv0", "", "Started", {}),
    ],
)
def test_else_it_is(
    hook: Hooks,
    pool: GlusterPool,
    down: str,
    dead: str,
    state: str,
    environment: dict[str, str],
) -> None:
    hook.keep("dir:/srv/b")
    pool.there = [volume(*THREE, state=state)]
    pool.down, pool.dead = {down} - {""}, {dead} - {""}
    assert hook("node-modify-pre", 0, "node3", **environment) == ""


def test_a_pool_that_does_not_tell_is_no_reason(hook: Hooks, pool: GlusterPool) -> None:
    hook.keep("dir:/srv/b")
    pool.refuses["volume status"] = "glusterd is busy"
    said = hook("node-modify-pre", 0, "node3", GANETI_OFFLINE="True")
    assert said.startswith("cannot determine which bricks are online: ")


@pytest.mark.parametrize(("offline", "started"), [("False", True), ("True", False), ("", False)])
def test_the_bricks_of_a_node_that_is_back_are_started(
    hook: Hooks, pool: GlusterPool, offline: str, started: bool
) -> None:
    hook.keep("dir:/srv/b")
    pool.down = {"node3:/srv/b/gv0"}
    said = hook("node-modify-post", 0, "node3", GANETI_OFFLINE=offline)
    assert said == ("volume gv0: brick node3:/srv/b/gv0 started\n" if started else "")
    assert ("volume start gv0 force" in pool.asked) is started


def test_bricks_that_run_are_left_alone(hook: Hooks, pool: GlusterPool) -> None:
    hook.keep("dir:/srv/b")
    assert hook("node-modify-post", 0, "node3", GANETI_OFFLINE="False") == ""
    assert "volume start gv0 force" not in pool.asked
