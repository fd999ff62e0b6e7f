"""Who gets a certificate, what is switched, and what is restarted one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ganeti_master import Master
from gluster_pool import GlusterPool, volume

from ganeti_gluster.core.pool import absence, authority
from ganeti_gluster.core.pool.steps import Step, StepFailed, run
from ganeti_gluster.core.pool.tls import NodeTls
from ganeti_gluster.errors import GanetiGlusterError

from .conftest import Part

THREE = ("node1", "node2", "node3")
OURS = "digest of ours"
YEARS = authority.NODE_DAYS * 86400


class Tls:
    """Three members with a brick each, and node4, which reaches the volume only."""

    def __init__(self, module: Any, pool: GlusterPool, master: Master) -> None:
        self.module = module
        self.pool = pool
        self.master = master
        self.said: list[str] = []
        #: Where copies of the authority's files were made.
        self.copied: list[tuple[str, tuple[str, ...]]] = []
        self.authority = False

    def steps(self, kind: str) -> list[Step]:
        make = getattr(self.module, kind)
        steps: list[Step] = make("gv0", self.master, self.pool, self.said.append)
        return steps

    def run(self, kind: str) -> None:
        run(self.steps(kind), self.said.append)

    def give(self, authorities: str, *nodes: str, ends: float = YEARS, **fields: Any) -> None:
        for name in nodes:
            end = time.time() + ends
            self.pool.tls[name] = replace(NodeTls(True, "", name, end, authorities), **fields)

    @property
    def options(self) -> dict[str, str]:
        return dict(self.pool.there[0].options)

    def asked(self, verb: str) -> list[str]:
        return [line.split()[1] for line in self.pool.asked if line.startswith(verb + " ")]


@pytest.fixture
def tls(
    part: Part, in_pool: Callable[[Any], Any], master: Master, monkeypatch: pytest.MonkeyPatch
) -> Tls:
    pool = in_pool(GlusterPool(volume(*THREE)))
    pool.facts["node4"] = pool.look("node4")
    master.nodes["node4"] = master.node("node4", master_candidate=False)
    found = Tls(part("pool_tls"), pool, master)
    monkeypatch.setattr(found.module, "PEER_SECONDS", 0)
    monkeypatch.setattr(found.module, "BRICK_SECONDS", 0)
    monkeypatch.setattr(
        found.module.Healer,
        "heal",
        lambda self, volume, node="", path="": found.said.append("healed %s" % volume),
    )

    def create(cluster: str) -> None:
        assert cluster == "cluster.example.org"
        found.authority = True

    for name, value in (
        ("create", create),
        ("digest", lambda: OURS if found.authority else ""),
        ("certificate", lambda: OURS),
        ("issue", lambda request, name: "%s %f" % (name, time.time() + YEARS)),
    ):
        monkeypatch.setattr(authority, name, value)

    class Channel:
        def copy(self, path: str, nodes: list[str], *, seconds: float) -> list[str]:
            found.copied.append((path, tuple(nodes)))
            return []

    monkeypatch.setattr(part("cluster"), "SshChannel", Channel)
    return found


def texts(steps: list[Step]) -> list[str]:
    return [step.text for step in steps]


# -- on and off --------------------------------------------------------------


def test_all_of_a_pool_is_encrypted(tls: Tls) -> None:
    steps = tls.steps("encrypting")
    assert texts(steps) == [
        *("%s: key and certificate" % name for name in (*THREE, "node4")),
        "volume gv0: TLS required",
        "glusterd and bricks of all nodes restarted with TLS",
        "image servers of all nodes restarted",
        "volume gv0 reachable through libgfapi from every node",
        "volume gv0: everything healed",
    ]
    assert not any(step.done() for step in steps)
    run(steps, tls.said.append)
    assert tls.options == {
        "client.ssl": "on",
        "server.ssl": "on",
        "auth.ssl-allow": "node1,node2,node3,node4",
    }
    assert {name for name, one in tls.pool.tls.items() if one.management} == {*THREE, "node4"}
    # The key is for those who may become the master, and for no other node.
    assert {nodes for _, nodes in tls.copied} == {THREE}
    assert tls.asked("renew-clients") == tls.asked("try-volume") == [*THREE, "node4"]
    again = tls.steps("encrypting")
    assert [step.done() for step in again] == [True] * 6 + [False] * 3


def test_nobody_is_shut_out_who_was_let_in(tls: Tls) -> None:
    tls.pool.command(("volume", "set", "gv0", "auth.ssl-allow", "backup,node1"))
    tls.run("encrypting")
    assert tls.options["auth.ssl-allow"] == "backup,node1,node2,node3,node4"


def test_all_of_it_is_switched_off(tls: Tls) -> None:
    tls.run("encrypting")
    steps = tls.steps("plaining")
    assert texts(steps)[:2] == [
        "volume gv0: TLS not required",
        "glusterd and bricks of all nodes restarted without TLS",
    ]
    run(steps, tls.said.append)
    assert tls.options == {}
    assert not any(one.management for one in tls.pool.tls.values())
    assert [step.done() for step in tls.steps("plaining")] == [True, True, False, False, False]


def test_it_is_restarted_where_it_was_interrupted(tls: Tls) -> None:
    tls.run("encrypting")
    tls.pool.stopped.add("node2")
    tls.pool.asked.clear()
    # Its members are not connected then, which is what the command is to mend.
    restarted = next(step for step in tls_steps_of(tls) if "restarted with" in step.text)
    assert not restarted.done()
    restarted.do()
    assert tls.asked("restart-glusterd") == [*THREE, "node4"]
    assert restarted.done()


def tls_steps_of(tls: Tls) -> list[Step]:
    """The steps as they were made when all members were connected."""
    stopped, tls.pool.stopped = tls.pool.stopped, set()
    try:
        return tls.steps("encrypting")
    finally:
        tls.pool.stopped = stopped


@pytest.mark.parametrize("way", ["encrypting", "plaining"])
def test_a_pool_of_which_one_member_was_not_switched_is_finished(tls: Tls, way: str) -> None:
    # node2 froze just then, and is back; the others do not talk to it.
    tls.run("encrypting")
    if way == "plaining":
        tls.run("plaining")
    tls.pool.tls["node2"] = replace(tls.pool.tls["node2"], management=way == "plaining")
    tls.pool.stopped.add("node2")
    tls.pool.asked.clear()
    tls.run(way)
    assert tls.asked("restart-glusterd") == [*THREE, "node4"]
    assert {one.management for one in tls.pool.tls.values()} == {way == "encrypting"}


def test_a_brick_that_does_not_come_back_is_told(tls: Tls) -> None:
    tls.pool.down.add("node2:/srv/b/gv0")
    with pytest.raises(
        StepFailed, match="with TLS: pool: not completed within 0 s: not online: n"
    ):
        tls.run("encrypting")


def test_certificates_that_were_given_are_kept(tls: Tls) -> None:
    tls.give("theirs", *THREE, "node4", management=False)
    tls.give("theirs", "node2", management=False, linked=False)
    steps = tls.steps("encrypting")
    assert texts(steps)[:2] == ["%s: given key and certificate" % n for n in ("node1", "node2")]
    assert texts(steps)[4] == "volume gv0: TLS required"
    run(steps, tls.said.append)
    assert tls.asked("link-certificate") == ["node2"]
    assert {one.authorities for one in tls.pool.tls.values()} == {"theirs"}
    assert not tls.authority


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "given",
            "node1, node2 trust another authority than node3 (missing: /etc/ssl/glusterfs.p",
        ),
        ("name", "node1, node2, node4 trust another authority than node3 (its name is other)"),
        ("foreign", "members of the pool are not nodes of this cluster: node9"),
        ("dead", "nodes are not connected in the pool: node3; see gnt-gluster pool status"),
    ],
)
def test_who_cannot_be_given_one(tls: Tls, change: str, said: str) -> None:
    if change == "given":
        tls.give("theirs", "node1", "node2")
    elif change == "name":
        tls.give("theirs", *THREE, "node4")
        tls.pool.tls["node3"] = replace(tls.pool.tls["node3"], name="other")
    elif change == "foreign":
        tls.pool.members.append("node9")
    else:
        tls.pool.dead.add("node3")
    with pytest.raises(GanetiGlusterError) as failure:
        tls.steps("encrypting")
    assert str(failure.value).startswith(said)


# -- renewal -----------------------------------------------------------------


def test_one_node_after_the_other_uses_a_new_certificate(tls: Tls) -> None:
    tls.run("encrypting")
    tls.give(OURS, *THREE, "node4", ends=20 * 86400)
    tls.pool.asked.clear()
    steps = tls.steps("renewing")
    uses = "%s: glusterd, bricks and image servers use the certificate"
    assert texts(steps) == [
        *("%s: key and certificate" % name for name in (*THREE, "node4")),
        *(uses % name for name in THREE),
        "node4: image servers restarted",
    ]
    run(steps, tls.said.append)
    assert tls.asked("restart-glusterd") == list(THREE)
    assert tls.asked("renew-clients") == [*THREE, "node4"]
    assert tls.said.count("healed gv0") == 3 + 1
    assert all(one.ends > time.time() + YEARS - 60 for one in tls.pool.tls.values())
    # Another run finds that all is new.
    assert [step.done() for step in tls.steps("renewing")] == [True] * 7 + [False]


def test_no_node_is_restarted_while_it_is_needed(
    tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls.run("encrypting")
    tls.give(OURS, *THREE, "node4", stale=True)
    tls.pool.behind["node1"] = {"node2:/srv/b/gv0": 3}
    tls.pool.asked.clear()
    with pytest.raises(StepFailed, match="node node1 is needed"):
        monkeypatch.setattr(
            absence.copies,
            "need_others",
            lambda *words: (_ for _ in ()).throw(absence.NotWhole("2 images")),
        )
        tls.run("renewing")
    assert tls.asked("restart-glusterd") == []


def test_given_certificates_are_taken_into_use(tls: Tls) -> None:
    tls.give("theirs", *THREE, "node4", stale=True)
    steps = tls.steps("renewing")
    assert "key and certificate" not in "".join(texts(steps))
    run(steps, tls.said.append)
    assert tls.asked("restart-glusterd") == list(THREE)
    assert tls.asked("request-certificate") == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "off",
            "the pool does not use TLS on node3, node4; run gnt-gluster pool modify --tls on gv0",
        ),
        (
            "bad",
            "the key of the authority is not on this node, and certificates of nodes cannot be",
        ),
    ],
)
def test_what_cannot_be_renewed(tls: Tls, change: str, said: str) -> None:
    tls.give("theirs", *THREE, "node4")
    if change == "off":
        tls.give("theirs", "node3", "node4", management=False)
    else:
        tls.give("theirs", "node3", problem="certificate has expired")
    with pytest.raises(GanetiGlusterError) as failure:
        tls.steps("renewing")
    assert str(failure.value).startswith(said)


# -- new nodes ---------------------------------------------------------------


def joining(tls: Tls, part: Part) -> list[Step]:
    managed = part("pool_state").find_volume(tls.master, tls.pool, "gv0")
    steps: list[Step] = tls.module.joining(managed, "node5", tls.master, tls.pool)
    return steps


def test_a_new_node_is_let_in(tls: Tls, part: Part) -> None:
    assert joining(tls, part) == []
    tls.run("encrypting")
    steps = joining(tls, part)
    assert texts(steps) == [
        "node5: key and certificate",
        "node5: glusterd uses TLS",
        "volumes accept the certificate of node5",
    ]
    run(steps, tls.said.append)
    assert tls.pool.tls["node5"].management
    assert tls.options["auth.ssl-allow"] == "node1,node2,node3,node4,node5"
    assert all(step.done() for step in joining(tls, part))


def test_a_new_node_needs_a_certificate_of_the_authority_that_was_given(
    tls: Tls, part: Part
) -> None:
    tls.give("theirs", *THREE, "node4")
    with pytest.raises(GanetiGlusterError, match="given to it, and node node5 has none that fits"):
        joining(tls, part)
    tls.give("theirs", "node5", management=False)
    assert texts(joining(tls, part))[:2] == [
        "node5: given key and certificate",
        "node5: glusterd uses TLS",
    ]


# -- nodes that leave --------------------------------------------------------


def test_a_node_that_leaves_is_shut_out(tls: Tls) -> None:
    def leaving(node: str) -> list[Step]:
        steps: list[Step] = tls.module.leaving(tls.pool.gluster("node1"), node)
        return steps

    assert leaving("node4") == []
    tls.run("encrypting")
    run(leaving("node4"), tls.said.append)
    assert tls.options["auth.ssl-allow"] == "node1,node2,node3"
    assert leaving("node4") == []


def test_the_last_name_stays_for_else_all_would_be_let_in(tls: Tls) -> None:
    tls.options["auth.ssl-allow"] = "node4"
    assert tls.module.leaving(tls.pool.gluster("node1"), "node4") == []
