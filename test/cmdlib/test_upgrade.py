"""How nodes are upgraded in turn, what stops that, and where it goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from ganeti_master import Master
from gluster_pool import GlusterPool, volume

from ganeti_gluster.core.pool import absence
from ganeti_gluster.core.pool.packages import PackageFacts
from ganeti_gluster.core.pool.steps import Step, StepFailed, run
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.gluster_cli.peers import REJECTED

from .conftest import Part

THREE = ("node1", "node2", "node3")
OLD, NEW = "11.1-6", "11.2-1"
TAGS = ["gluster:maintenance", "gluster:maintenance:upgrade"]


def due(version: str = OLD, candidate: str = NEW, **fields: Any) -> PackageFacts:
    return PackageFacts(version, candidate, {"libgfapi0": candidate}, **fields)


class Upgrade:
    """Three members with a brick each, of an older release than apt has; node1 is the master."""

    def __init__(self, module: Any, away: Any, pool: GlusterPool, master: Master) -> None:
        self.module = module
        self.away = away
        self.pool = pool
        self.master = master
        self.said: list[str] = []

    def look(self, *names: str) -> Any:
        return self.module.look(self.master, self.pool, names)

    def steps(self, *names: str, how: str = "", force: bool = False) -> list[Step]:
        found: list[Step] = self.module.steps(
            self.look(*names),
            self.master,
            self.pool,
            self.away(how, None),
            self.said.append,
            force=force,
        )
        return found

    def run(self, *names: str, how: str = "") -> None:
        run(self.steps(*names, how=how), self.said.append)

    def asked(self, verb: str) -> list[str]:
        """The nodes that a verb was for."""
        return [line.split()[1] for line in self.pool.asked if line.split()[0] == verb]

    def tags(self) -> dict[str, list[str]]:
        return {
            name: sorted(row["tags"]) for name, row in self.master.nodes.items() if row["tags"]
        }


@pytest.fixture
def upgrade(
    part: Part, in_pool: Callable[[Any], Any], master: Master, monkeypatch: pytest.MonkeyPatch
) -> Upgrade:
    pool = in_pool(GlusterPool(volume(*THREE)))
    pool.packages = {name: due() for name in THREE}
    pool.op_version = 100000
    master.nodes["node1"]["role"] = "M"
    maintenance = part("node_maintenance")
    found = Upgrade(part("upgrade"), maintenance.Away, pool, master)
    monkeypatch.setattr(
        maintenance.Healer,
        "heal",
        lambda self, volume, node="", path="": found.said.append("healed %s" % volume),
    )
    monkeypatch.setattr(absence, "BRICK_SECONDS", 0)
    monkeypatch.setattr(absence, "PEER_SECONDS", 0)
    return found


def texts(steps: Sequence[Step]) -> list[str]:
    return [step.text for step in steps]


def test_the_master_is_last_and_the_op_version_at_the_end(upgrade: Upgrade) -> None:
    steps = upgrade.steps()
    assert texts(steps) == [
        *("%s: GlusterFS upgraded to %s" % (name, NEW) for name in ("node2", "node3", "node1")),
        "pool of node1: op-version is the highest that all members support",
    ]
    run(steps, upgrade.said.append)
    assert upgrade.asked("upgrade") == ["node2", "node3", "node1"]
    assert upgrade.said.count("healed gv0") == 3
    assert upgrade.pool.op_version == 110000
    assert upgrade.tags() == {}
    assert [row["role"] for row in upgrade.master.nodes.values()] == ["M", "C", "C"]
    assert upgrade.steps() == []


def test_what_happens_on_one_node(upgrade: Upgrade) -> None:
    upgrade.pool.packages["node2"] = due(stale=2)
    upgrade.run("node2")
    taken = [line.split("] ")[1] for line in upgrade.said if "/8] " in line and "..." in line]
    assert taken == [
        "node2: packages of GlusterFS 11.2-1 downloaded ...",
        "node2: marked as in maintenance, and drained in Ganeti ...",
        "node2: packages of GlusterFS 11.2-1 installed ...",
        "volume gv0: everything healed ...",
        "node2: image servers use the installed GlusterFS ...",
        "node2: maintenance ended, and no longer drained in Ganeti ...",
    ]
    assert upgrade.pool.op_version == 100000
    assert upgrade.look().unready() == ["node3 is not upgraded", "node1 is not upgraded"]


@pytest.mark.parametrize("how", ["", "migrate", "failover"])
def test_instances_stay_or_are_moved(upgrade: Upgrade, how: str) -> None:
    upgrade.master.add_instance("web1", pnode="node3")
    upgrade.master.add_instance("old1", pnode="node3", disk_template="plain")
    upgrade.run("node3", how=how)
    moved = ["Instance%s" % how.capitalize()] if how else []
    assert [kind for kind in upgrade.master.done if "Instance" in kind] == moved
    where = [row["pnode"] for row in upgrade.master.instances.values()]
    assert where == ["node1" if how else "node3", "node3"]


def test_what_is_agreed_to_says_what_comes_along(upgrade: Upgrade) -> None:
    upgrade.pool.packages["node2"] = due(along=("libnew0", "libold0"))
    assert texts(upgrade.steps("node2", "node3", how="failover")) == [
        "node2: GlusterFS upgraded to 11.2-1, with libnew0, libold0, its instances failed over",
        "node3: GlusterFS upgraded to 11.2-1, its instances failed over",
    ]


def test_nodes_outside_the_pool_have_no_bricks_to_heal(upgrade: Upgrade) -> None:
    upgrade.master.nodes["node4"] = upgrade.master.node("node4")
    upgrade.pool.packages["node4"] = due()
    upgrade.run("node4")
    assert (upgrade.asked("upgrade"), "healed gv0" in upgrade.said) == (["node4"], False)
    order = [turn.name for turn in upgrade.look().turns]
    assert order == ["node2", "node3", "node4", "node1"]


# -- where it goes on --------------------------------------------------------


@pytest.mark.parametrize("when", ["packages", "glusterd", "heal"])
def test_it_goes_on_where_it_was_interrupted(upgrade: Upgrade, when: str) -> None:
    pool = upgrade.pool
    upgrade.master.nodes["node3"].update(tags=TAGS, role="D")
    if when == "packages":
        # dpkg was at it, and glusterd is stopped.
        pool.packages["node3"] = due(unfinished=("glusterfs-server",))
        pool.stopped.add("node3")
    else:
        pool.packages["node3"] = PackageFacts(NEW, NEW)
    if when == "glusterd":
        pool.stopped.add("node3")
        pool.down.add("node3:/srv/b/gv0")
        pool.left.add("node3")
    seen = upgrade.look()
    assert [turn.name for turn in seen.walk()] == ["node3", "node2", "node1"]
    assert [row["interrupted"] for row in upgrade.module.describe(seen)] == [True, False, False]
    upgrade.run()
    installed = ["node3", "node2", "node1"] if when == "packages" else ["node2", "node1"]
    assert upgrade.asked("upgrade") == installed
    assert (upgrade.tags(), pool.op_version) == ({}, 110000)


def test_the_op_version_alone_is_left(upgrade: Upgrade) -> None:
    upgrade.pool.packages.clear()
    assert texts(upgrade.steps()) == [
        "pool of node1: op-version is the highest that all members support"
    ]
    upgrade.run()
    assert upgrade.pool.op_version == 110000


def test_an_offline_node_keeps_the_op_version(upgrade: Upgrade) -> None:
    upgrade.master.nodes["node4"] = upgrade.master.node("node4", offline=True)
    upgrade.run()
    assert upgrade.pool.op_version == 100000
    assert upgrade.look().unready() == ["node4 is offline"]
    assert upgrade.module.describe(upgrade.look())[2] == {
        "node": "node4",
        "offline": True,
        "version": None,
        "candidate": None,
        "along": [],
        "upgrade": False,
        "interrupted": False,
        "instances": [],
    }


def test_a_member_that_goes_in_the_meantime_keeps_the_op_version(upgrade: Upgrade) -> None:
    upgrade.pool.packages.clear()
    (step,) = upgrade.steps()
    upgrade.master.nodes["node3"]["offline"] = True
    upgrade.pool.dead.add("node3")
    with pytest.raises(GanetiGlusterError, match="to stay: node3 is offline; node3 is not conn"):
        step.do()
    assert upgrade.pool.op_version == 100000


def test_an_op_version_that_is_not_used(upgrade: Upgrade) -> None:
    upgrade.pool.packages.clear()
    upgrade.pool._set = lambda *words: None  # type: ignore[method-assign]
    with pytest.raises(StepFailed, match="glusterd accepted op-version 110000, but does not use"):
        upgrade.run()


# -- what stops it -----------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("silent", "node3: SSH does not reach it: no route"),
        ("none", "GlusterFS is not installed on node3"),
        ("problem", "node3: apt would remove cpio"),
        ("candidates", "apt has different versions on the nodes: node2 11.2-1, node3 11.1-7, nod"),
        ("mixed", "more than one old version is installed: node2 11.1-6, node3 10.3-5, node1 11"),
        ("maintenance", "node node3 is in maintenance; end that with gnt-gluster node mainten"),
        ("stopped", "node node3 is disconnected in the pool; see gnt-gluster pool status"),
        ("rejected", "node node3 is Peer Rejected in the pool; the configuration of a volume"),
        ("heal", "node node2 is needed: not healed yet: node1:/srv/b/gv0 (2 files)"),
        ("brick", "node node2 is needed: brick node1:/srv/b/gv0 of the same set is not online"),
    ],
)
def test_what_is_doubted(
    upgrade: Upgrade, monkeypatch: pytest.MonkeyPatch, change: str, said: str
) -> None:
    pool = upgrade.pool
    if change == "silent":
        pool.dead.add("node3")
    elif change == "none":
        pool.packages["node3"] = PackageFacts()
    elif change == "problem":
        pool.packages["node3"] = due(problem="apt would remove cpio")
    elif change == "candidates":
        pool.packages["node3"] = due(candidate="11.1-7")
    elif change == "mixed":
        pool.packages["node3"] = due("10.3-5")
    elif change == "maintenance":
        upgrade.master.nodes["node3"]["tags"] = TAGS[:1]
    elif change == "stopped":
        pool.stopped.add("node3")
    elif change == "rejected":
        reject(pool, monkeypatch)
    elif change == "heal":
        pool.behind["node2"] = {"node1:/srv/b/gv0": 2}
    else:
        pool.down.add("node1:/srv/b/gv0")
    with pytest.raises(GanetiGlusterError) as failure:
        upgrade.steps()
    assert str(failure.value).startswith(said)
    assert upgrade.master.done == []


def reject(pool: GlusterPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others reject node3."""
    peers = pool.peers

    def seen(name: str) -> list[Any]:
        return [
            replace(peer, state=REJECTED, state_text="Peer Rejected")
            if "node3" in (name, *peer.names)
            else peer
            for peer in peers(name)
        ]

    monkeypatch.setattr(pool, "peers", seen)


