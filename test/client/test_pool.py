"""`gnt-gluster pool`, through its own entry point."""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.core.pool.checks import Problem
from ganeti_gluster.core.pool.members import Pool
from ganeti_gluster.core.pool.settings import Settings
from ganeti_gluster.core.pool.steps import Step
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import private

from .conftest import Entry, raiser, refused

QUESTIONS = {
    "pool create --brick-dir=/srv/b": "Continue?",
    "pool destroy gv0": "All images on volume gv0 will be lost. Destroy it?",
    "pool evacuate node1": "Move all bricks away from node1?",
    "pool replace node1 node2": "All data in the bricks of node1 will be given up. Replace it?",
    "pool replace node1 node1": "Fill the bricks of node1 on its new disk from the others?",
    "pool rebalance gv0": "Rebalance volume gv0?",
    "pool modify --tls=on gv0": "Glusterd and the bricks of all volumes of the pool are restarted"
    " everywhere, and guests wait for their disks. Continue?",
    "pool modify --tls=off gv0": "Glusterd and the bricks of all volumes of the pool are restarted"
    " everywhere, and guests wait for their disks. Continue?",
    "pool renew-certificates gv0": "Renew the certificates, and restart glusterd and bricks on one"
    " node after the other?",
}
#: node2 is offline; node3 has a longer name.
NODES = [
    [name, [], name == "node2", "192.0.2.1", True, "default", True, "C"]
    for name in ("node1", "node2", "node3.example.org")
]
EACH = pytest.mark.parametrize("command", QUESTIONS)


class Plan:
    """What each command that changes the pool would do: one step."""

    def __init__(self, check: Entry) -> None:
        self.text = "brick made"
        self.problems: list[Problem] = []
        self.left: list[str] = []
        self.done = False
        self.error: Exception | None = None
        check.replace("cmdlib.pool_create", plan=lambda *args: self.of_create())
        check.replace("cmdlib.pool_destroy", plan=lambda *args, force: (self.steps(), self.left))
        check.replace("cmdlib.pool_evacuate", evacuation=self.steps, replacement=self.steps)
        check.replace("cmdlib.pool_new_disk", renewal=self.steps)
        check.replace("cmdlib.pool_rebalance", steps=self.steps)
        check.replace(
            "cmdlib.pool_tls", encrypting=self.steps, plaining=self.steps, renewing=self.steps
        )

    def steps(self, *args: object, **named: object) -> list[Step]:
        return [Step(self.text, lambda: self.done, self.do)]

    def of_create(self) -> Any:
        return SimpleNamespace(
            steps=self.steps(),
            problems=self.problems,
            obstacles=lambda force: [
                each for each in self.problems if each.blocks and not (each.force and force)
            ],
        )

    def do(self) -> None:
        if self.error:
            raise self.error
        self.done = True


@pytest.fixture
def master(check: Entry) -> Entry:
    """A command on the master, where nobody else changes the pool."""
    check.be_master(QueryNodes=NODES)
    check.replace(
        "cmdlib.pool_nodes",
        agents=lambda: None,
        exclusive=contextlib.nullcontext,
        logger=lambda: logging.getLogger("test"),
    )
    return check


@pytest.fixture
def plan(master: Entry) -> Plan:
    return Plan(master)


# -- changes -----------------------------------------------------------------


@EACH
def test_nothing_is_changed_if_the_answer_is_no(check: Entry, plan: Plan, command: str) -> None:
    check.answer(False)
    check(
        command,
        13,
        out="Steps:\n  [    ] brick made\n",
        err="Nothing was changed; use --yes to skip this question\n",
    )
    assert (check.questions, plan.done) == ([QUESTIONS[command]], False)


@EACH
@pytest.mark.parametrize("option", ["", " --yes", " -f"])
def test_the_steps_are_taken(check: Entry, plan: Plan, command: str, option: str) -> None:
    if not option:
        check.answer(True)
    words = command.split()
    check(" ".join([*words[:2], option, *words[2:]]), 0, out="[1/1] brick made: done")
    assert plan.done


@EACH
def test_a_dry_run_neither_asks_nor_does(check: Entry, plan: Plan, command: str) -> None:
    words = command.split()
    out = check(" ".join([*words[:2], "--dry-run", *words[2:]]), 0, out="Steps:\n")
    steps, _, shown = out.partition("Plan: ")
    assert steps == "Steps:\n  [    ] brick made\n" and shown and not plan.done


