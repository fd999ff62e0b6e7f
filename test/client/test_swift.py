"""`gnt-gluster swift` and `services`, through their own entry point."""

from __future__ import annotations

import json
import os
import pwd
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ganeti_gluster.client import invocation
from ganeti_gluster.core.services import config
from ganeti_gluster.core.services.config import BUILT_IN, ServicesConfig
from ganeti_gluster.core.services.control import Outcome
from ganeti_gluster.core.services.events import Event
from ganeti_gluster.core.services.model import (
    ClusterServices,
    NodeChoice,
    ServerService,
    ServiceStatus,
)
from ganeti_gluster.errors import GanetiGlusterError

from .conftest import Entry, raiser, refused

CHANGES = ["start", "stop", "restart"]
CHANGE = pytest.mark.parametrize("verb", CHANGES)


def node(name: str, *tags: str) -> tuple[object, ...]:
    return (name, tags, False, "192.0.2.1", True, "default", True, "M")


def outcome(service: str, result: str, message: str = "") -> Outcome:
    status = ServiceStatus.RUNNING if result in ("done", "unchanged") else ServiceStatus.STOPPED
    return Outcome("node1", "GLUSTER_SWIFT", service, result, status, message)


@pytest.fixture
def master(check: Entry) -> Entry:
    """A command on the master of a cluster with two nodes, where no service is touched."""
    check.replace("core.services.config", load=lambda: ServicesConfig(BUILT_IN))
    check.be_master(QueryNodes=[node("node1"), node("node2")])
    check.replace("cmdlib.cluster", ask=raiser(AssertionError("a node was asked")))
    check.replace("cmdlib.services", sync_soon=lambda: None)
    check.replace("core.services.by_users", keep=lambda events: None)
    return check


# -- what is named -----------------------------------------------------------


@pytest.mark.parametrize("word", CHANGES)
def test_the_type_is_named(master: Entry, word: str) -> None:
    master("services %s" % word, 1, err=refused("Name a service type with --type"))


@pytest.mark.parametrize("word", [*CHANGES, "status", "events"])
def test_a_type_that_is_not_there(master: Entry, word: str) -> None:
    said = "there is no service type 'NFS'; the known types are GLUSTER_SWIFT, GLUSTER"
    master("services %s --type=NFS" % word, 1, err="Failure: %s\n" % said)
    master("services %s --type=" % word, 1, err="Failure: there is no service type ''; the known")


@pytest.mark.parametrize("word", [*CHANGES, "status"])
def test_a_node_that_is_not_there(master: Entry, word: str) -> None:
    said = refused("Node 'node9' not known", "unknown_entity")
    master("swift %s --node=node1 --node=node9" % word, 1, err=said)


@pytest.mark.parametrize("word", [*CHANGES, "status"])
def test_a_service_that_is_not_there(master: Entry, word: str) -> None:
    said = "GLUSTER_SWIFT has no service 'smtp', only account, container, object, proxy"
    words = "swift %s --node=node1 --service=proxy --service=smtp" % word
    master(words, 1, err=refused(said, "unknown_entity"))


# -- changes -----------------------------------------------------------------


@CHANGE
def test_a_type_that_is_expected_nowhere(master: Entry, verb: str) -> None:
    types = tuple(replace(each, nodes=NodeChoice("names")) for each in BUILT_IN)
    master.replace("core.services.config", load=lambda: ServicesConfig(types))
    said = "Gluster Swift is not expected on any node; name one with --node"
    master("swift %s -f" % verb, 1, err=refused(said, "wrong_state"))


@pytest.mark.parametrize("verb", ["stop", "restart"])
@pytest.mark.parametrize("nodes", ["", "--node=node1 --node=node2"])
def test_nothing_is_done_if_the_answer_is_no(master: Entry, verb: str, nodes: str) -> None:
    master.answer(False)
    done = {"stop": "stopped", "restart": "restarted"}[verb]
    said = "Nothing was %s; use --yes to skip this question\n" % done
    master("swift %s --service=proxy %s" % (verb, nodes), 13, err=said)
    what = "%s Gluster Swift: proxy on node1, node2?" % verb.capitalize()
    assert master.questions == ["This interrupts the service in the whole cluster. %s" % what]