def test_more_old_versions_are_upgraded_on_request(upgrade: Upgrade) -> None:
    upgrade.pool.packages["node3"] = due("10.3-5")
    assert len(upgrade.steps(force=True)) == 4


def test_a_node_that_is_rejected_after_it_stops_the_upgrade(
    upgrade: Upgrade, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade_packages = upgrade.pool._upgrade

    def then_reject(node: str, *, version: str, member: bool) -> None:
        upgrade_packages(node, version=version, member=member)
        if node == "node3":
            reject(upgrade.pool, monkeypatch)

    monkeypatch.setattr(upgrade.pool, "_upgrade", then_reject)
    with pytest.raises(StepFailed) as failure:
        upgrade.run()
    said = str(failure.value)
    assert "rejects node1: the configuration of a volume differs; gnt-gluster verify" in said
    # The reason, and once what to do.
    assert said.count("run the command again to continue") == 1
    assert upgrade.asked("upgrade") == ["node2", "node3"]
    assert upgrade.tags() == {"node3": TAGS}


def test_a_fault_of_apt_stops_the_upgrade(
    upgrade: Upgrade, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(node: str, *, version: str, member: bool) -> None:
        raise GanetiGlusterError("E: no space")

    monkeypatch.setattr(upgrade.pool, "_upgrade", fail)
    with pytest.raises(
        StepFailed, match=r"packages of GlusterFS 11\.2-1 installed: .*E: no space"
    ):
        upgrade.run()
    assert upgrade.tags() == {"node2": TAGS}


def test_bricks_that_run_without_glusterd_may_be_needed(upgrade: Upgrade) -> None:
    # The upgrade was interrupted before it stopped anything, and then glusterd failed by itself.
    upgrade.master.nodes["node3"].update(tags=TAGS, role="D")
    upgrade.pool.packages["node3"] = due(serving=True)
    upgrade.pool.stopped.add("node3")
    with pytest.raises(StepFailed, match="node node3 is disconnected in the pool"):
        upgrade.run()
    assert upgrade.asked("upgrade") == []


def test_a_node_that_may_be_an_unknown_member_is_not_touched(upgrade: Upgrade) -> None:
    # Its glusterd is down, and the pool knows it by a name that nobody can tell.
    upgrade.pool.stopped.add("node3")
    upgrade.pool.called["node3"] = "former3.invalid"
    with pytest.raises(
        GanetiGlusterError, match="node node3 may be the server of bricks that are"
    ):
        upgrade.steps("node3")


def test_another_version_that_apt_has_by_then_is_not_installed(
    upgrade: Upgrade, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    install = upgrade.pool._upgrade

    def note(node: str, *, version: str, member: bool) -> None:
        asked.append(version)
        install(node, version=version, member=member)
        # apt's lists were renewed.
        newer = {name: due(OLD, "12.0-1") for name in ("node3", "node1")}
        upgrade.pool.packages.update({**newer, node: due(NEW, "12.0-1")})

    monkeypatch.setattr(upgrade.pool, "_upgrade", note)
    with pytest.raises(StepFailed, match=r"apt has GlusterFS 12\.0-1 by now, and not 11\.2-1"):
        upgrade.run()
    assert asked == [NEW]
    assert "node3" not in upgrade.tags()


def test_a_node_is_looked_at_after_the_download(
    upgrade: Upgrade, monkeypatch: pytest.MonkeyPatch
) -> None:
    do = upgrade.pool._do

    def download(node: str, verb: str, given: Any) -> Any:
        if verb == "download":
            upgrade.pool.down.add("node1:/srv/b/gv0")
        return do(node, verb, given)

    monkeypatch.setattr(upgrade.pool, "_do", download)
    with pytest.raises(StepFailed, match="brick node1:/srv/b/gv0 of the same set is not online"):
        upgrade.run()
    assert (upgrade.asked("upgrade"), upgrade.tags()) == ([], {})