def test_the_log_of_the_pool_says_who_began_it(
    check: Entry, plan: Plan, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("GNT_GLUSTER_FOR", "admin (web page)")
    check("pool evacuate --yes node1", 0, out=None)
    assert "pool evacuate --yes node1, by admin (web page)" in caplog.text


@EACH
def test_exactly_what_a_dry_run_showed_is_done_without_a_question(
    check: Entry, plan: Plan, command: str
) -> None:
    words = command.split()
    out = check(" ".join([*words[:2], "--dry-run", *words[2:]]), 0, out="Plan: ")
    option = "--plan=%s" % out.split("Plan: ")[1].strip()
    plan.text = "brick removed"
    said = "nothing was changed: this is no longer what plan %s was" % option[7:]
    check(" ".join([*words[:2], option, *words[2:]]), 1, out=None, err=said)
    assert not plan.done

    plan.text = "brick made"
    check(" ".join([*words[:2], option, *words[2:]]), 0, out="[1/1] brick made: done")
    assert plan.done and not check.questions


def test_a_step_that_was_shown_as_done_is_not_taken(check: Entry, plan: Plan) -> None:
    plan.done = True
    shown = check("pool replace --dry-run node1 node1", 0, out="[done] brick made\n")
    plan.done = False
    option = "--plan=%s" % shown.split("Plan: ")[1].strip()
    check("pool replace %s node1 node1" % option, 1, out=None, err="nothing was changed: this is")

    def agree(question: str) -> bool:
        plan.done = False
        return True

    plan.done = True
    check.replace_in(check.part("client.pool").cli, AskUser=agree)
    said = "Failure: nothing was changed: shown as done, but not done now: brick made; run the"
    check("pool replace node1 node1", 1, out="[done] brick made\n", err=said)
    assert not plan.done


@EACH
def test_a_step_that_fails(check: Entry, plan: Plan, command: str) -> None:
    plan.error = GanetiGlusterError("no room")
    check.answer(True)
    said = "brick made: no room; the steps before it are done; run the command again to continue"
    check(command, 1, out="[1/1] brick made ...\n", err="Failure: %s\n" % said)


@EACH
def test_other_steps_than_those_that_were_shown(check: Entry, plan: Plan, command: str) -> None:
    def agree(question: str) -> bool:
        plan.text = "two bricks made"
        return True

    check.replace_in(check.part("client.pool").cli, AskUser=agree)
    said = "the required steps have changed since the question, and are now: two bricks made"
    check(command, 1, out="Steps:\n", err="Failure: nothing was changed: %s; " % said)
    assert not plan.done


@EACH
def test_one_command_at_a_time(check: Entry, tmp_path: Path, command: str) -> None:
    check.be_master(QueryNodes=NODES)
    lock = str(tmp_path / "lock")
    check.replace("cmdlib.pool_nodes", LOCK_FILE=lock, agents=lambda: None)
    with private.locked(lock):
        said = "another command is changing the pool; wait until it has finished"
        check(command, 1, err="Failure: %s\n" % said)


def test_tls_is_switched_alone(check: Entry, plan: Plan) -> None:
    said = "Failure: --tls cannot be combined with other options\n"
    check("pool modify --tls=on --on-node-add=off gv0", 1, err=said)
    check("pool modify --yes --tls=off gv0", 0, out="TLS is off.\n")


# -- create ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", "give --brick-dir, --brick-device, or both"),
        ("--brick-dir=b", "directory 'b': it is not an absolute path in normal form"),
        ("--brick-dir=/b --volume=a/b", "volume name 'a/b': "),
        ("--brick-dir=/b --replica=0", "replica 0: it must be a number of copies"),
        ("--brick-dir=/b --arbiter=1 --replica=2", "arbiter 1 with replica 2: only one arbiter"),
        ("--brick-dir=/b --disperse=3 --redundancy=1%s" % ("0" * 400), "disperse 3 with redund"),
        ("--brick-dir=/b --replica=-1%s" % ("0" * 400), "replica -1000"),
        ("--brick-dir=/b --nodes=", "--nodes: give the names of nodes, with commas between them"),
        ("--brick-dir=/b --nodes=node1,,node2", "--nodes: give the names of nodes, with commas"),
        ("--brick-dir=/b --redundancy=1", "redundancy belongs to a dispersed volume"),
        ("--brick-dir=/b --disperse=4 --redundancy=2", "disperse 4 with redundancy 2: it needs"),
        (
            "--brick-dir=/b --disperse=3 --replica=3",
            "a volume is either replicated or dispersed\n",
        ),
    ],
)
def test_a_pool_that_cannot_be(check: Entry, options: str, said: str) -> None:
    check("pool create %s" % options, 1, err="Failure: %s" % said)