@CHANGE
def test_a_dry_run_only_tells(master: Entry, verb: str) -> None:
    said = "Would %s GlusterFS: glusterd, glustereventsd on node2\n" % verb
    master("services %s --dry-run --type=gluster --node=node2" % verb, 0, out=said)


@pytest.mark.parametrize(
    ("outcomes", "status", "last"),
    [
        ([outcome("proxy", "done"), outcome("object", "unchanged")], 0, "2 started, 0 failed"),
        ([outcome("proxy", "done"), outcome("object", "failed")], 3, "1 started, 1 failed"),
        ([outcome("proxy", "failed", "masked")], 1, "0 started, 1 failed"),
        (
            [outcome("proxy", "not installed")],
            1,
            "0 started, 0 failed, 1 not installed or skipped",
        ),
    ],
)
def test_the_exit_status_tells_whether_all_some_or_none_was_done(
    master: Entry, outcomes: list[Outcome], status: int, last: str
) -> None:
    def run(*args: object, on_node_done: Any, **named: object) -> list[Outcome]:
        if on_node_done:
            on_node_done("node1", outcomes)
        return outcomes

    master.replace("cmdlib.services", run=run)
    lines = master("swift start", status, out="%s\n" % last).splitlines()
    assert lines[0].startswith("node1 proxy: %s" % outcomes[0].result)
    assert lines[0].endswith(outcomes[0].message)
    told = json.loads(master("swift start --json", status, out=None))
    assert [each["result"] for each in told] == [each.result for each in outcomes]


def test_a_node_that_cannot_be_asked(master: Entry) -> None:
    error = GanetiGlusterError("no answer")
    master.replace("cmdlib.cluster", ask=raiser(error))
    kept: list[Event] = []
    master.replace("core.services.by_users", keep=kept.extend)
    master.patch.setattr(master.part("client.invocation"), "caller", lambda: "alice")
    out = master("swift stop -f --node=node2 --service=proxy", 1, out="0 stopped, 1 failed\n")
    assert out.startswith("node2 proxy: failed: no answer\n")
    assert [event.line() for event in kept] == [
        "GLUSTER_SWIFT proxy on node2: stop by alice; failed: proxy"
    ]


def test_the_caller_is_who_logged_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "alice")
    assert invocation.caller() == "alice"
    monkeypatch.delenv("SUDO_USER")
    monkeypatch.setattr(invocation, "_login", lambda: 2**32 - 1)  # from cron, say
    assert invocation.caller() == pwd.getpwuid(os.geteuid()).pw_name
    monkeypatch.setattr(invocation, "_login", lambda: pwd.getpwnam("daemon").pw_uid)
    assert invocation.caller() == "daemon"


def test_a_node_in_the_configuration_that_is_not_in_the_cluster_is_told(master: Entry) -> None:
    types = config.parse("[GLUSTER_SWIFT]\nnodes = node1 node3\n").types
    master.replace("core.services.config", load=lambda: ServicesConfig(types))
    master.replace("cmdlib.services", fetch=lambda *args, **named: seen("node1"))
    said = (
        "gluster-services.conf, section [GLUSTER_SWIFT]: there is no node 'node3' in this cluster"
    )
    master("swift status", 0, out=None, err=said)


# -- status ------------------------------------------------------------------


def seen(*nodes: str, silent: str = "") -> ClusterServices:
    """The proxies of these nodes, one of which may not tell."""
    proxies = [
        ServerService(
            "GLUSTER_SWIFT",
            "proxy",
            name,
            ServiceStatus.UNKNOWN if name in silent else ServiceStatus.RUNNING,
            "",
        )
        for name in nodes
    ]
    return ClusterServices(0, tuple(proxies), dict.fromkeys(silent.split(), "no answer"))


