"""Where bricks go, what is refused, and what follows in Ganeti."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ganeti_master import Master
from gluster_pool import GlusterPool, volume

from ganeti_gluster.core.pool import build, silent
from ganeti_gluster.core.pool.settings import Settings
from ganeti_gluster.core.pool.steps import Step, StepFailed, run
from ganeti_gluster.errors import GanetiGlusterError

from .conftest import Part

THREE = ("node1", "node2", "node3")
MEMBERS = "node1 node2 node3 node4 node5"


class Move:
    """Four members, of which three have bricks and two are spares."""

    def __init__(self, module: Any, use: Any, pool: Any, master: Master) -> None:
        self.module = module
        self.use = use
        self.pool = pool
        self.master = master
        self.said: list[str] = []

    def evacuate(self, node: str = "node3", target: str | None = None) -> list[Step]:
        steps: list[Step] = self.module.evacuation(
            node, self.master, self.pool, self.said.append, target=target
        )
        return steps

    def replace(self, old: str = "node3", new: str = "node4", **named: bool) -> list[Step]:
        options = {"force": False, "wipe": False, **named}
        steps: list[Step] = self.module.replacement(
            old, new, self.master, self.pool, self.said.append, **options
        )
        return steps

    def bricks(self) -> list[str]:
        return [brick.server for found in self.pool.there for brick in found.bricks]


def texts(steps: list[Step]) -> list[str]:
    return [step.text for step in steps]


@pytest.fixture
def move(
    part: Part,
    in_pool: Callable[[Any], Any],
    master: Master,
    monkeypatch: pytest.MonkeyPatch,
) -> Move:
    for name in ("node4", "node5"):
        master.nodes[name] = master.node(name)
    pool = in_pool(GlusterPool(volume(*THREE), members=MEMBERS))
    monkeypatch.setattr(build, "unjoined", lambda agents, members: "")
    monkeypatch.setattr(silent, "NOTICE_SECONDS", 0)
    use = part("pool_use")
    use.write_settings(master, Settings("gv0", "/srv/b"))
    use.use(master, use.params_for("gv0", THREE), None)
    found = Move(part("pool_evacuate"), use, pool, master)
    healer = part("pool_evacuate").BrickMover
    monkeypatch.setattr(
        healer, "heal", lambda self, volume, node="", path="": found.said.append(
            "healed %s" % (node or volume)
        ),
    )  # fmt: skip
    return found


# -- evacuation --------------------------------------------------------------


def test_bricks_go_to_a_spare_and_ganeti_asks_who_has_them(move: Move) -> None:
    steps = move.evacuate()
    assert texts(steps) == [
        "nothing to heal on volume gv0",
        "volume gv0: brick node3:/srv/b/gv0 replaced by node4:/srv/b/gv0",
        "volume gv0: node4:/srv/b/gv0 healed",
        "node3: what is left of /srv/b/gv0 removed",
        "servers of volume gv0 in Ganeti",
    ]
    move.pool.command(("volume", "replace-brick", "gv0", "node3:/srv/b/gv0", "node4:/srv/b/gv0"))
    move.pool.left.add("node3")
    run(steps, move.said.append)
    assert "healed node4" in move.said
    assert move.pool.left == set()
    assert move.use.servers_of(move.master, "gv0", None) == "node1,node2,node4"


def test_what_is_a_brick_again_is_not_removed(move: Move) -> None:
    discard = next(step for step in move.evacuate() if "what is left" in step.text)
    move.pool.left.add("node3")
    assert not discard.done()
    with pytest.raises(
        GanetiGlusterError, match="node3:/srv/b/gv0 is still a brick of volume gv0"
    ):
        discard.do()
    assert move.pool.left == {"node3"}


def test_each_of_two_bricks_goes_to_a_node_of_its_own(move: Move) -> None:
    move.pool.there.append(volume(*THREE, name="gv1"))
    move.pool.there[0] = volume(*THREE, "node3", "node1", "node2", replica=3)
    assert [text for text in texts(move.evacuate()) if "replaced" in text] == [
        "volume gv0: brick node3:/srv/b/gv0 replaced by node4:/srv/b/gv0",
        "volume gv0: brick node3:/srv/b/gv0 replaced by node5:/srv/b/gv0",
        "volume gv1: brick node3:/srv/b/gv1 replaced by node4:/srv/b/gv1",
    ]


def test_a_volume_whose_brick_was_moved_before_an_interruption_is_completed(move: Move) -> None:
    move.pool.there[0] = volume("node1", "node2", "node4")
    move.pool.there.append(volume(*THREE, name="gv1"))
    move.pool.left.add("node3")
    assert texts(move.evacuate()) == [
        "nothing to heal on volume gv1",
        "volume gv1: brick node3:/srv/b/gv1 replaced by node4:/srv/b/gv1",
        "volume gv1: node4:/srv/b/gv1 healed",
        "nothing to heal on volume gv0",
        "node3: what is left of /srv/b/gv1 removed",
        "node3: what is left of /srv/b/gv0 removed",
        "servers of volume gv0 in Ganeti",
    ]
    move.pool.left.clear()
    assert not [text for text in texts(move.evacuate()) if "gv0" in text and "Ganeti" not in text]


def test_a_target_that_is_ready_is_taken(move: Move) -> None:
    steps = texts(move.evacuate(target="node5"))
    assert "volume gv0: brick node3:/srv/b/gv0 replaced by node5:/srv/b/gv0" in steps


@pytest.mark.parametrize(
    ("node", "target", "change", "said"),
    [
        ("node9", None, "", "node9 is not a node of this cluster"),
        ("node3", "node9", "", "node9 is not a node of this cluster"),
        ("node3", None, "dead", "node node3 does not answer, so its bricks cannot be moved; "),
        ("node3", None, "full", "no spare node can take the brick node3:/srv/b/gv0 of volume"),
        ("node3", "node4", "full", "node node4 cannot take a brick of volume gv0; `gnt-gl"),
        ("node3", "node2", "", "node node2 cannot take a brick of volume gv0; `gnt-gluster pool"),
        ("node3", None, "single", "volume gv0 is not replicated: node3:/srv/b/gv0 has the only"),
    ],
)
def test_what_cannot_be_evacuated(
    move: Move, node: str, target: str | None, change: str, said: str
) -> None:
    if change == "dead":
        move.pool.dead.add("node3")
    elif change == "full":
        move.pool.ready.clear()
    elif change == "single":
        move.pool.there = [volume(*THREE, replica=1)]
    with pytest.raises(GanetiGlusterError) as failure:
        move.evacuate(node, target)
    assert str(failure.value).startswith(said)
    assert move.bricks() == list(THREE)


def test_a_spare_of_another_group_is_none(move: Move) -> None:
    move.use.write_settings(move.master, Settings("gv0", "/srv/b", group="default"))
    move.master.nodes["node4"]["group"] = "other"
    assert "volume gv0: node5:/srv/b/gv0 healed" in texts(move.evacuate())


def test_an_arbiter_goes_to_a_target_that_has_no_place_ready(move: Move) -> None:
    move.pool.there = [volume(*THREE, arbiter=1)]
    move.pool.ready.clear()
    assert "volume gv0: node5:/srv/b/gv0 healed" in texts(move.evacuate(target="node5"))


def test_a_node_without_bricks_is_looked_at_for_what_is_left(move: Move) -> None:
    # As after an evacuation that was interrupted.
    move.pool.left.add("node4")
    steps = move.evacuate("node4")
    assert texts(steps) == [
        "nothing to heal on volume gv0",
        "node4: what is left of /srv/b/gv0 removed",
        "servers of volume gv0 in Ganeti",
    ]
    run(steps, move.said.append)
    assert move.pool.left == set()


@pytest.mark.parametrize("change", [{"state": "Stopped"}, {"replica": 1}])
def test_there_is_nothing_to_do_for_a_volume_that_heals_nothing(
    move: Move, change: dict[str, Any]
) -> None:
    move.pool.there = [volume(*THREE, **change)]
    assert texts(move.evacuate("node4")) == ["servers of volume gv0 in Ganeti"]


def test_the_servers_of_another_volume_of_ganeti_s_are_left(move: Move) -> None:
    params = move.use.params_for("gv1", ["node1"])
    move.use.use(move.master, params, None)
    run([step for step in move.evacuate("node4") if "servers" in step.text], move.said.append)
    assert move.use.is_used(move.master, params, None)


# -- replacement -------------------------------------------------------------


@pytest.fixture
def dead(move: Move) -> Move:
    move.pool.dead.add("node3")
    return move


def test_a_dead_node_is_replaced_and_leaves_the_pool(dead: Move) -> None:
    assert texts(dead.replace()) == [
        "node4 in the pool",
        "volume gv0: brick node3:/srv/b/gv0 replaced by node4:/srv/b/gv0",
        "volume gv0: node4:/srv/b/gv0 healed",
        "node3 removed from the pool",
        "servers of volume gv0 in Ganeti",
    ]


def test_the_heals_of_all_its_bricks_come_last(dead: Move) -> None:
    # While one of them is down, none of the volume's heals ends.
    elsewhere = tuple(replace(b, path="/srv/c/gv0") for b in volume(*THREE).bricks)
    both = (*volume(*THREE).bricks, *elsewhere)
    dead.pool.there = [volume(*THREE, bricks=both, replica=3)]
    dead.use.forget_settings(dead.master, "gv0")
    moves = [
        "volume gv0: brick node3:/srv/b/gv0 replaced by node4:/srv/b/gv0",
        "volume gv0: brick node3:/srv/c/gv0 replaced by node4:/srv/c/gv0",
    ]
    heals = ["volume gv0: node4:/srv/b/gv0 healed", "volume gv0: node4:/srv/c/gv0 healed"]
    assert texts(dead.replace()) == [
        "node4 in the pool",
        *moves,
        *heals,
        "node3 removed from the pool",
    ]
    dead.pool.command(("volume", "replace-brick", "gv0", "node3:/srv/b/gv0", "node4:/srv/b/gv0"))
    assert texts(dead.replace())[1:4] == [moves[1], *heals]


def test_its_bricks_in_one_directory_get_paths_of_their_own(dead: Move) -> None:
    other = tuple(replace(b, path="/srv/b/gv0-2") for b in volume(*THREE).bricks)
    both = (*volume(*THREE).bricks, *other)
    dead.pool.there = [volume(*THREE, bricks=both, replica=3)]
    assert [text.split()[-1] for text in texts(dead.replace()) if "replaced" in text] == [
        "node4:/srv/b/gv0",
        "node4:/srv/b/gv0-2",
    ]


def test_its_device_is_formatted_first(dead: Move) -> None:
    dead.use.write_settings(dead.master, Settings("gv0", "/srv/b", "/dev/vdb"))
    first = dead.replace()[0]
    assert first.text == "node4: file system on /dev/vdb at /srv/b"
    assert first.done()
    dead.pool.ready.discard("node4")
    assert not first.done()
    first.do()
    assert "prepare node4" in dead.pool.asked


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("node3", "node3", "a node cannot be replaced by itself"),
        ("node3", "node9", "node9 is not a node of this cluster"),
        ("node2", "node4", "node node2 is alive in the pool; move its bricks with gnt-gluster "),
        ("node3", "node2", "node node2 already has a brick of the same set of volume gv0; name"),
    ],
)
def test_what_is_not_replaced(dead: Move, old: str, new: str, said: str) -> None:
    with pytest.raises(GanetiGlusterError) as failure:
        dead.replace(old, new)
    assert str(failure.value).startswith(said)


def test_not_by_a_node_that_is_offline(dead: Move) -> None:
    dead.master.nodes["node4"]["offline"] = True
    with pytest.raises(GanetiGlusterError, match="node node4 is offline in Ganeti"):
        dead.replace()


def test_not_by_one_that_is_not_fit(dead: Move) -> None:
    dead.pool.facts["node4"] = replace(dead.pool.look("node4"), active=False, enabled=False)
    with pytest.raises(GanetiGlusterError, match="node4: glusterd"):
        dead.replace()


def test_not_by_one_that_does_not_answer(dead: Move) -> None:
    dead.pool.dead.add("node4")
    with pytest.raises(GanetiGlusterError, match="node4: SSH does not reach it: no route"):
        dead.replace()


def test_not_where_there_is_one_copy(dead: Move) -> None:
    dead.pool.there = [volume(*THREE, replica=1)]
    with pytest.raises(GanetiGlusterError, match="volume gv0 is not replicated"):
        dead.replace()


def test_a_live_node_is_replaced_by_force_after_a_heal(move: Move) -> None:
    assert texts(move.replace(force=True))[1:3] == [
        "nothing to heal on volume gv0",
        "volume gv0: brick node3:/srv/b/gv0 replaced by node4:/srv/b/gv0",
    ]


def test_one_that_has_left_is_gone_on_with(dead: Move) -> None:
    dead.pool.command(("volume", "replace-brick", "gv0", "node3:/srv/b/gv0", "node4:/srv/b/gv0"))
    assert texts(dead.replace()) == [
        "volume gv0: node4:/srv/b/gv0 healed",
        "node3 removed from the pool",
        "servers of volume gv0 in Ganeti",
    ]


def test_the_only_good_copy_is_not_given_up(dead: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"node1": {"node2:/srv/b/gv0": 7}, "node2": {}}
    real = dead.pool._do

    def do(node: str, verb: str, given: Any) -> Any:
        return answers[node] if verb == "behind" else real(node, verb, given)

    monkeypatch.setattr(dead.pool, "_do", do)
    with pytest.raises(GanetiGlusterError, match=r"the remaining bricks are not healed: node2:/s"):
        dead.replace()
    with pytest.raises(GanetiGlusterError, match=r"the remaining bricks are not healed: node2:/s"):
        dead.replace(force=True)


def test_it_does_not_leave_the_pool_with_a_brick_that_it_has_got_since(dead: Move) -> None:
    leave = next(step for step in dead.replace() if "removed from the pool" in step.text)
    with pytest.raises(StepFailed, match="node3 still has bricks"):
        run([leave], dead.said.append)
    assert "node3" in dead.pool.members


def test_a_node_that_may_be_an_unknown_member_is_not_called_evacuated(move: Move) -> None:
    # Its glusterd is down, and the pool knows it by a name that nobody can tell.
    move.pool.stopped.add("node3")
    move.pool.called["node3"] = "former3.invalid"
    with pytest.raises(
        GanetiGlusterError, match="node node3 may be the server of bricks that are"
    ):
        move.evacuate()
