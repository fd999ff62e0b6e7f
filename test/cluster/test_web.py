"""The page's server on a real cluster: over TLS, with real services and a real users file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from testbedlib import wait_for

from .conftest import Cluster, package
from .webpage import GUEST, ROOT, SERVICES, UNIT, ask, is_active, knows_all, served

# Not the master: what is asked for goes through the node daemons.
NODE = "node2"


@pytest.fixture(scope="module")
def page(cluster: Cluster) -> Iterator[Cluster]:
    with served(cluster, [NODE]):
        yield cluster


def act(page: Cluster, verb: str, **order: Any) -> dict[str, Any]:
    """Have something done through the API and return how it ended."""
    begun = ask(page.testbed, "/api/v1/actions", ROOT, order={"action": verb, **order})
    assert begun.status == 202, begun.text
    where = begun.headers["Location"]
    wait_for(
        lambda: ask(page.testbed, where, ROOT).json["state"] != "running", 120, "%s ends" % verb
    )
    ended: dict[str, Any] = ask(page.testbed, where, ROOT).json
    return ended


def test_real_services_are_started_and_stopped(page: Cluster) -> None:
    started = act(page, "start", nodes=[NODE])
    assert started["state"] == "done", started
    assert {one["service"]: one["status"] for one in started["outcomes"]} == dict.fromkeys(
        SERVICES, "RUNNING"
    )
    assert all(is_active(page, NODE, service) for service in SERVICES)

    stopped = act(page, "stop", nodes=[NODE], services=["proxy"])
    assert [(one["service"], one["status"]) for one in stopped["outcomes"]] == [
        ("proxy", "STOPPED")
    ]
    assert not is_active(page, NODE) and is_active(page, NODE, "object")

    # The sync is asked to look at once.
    wait_for(
        lambda: ask(page.testbed, "/api/v1/hosts/" + NODE, GUEST).json["status"] == "PARTIALLY_UP",
        30,
        "the page shows what was stored",
    )
    events = ask(page.testbed, "/api/v1/events", GUEST).json["data"]["events"]
    assert any(event["node"] == NODE and event["new"] == "RUNNING" for event in events)


def test_who_may_read_cannot_act_and_strangers_see_nothing(page: Cluster) -> None:
    order = {"action": "start", "nodes": [NODE], "services": ["proxy"]}
    assert ask(page.testbed, "/api/v1/actions", GUEST, order=order).status == 403
    assert ask(page.testbed, "/api/v1/actions", order=order).status == 401
    assert ask(page.testbed, "/api/v1/actions", ("root", "x"), order=order).status == 401
    assert "node2" not in ask(page.testbed, "/hosts").text
    assert not is_active(page, NODE)


def command(page: Cluster, **order: Any) -> dict[str, Any]:
    """Have a command run through the API and return how it ended."""
    begun = ask(page.testbed, "/api/v1/commands", ROOT, order=order)
    assert begun.status == 202, begun.text
    where = begun.headers["Location"]
    wait_for(
        lambda: ask(page.testbed, where, ROOT).json["state"] != "running",
        120,
        "%s ends" % order["command"],
    )
    ended: dict[str, Any] = ask(page.testbed, where, ROOT).json
    return ended


def test_the_cluster_is_verified_and_a_volume_healed_in_units_of_their_own(page: Cluster) -> None:
    order = {"command": "heal", "volume": "gv0"}
    assert ask(page.testbed, "/api/v1/commands", GUEST, order=order).status == 403
    begin = time.time()
    healed = command(page, **order)
    assert healed["state"] == "done", healed
    assert any("volume gv0 healed: done" in line for line in healed["output"])
    log = page.run("tail", "-n20", "/var/log/ganeti/gluster-pool.log").stdout
    assert "volume heal -- gv0, by root (web page)" in log
    journal = page.run("journalctl", "-u", UNIT, "--no-pager", "-n50").stdout
    assert "gnt-gluster volume heal gv0, for root" in journal

    verified = command(page, command="verify")
    assert verified["ended"] and verified["state"] in ("done", "failed"), verified
    assert not any(line.startswith("Failure:") for line in verified["output"]), verified
    wait_for(
        lambda: (ask(page.testbed, "/api/v1/findings", GUEST).json["at"] or 0) >= begin,
        60,
        "the page shows this verification",
    )


def test_bricks_stay_where_they_are_if_the_other_node_cannot_take_them(page: Cluster) -> None:
    order = {"command": "evacuate", "node": NODE, "target": "node1"}
    assert ask(page.testbed, "/api/v1/commands", ROOT, order=order).status == 400
    refused = command(page, **order, dry_run=True)
    assert (refused["state"], refused["plan"]) == ("failed", "")
    assert refused["output"][-1].startswith("Failure: ")


def test_disks_are_shown_as_their_volume_and_nodes_have_them(page: Cluster) -> None:
    def shown() -> list[str]:
        data = ask(page.testbed, "/api/v1/disks", GUEST).json["data"]
        images = [one["path"] for one in data["images"] if one["allocated"] is not None]
        return images + [one["name"] for one in data["snapshots"]]

    path = page.add("web15", start=False)
    try:
        wait_for(lambda: path in shown(), 90, "the page shows the disk")
        taken = command(page, command="snapshot", instance="web15", snapshot="s1")
        assert taken["state"] == "done", taken
        wait_for(lambda: "s1" in shown(), 90, "the page shows the snapshot")
        order = {"command": "remove-snapshot", "instance": "web15", "snapshot": "s1"}
        plan = command(page, **order, dry_run=True)
        assert plan["state"] == "shown", plan
        assert command(page, **order, plan="0" * 12)["state"] == "failed"
        removed = command(page, **order, plan=plan["plan"])
        assert removed["state"] == "done", removed
        wait_for(lambda: "s1" not in shown(), 90, "the page shows that it is gone")
    finally:
        page.remove("web15")


def test_the_pool_is_shown_as_it_is(page: Cluster) -> None:
    pool = ask(page.testbed, "/api/v1/pool", GUEST).json["data"]
    (volume,) = (one for one in pool["volumes"] if one["name"] == "gv0")
    assert [brick["online"] for brick in volume["bricks"]] == [True] * 3
    assert volume["free"] < volume["total"]
    assert all(peer["connected"] for peer in pool["peers"])


def test_what_serves_has_no_right_but_to_the_users_file(page: Cluster) -> None:
    rows = page.run("ps", "-o", "user:20=,supgid=,pid=", "-C", "gnt-gluster").stdout.split("\n")
    processes = {row.split()[0]: row.split()[1:] for row in rows if row}
    assert set(processes) == {"root", "gnt-rapi"}
    assert processes["gnt-rapi"][0] == "-"
    status = page.run("cat", "/proc/%s/status" % processes["gnt-rapi"][1]).stdout
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["CapEff"].strip("0") == "" and fields["NoNewPrivs"] == "1"
    # The socket of Ganeti's master daemon.
    page.run(
        *("setpriv", "--reuid=gnt-rapi", "--regid=gnt-rapi", "--clear-groups"),
        *("socat", "-u", "/dev/null", "UNIX-CONNECT:/run/ganeti/socket/ganeti-query"),
        fail=True,
    )


def test_a_node_that_is_not_the_master_says_who_is(page: Cluster) -> None:
    done = page.testbed.exec(NODE, ["gnt-gluster", "web"])
    assert done.exit_code == 11
    assert "This node is not the master: the page is served by node1" in done.stderr


def test_an_address_that_is_none_is_refused(page: Cluster) -> None:
    done = page.testbed.exec("node1", ["gnt-gluster", "web", "--bind", "x"])
    assert done.exit_code == 1
    assert "not an IP address: x" in done.stderr


def test_a_glusterd_that_hangs_makes_no_page_wait(page: Cluster) -> None:
    pid = page.run("pgrep", "-x", "glusterd").stdout.strip()
    page.run("kill", "-STOP", pid)
    try:
        before = ask(page.testbed, "/api/v1/pool", GUEST).json["at"]
        begin = time.monotonic()
        for path in ("/api/v1/pool", "/api/v1/swift"):
            assert ask(page.testbed, path, GUEST).json["data"]
        assert time.monotonic() - begin < 10
    finally:
        page.run("kill", "-CONT", pid)
    wait_for(
        lambda: ask(page.testbed, "/api/v1/pool", GUEST).json["at"] > before,
        120,
        "glusterd is asked again",
    )


@pytest.mark.slow
def test_an_upgrade_of_the_package_has_the_page_served_by_the_new_one(page: Cluster) -> None:
    show = ("systemctl", "show", "--value", "--property=MainPID", UNIT)
    before = page.run(*show).stdout
    page.testbed.install([package()])
    wait_for(lambda: knows_all(page.testbed), 60, "the page knows the cluster again")
    assert page.run(*show).stdout not in (before, "0\n")


def test_it_ends_at_once_and_whole(page: Cluster) -> None:
    begin = time.monotonic()
    page.run("systemctl", "stop", UNIT)
    assert time.monotonic() - begin < 15
    result = page.run("systemctl", "show", "-p", "Result,ExecMainStatus", UNIT).stdout
    assert "Result=success" in result and "ExecMainStatus=0" in result
    page.run("pgrep", "-f", "gnt-gluster web", fail=True)