@pytest.mark.parametrize(
    ("silent", "status", "out"),
    [
        ("", 0, "Gluster Swift: Up\n"),
        ("node2", 3, "\nnode2: no answer\n"),
        ("node1 node2", 1, "Gluster Swift: Unknown ?\n"),
    ],
)
def test_the_exit_status_tells_whether_all_some_or_no_node_told(
    master: Entry, silent: str, status: int, out: str
) -> None:
    snapshot = seen("node1", "node2", silent=silent)
    master.replace("cmdlib.services", fetch=lambda *args, **named: snapshot)
    master("swift status", status, out=out)
    told = json.loads(master("services status --json", status, out=None))
    assert list(told["unreachable"]) == silent.split()


def test_fields_that_are_not_there(master: Entry) -> None:
    master.replace("cmdlib.services", fetch=lambda *args, **named: seen("node1"))
    said = "Unknown field size, colour; the fields are type, node, service, status, "
    master("swift status -o node,size,colour", 1, err=said)
    master("swift status -o +pid", 0, out="node1 proxy Up")
    master("swift status -o node,word", 0, out="node1 Up\n")


# -- events ------------------------------------------------------------------


@pytest.fixture
def history(master: Entry, tmp_path: Path) -> Path:
    """Where events are stored: two changes of Gluster Swift's proxy, and one of a type's."""
    place = tmp_path / "services.db"
    master.replace("constants", SERVICES_STORE=str(place))
    private = master.part("tools.private")
    master.replace_in(private, _make_place=lambda path: None, _repair=lambda *args: None)
    store = master.part("core.services.store")
    with store.connect(readonly=False) as opened:
        for number, type in enumerate(("GLUSTER_SWIFT", "GLUSTER_SWIFT", "GLUSTER")):
            opened._insert(
                Event(
                    86400.0 * (1 + number),
                    "service-status",
                    type,
                    "node1",
                    "proxy",
                    "RUNNING",
                    "STOPPED",
                    uid=str(number),
                )
            )
    return place


@pytest.mark.parametrize("words", ["swift events", "services events --type=gluster"])
def test_before_the_first_sync_nothing_is_known(master: Entry, tmp_path: Path, words: str) -> None:
    place = tmp_path / "none"
    master.replace("constants", SERVICES_STORE=str(place))
    said = "nothing is known about the services yet: %s does not exist; the sync runs on" % place
    master(words, 1, err="Failure: %s" % said)


def test_a_history_that_is_damaged(master: Entry, tmp_path: Path) -> None:
    place = tmp_path / "services.db"
    place.write_bytes(b"nonsense" * 1000)
    master.replace("constants", SERVICES_STORE=str(place))
    master("swift events", 1, err="Failure: the store of the services: file is not a database")


@pytest.mark.parametrize("since", ["yesterday", "3y", "-3d", "2026-13-01", "", "0", "9" * 7 + "d"])
def test_what_is_no_time(master: Entry, since: str) -> None:
    said = "'%s' is not a valid time; use 90m, 2h, 3d, 2026-11-21, or '2026-11-21 09:30'" % since
    master("swift events --since='%s'" % since, 1, err=refused(said))


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("swift events", 2),
        ("swift events --since=1970-01-03", 1),
        ("swift events --since=1h", 0),
        ("services events", 3),
        ("services events --type=gluster", 1),
    ],
)
def test_what_is_stored_is_told(master: Entry, history: Path, words: str, count: int) -> None:
    assert len(master(words, 0, out=None).splitlines()) == count
    told = master("%s --json" % words, 0, out=None).splitlines()
    assert [json.loads(line)["node"] for line in told] == ["node1"] * count


def test_following_ends_with_an_interrupt(master: Entry, history: Path) -> None:
    clock = master.part("client.service_events").time
    master.replace_in(clock, sleep=raiser(KeyboardInterrupt()))
    assert len(master("swift events --follow", 0, out=None).splitlines()) == 2