@pytest.mark.parametrize("option", ["--disperse", "--replica"])
def test_more_bricks_than_there_are_nodes(master: Entry, option: str) -> None:
    master.replace("cmdlib.pool_nodes", look=lambda *args, **named: ({}, {}))
    huge = "1%s" % ("0" * 400)
    master("pool create --brick-dir=/b %s=%s" % (option, huge), 1,
           err="needs %s nodes, but there are 2: node1, node3.example.org\n" % huge)  # fmt: skip


def test_a_node_that_is_named_twice(master: Entry) -> None:
    words = "pool create --brick-dir=/b --nodes=node1,node3,node3.example.org"
    master(words, 1, err="Failure: node node3.example.org is named more than once\n")


@pytest.mark.parametrize(
    ("force", "hint"),
    [(False, "correct them and try again"), (True, "use --force to continue in spite of them")],
)
def test_problems_are_shown_before_anything_is_done(
    check: Entry, plan: Plan, force: bool, hint: str
) -> None:
    plan.problems = [
        Problem("node1", "no glusterd", force=force),
        Problem("volume", "slow", blocks=False),
    ]
    check(
        "pool create --yes --brick-dir=/b",
        1,
        err="Problem: node1: no glusterd\nNote: volume: slow\n"
        "Failure: nothing was changed; see the problems above; %s\n" % hint,
    )


def test_some_problems_can_be_forced(check: Entry, plan: Plan) -> None:
    plan.problems = [Problem("node1", "no glusterd", force=True)]
    check(
        "pool create -f --brick-dir=/b",
        0,
        out="Volume gv0 is ready.\n"
        "Add an instance on it: gnt-instance add -t gluster --disk 0:size=20G -o OS NAME\n"
        "(gnt-os list shows the operating systems).\n",
        err="Problem: node1: no glusterd\n",
    )


# -- the others --------------------------------------------------------------


def found(check: Entry, *volumes: Any, nodes: str = "node1 node2") -> Any:
    """A pool with these nodes, of which node1 is the one that is asked."""
    known = tuple(
        SimpleNamespace(name=name, offline=name == "node2", group="default")
        for name in nodes.split()
    )
    pool = Pool("node1", "u1", (), volumes, {})
    return check.part("cmdlib.pool_state").ManagedPool(pool, known, {}, {})


@pytest.mark.parametrize("command", ["destroy", "rebalance", "modify --on-node-add=join"])
def test_a_volume_that_is_not_there(master: Entry, command: str) -> None:
    master.replace("cmdlib.pool_state", find_all=lambda client, agents: [found(master)])
    said = "there is no volume gv0 in the pool of node1"
    master("pool %s gv0" % command, 1, err="Failure: %s\n" % said)


@pytest.mark.parametrize("command", ["destroy", "rebalance", "modify"])
def test_what_is_no_name_of_a_volume(master: Entry, command: str) -> None:
    master("pool %s a/b" % command, 1, err="Failure: volume name 'a/b': ")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("replace node1 node1", "node node1 has no bricks"),
        (
            "replace --brick-device=/dev/vdc node3 node1",
            "--brick-device is only for a disk that was replaced in its node",
        ),
        ("replace node1 node2", "node node2 is offline in Ganeti"),
    ],
)
def test_nodes_that_will_not_do(master: Entry, command: str, said: str) -> None:
    master.replace("cmdlib.pool_state", find_all=lambda client, agents: [found(master)])
    master("pool %s" % command, 1, err="Failure: %s\n" % said)


@pytest.mark.parametrize(
    "command", ["evacuate node9", "evacuate --to=node9 node1", "replace node1 node9"]
)
def test_nodes_that_are_none(master: Entry, command: str) -> None:
    said = refused("Node 'node9' not known", "unknown_entity")
    master("pool %s" % command, 1, err=said)


@pytest.mark.parametrize(
    ("words", "question"),
    [
        ("evacuate node3", "Move all bricks away from node3.example.org?"),
        ("replace node3 node1", "All data in the bricks of node3.example.org will be given up. R"),
        # which Ganeti may have forgotten
        ("replace node9 node1", "All data in the bricks of node9 will be given up. Replace it?"),
    ],
)
def test_a_node_s_name_may_be_shortened(
    check: Entry, plan: Plan, words: str, question: str
) -> None:
    check.answer(False)
    check("pool %s" % words, 13, out=None, err=None)
    assert check.questions[0].startswith(question)


@pytest.mark.parametrize("command", [*QUESTIONS, "pool status"])
def test_no_pool_at_all(master: Entry, command: str) -> None:
    error = GanetiGlusterError("no node is in a Gluster pool", hint="create one")
    master.replace("cmdlib.pool_state", find_all=raiser(error))
    if "create" in command:
        master.replace("cmdlib.cluster", nodes=raiser(error))
    master(command, 1, err="Failure: no node is in a Gluster pool; create one\n")


