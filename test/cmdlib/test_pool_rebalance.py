"""When a volume may be rebalanced, and how its end is known."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import pytest
from ganeti_master import Master
from gluster_pool import GlusterPool, volume

from ganeti_gluster.core.pool import steps
from ganeti_gluster.core.pool.steps import StepFailed, run
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.gluster_cli import tasks

from .conftest import Part

THREE = ("node1", "node2", "node3")
STATUS = "volume rebalance gv0 status"


class Rebalance:
    """A volume whose rebalance is in these states, one a look; the last one stays."""

    def __init__(self, module: Any, use: Any, pool: Any, master: Master) -> None:
        self.module = module
        self.pool = pool
        self.master = master
        self.states: list[str | tuple[str, int]] = ["completed"]
        self.said: list[str] = []
        use.use(master, use.params_for("gv0", THREE), None)

    def parse(self, answer: ET.Element) -> tasks.TaskStatus:
        now = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        state, failures = now if isinstance(now, tuple) else (now, 0)
        return tasks.TaskStatus(state, 7, 0, failures, 0)

    def __call__(self, *, move_data: bool = False, force: bool = False) -> None:
        run(
            self.module.steps(
                "gv0", self.master, self.pool, self.said.append, move_data=move_data, force=force
            ),
            self.said.append,
        )


@pytest.fixture
def rebalance(
    part: Part,
    in_pool: Callable[[Any], Any],
    master: Master,
    monkeypatch: pytest.MonkeyPatch,
) -> Rebalance:
    module = part("pool_rebalance")
    found = Rebalance(module, part("pool_use"), in_pool(GlusterPool(volume(*THREE))), master)
    monkeypatch.setattr(module.tasks, "parse", found.parse)
    monkeypatch.setattr(steps, "PAUSE", 0.01)
    monkeypatch.setattr(module, "SECONDS", 1)
    return found


@pytest.mark.parametrize(
    ("move_data", "words", "text"),
    [
        (False, "fix-layout start", "volume gv0: layout extended to all bricks"),
        (True, "start", "volume gv0: images moved"),
    ],
)
def test_it_is_started_and_waited_for(
    rebalance: Rebalance, move_data: bool, words: str, text: str
) -> None:
    rebalance.states = ["in progress", "completed"]
    rebalance(move_data=move_data)
    assert rebalance.pool.asked == ["volume rebalance gv0 %s" % words, STATUS, STATUS]
    assert rebalance.said[0] == "[1/1] %s ..." % text
    assert "  in progress: 7 files moved" in rebalance.said


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (("completed", 2), "completed, with 2 failures"),
        (("failed", 1), "failed, with 1 failures"),
        (("fix-layout failed", 0), "failed"),
        (("stopped", 0), "been stopped"),
        (("fix-layout stopped", 0), "been stopped"),
        (("reset due to replace-brick", 0), "been ended by another change of the volume"),
    ],
)
def test_one_that_does_not_come_to_its_end_is_told_of_with_its_log(
    rebalance: Rebalance, end: tuple[str, int], told: str
) -> None:
    rebalance.states = [end]
    said = "the rebalance of gv0 has %s; see /var/log/glusterfs/gv0-rebalance.log on" % told
    with pytest.raises(StepFailed, match=said):
        rebalance()


def test_one_that_glusterd_refuses_is_not_waited_for(rebalance: Rebalance) -> None:
    rebalance.pool.refuses["volume rebalance gv0 fix"] = "Rebalance on gv0 is already started"
    with pytest.raises(StepFailed, match="Rebalance on gv0 is already started"):
        rebalance()
    assert STATUS not in rebalance.pool.asked


def test_a_glusterd_that_is_busy_meanwhile_is_asked_again(
    rebalance: Rebalance, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = rebalance.pool.command
    answers = ["glusterd is busy", ""]

    def command(words: tuple[str, ...]) -> Any:
        if words[-1] == "status":
            reason = answers.pop(0)
            rebalance.pool.refuses = {STATUS: reason} if reason else {}
        return real(words)

    monkeypatch.setattr(rebalance.pool, "command", command)
    rebalance()
    assert answers == []


def test_not_while_instances_run_but_by_force(rebalance: Rebalance) -> None:
    rebalance.master.add_instance("vm1", {})
    rebalance.master.add_instance("vm2", {}, state="down")
    with pytest.raises(GanetiGlusterError, match="a rebalance may damage their images: vm1; shut"):
        rebalance()
    assert rebalance.pool.asked == []
    rebalance(force=True)
    assert STATUS in rebalance.pool.asked