def test_a_volume_that_instances_use_is_not_rebalanced(master: Entry) -> None:
    volume = SimpleNamespace(name="gv0")
    master.replace("cmdlib.pool_state", find_all=lambda client, agents: [found(master, volume)])
    master.replace("cmdlib.pool_use", running_on=lambda client, name: ["vm1"])
    said = "instances are running on volume gv0, and a rebalance may damage their images: vm1"
    hint = "shut them down first, or use --force"
    master("pool rebalance gv0", 1, err="Failure: %s; %s\n" % (said, hint))


def test_nor_destroyed(master: Entry) -> None:
    volume = SimpleNamespace(name="gv0")
    master.replace("cmdlib.pool_state", find_all=lambda client, agents: [found(master, volume)])
    disks = [SimpleNamespace(instance="vm1")]
    master.replace("cmdlib.pool_use", disks_on=lambda client, name: disks)
    said = "volume gv0 has disks of instances: vm1; remove or move these instances first"
    master("pool destroy -f gv0", 1, err="Failure: %s\n" % said)


def test_bricks_that_stay_are_told_of(check: Entry, plan: Plan) -> None:
    plan.left = ["node3:/b"]
    note = "Note: node3:/b is left as it is: Ganeti cannot reach that node\n"
    check("pool destroy --yes gv0", 0, out="Volume gv0 has been destroyed.\n", err=note)


# -- modify ------------------------------------------------------------------


@pytest.fixture
def written(master: Entry) -> list[Settings]:
    """What is written of a volume that has no settings."""
    done: list[Settings] = []
    volume = SimpleNamespace(name="gv0")
    master.replace("cmdlib.pool_state", find_all=lambda client, agents: [found(master, volume)])
    master.replace(
        "cmdlib.pool_use",
        read_settings=lambda client: {},
        refused_settings=lambda client: {},
        write_settings=lambda client, changed: done.append(changed),
    )
    return done


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", "give --on-node-add, --brick-dir or --brick-device\n"),
        (
            "--on-node-add=join",
            "there are no pool settings for volume gv0; give at least --brick-dir\n",
        ),
        ("--brick-dir=b", "directory 'b': it is not an absolute path in normal form"),
        ("--brick-dir='/a b'", "dir '/a b': as a cluster tag it can only contain letters"),
    ],
)
def test_settings_that_cannot_be(
    check: Entry, written: list[Settings], options: str, said: str
) -> None:
    check("pool modify %s gv0" % options, 1, err="Failure: %s" % said)
    assert not written


def test_settings_are_shown_and_written(check: Entry, written: list[Settings]) -> None:
    check("pool modify --brick-dir=/b --dry-run gv0", 0, out="bricks in:     /b\n")
    assert not written
    check("pool modify --brick-dir=/b gv0", 0, out="on node-add:   join\n")
    assert [each.directory for each in written] == ["/b"]


# -- status ------------------------------------------------------------------

VOLUME = {
    "name": "gv0",
    "shape": "replica 3",
    "state": "Started",
    "bricks": ["node1:/b"],
    "offline": [],
    "heal_pending": 0,
    "on_node_add": "join",
    "settings_refused": None,
    "spares": [],
}


@pytest.mark.parametrize(
    ("peer", "volume", "status", "out"),
    [
        ("connected", {}, 0, "Volume gv0: started, replica 3\n  bricks online: 1 of 1\n"),
        ("disconnected", {}, 1, "node1 online disconnected /b\n"),
        ("connected", {"offline": ["node1:/b"]}, 1, "  bricks down:   node1:/b\n"),
        ("connected", {"state": "Stopped"}, 1, "Volume gv0: stopped, replica 3\n"),
        ("connected", {"error": "glusterd is busy"}, 1, "  error:         glusterd is busy\n"),
    ],
)
def test_the_exit_status_tells_whether_the_pool_is_well(
    master: Entry, peer: str, volume: dict[str, Any], status: int, out: str
) -> None:
    node = {
        **{"name": "node1", "offline": False, "maintenance": False},
        **{"peer": peer, "bricks": ["node1:/b"]},
    }
    state = {"nodes": [node], "volumes": [{**VOLUME, **volume}], "others": []}
    master.replace("cmdlib.pool_state", find_all=lambda client, agents: [])
    master.replace("cmdlib.pool_state", describe=lambda pools, agents: state)
    master("pool status", status, out=out)
    assert json.loads(master("pool status --json", status, out=None)) == state
