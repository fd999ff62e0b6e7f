"""Swift's real services on three nodes: seen, started, stopped, broken, and told of."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from testbedlib import swift, wait_for

from .conftest import AGENT, Cluster
from .packages import removed
from .terminal import INTERRUPT, terminal

SYNC = "gluster-services-sync"
CONF = "/etc/ganeti/gluster-services.conf"
HOOK = "/etc/ganeti/gluster-events.d/record"
SEEN = "/run/seen"

Undo = Callable[..., None]


class Services:
    """The services of the cluster; `master` is the node that the commands run on."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.master = "node1"
        self._seen = 0

    def run(self, *argv: str, exit_code: int = 0) -> str:
        """A command of `gnt-gluster`, with this exit status; all that it printed."""
        done = self.cluster.testbed.exec(self.master, ["gnt-gluster", *argv], timeout=120)
        assert done.exit_code == exit_code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def status(self, *, exit_code: int = 0) -> dict[str, Any]:
        """What `swift status` says of the whole cluster."""
        text = self.cluster.testbed.exec(
            self.master, ["gnt-gluster", "swift", "status", "--json"], timeout=60
        )
        assert text.exit_code == exit_code, text.stdout + text.stderr
        found: dict[str, Any] = json.loads(text.stdout)["types"]["GLUSTER_SWIFT"]
        return found

    def sync(self) -> list[tuple[str, ...]]:
        """Sync now; the events of Swift's services and of whole nodes since the last call."""
        # One that runs already is to look again.
        argv = "touch /run/ganeti-gluster/services-sync-wanted; systemctl start %s" % SYNC
        self.cluster.run("sh", "-c", argv, node=self.master, max_seconds=120)
        return self.news()

    def news(self) -> list[tuple[str, ...]]:
        """The events since the last call: kind, node, service, old, new.

        Without those of users, which `acted` has.
        """
        text = self.run("swift", "events", "--json")
        events = [json.loads(line) for line in text.splitlines()]
        new = [event for event in events if event["id"] > self._seen]
        self._seen = events[-1]["id"] if events else 0
        assert len({event["uid"] for event in events}) == len(events)
        keys = ("kind", "node", "service", "old", "new")
        return [
            tuple(event[key] for key in keys if event[key])
            for event in new
            if event["kind"] != "service-action"
        ]

    def acted(self) -> list[str]:
        """What users did, in the words of `events`."""
        return [
            line.split("  ", 1)[1]
            for line in self.run("swift", "events").splitlines()
            if " by " in line
        ]

    def told(self, *nodes: str) -> list[str]:
        """What is in the journals of nodes, by the events' uids."""
        argv = ("journalctl", "SYSLOG_IDENTIFIER=gluster-services", "--no-pager", "--output=json")
        texts = [self.cluster.run(*argv, node=node).stdout for node in nodes]
        entries = [json.loads(line) for text in texts for line in text.splitlines()]
        return [entry["GLUSTER_EVENT_ID"] for entry in entries if "GLUSTER_EVENT_ID" in entry]


def of(found: dict[str, Any], node: str, name: str) -> tuple[str, str]:
    """A service's status and message in what `Services.status` returned."""
    service = found["nodes"][node]["services"][name]
    return service["status"], service["message"]


@pytest.fixture(scope="module")
def services(cluster: Cluster) -> Iterator[Services]:
    """Swift configured and running on all nodes; syncs happen when a test says so."""
    swift.configure([cluster.testbed.node(name) for name in cluster.nodes])
    services = Services(cluster)
    services.run("swift", "start")
    services.sync()
    yield services
    services.run("swift", "stop", "-f")


@pytest.fixture
def undo(services: Services) -> Iterator[Undo]:
    """Commands to run on a node after the test; then all runs again, and is known to."""
    later: list[tuple[str, tuple[str, ...]]] = []

    def do(node: str, *argv: str) -> None:
        later.append((node, argv))

    yield do
    for node, argv in reversed(later):
        services.cluster.run(*argv, node=node, max_seconds=120)
    services.run("swift", "start")
    services.sync()


def pid_of(cluster: Cluster, node: str, unit: str) -> str:
    done = cluster.run("systemctl", "show", "--value", "--property=MainPID", unit, node=node)
    return done.stdout.strip()


def override(services: Services, undo: Undo, node: str, unit: str, *lines: str) -> None:
    """Change lines of a unit's [Service] until the end of the test."""
    folder = "/run/systemd/system/%s.service.d" % unit
    undo(node, "systemctl", "daemon-reload")
    undo(node, "rm", "-r", folder)
    services.cluster.run("mkdir", "-p", folder, node=node)
    text = "\n".join(["[Service]", *lines, ""]).encode()
    services.cluster.testbed.exec(node, ["tee", folder + "/x.conf"], stdin=text, check=True)
    services.cluster.run("systemctl", "daemon-reload", node=node)


def test_what_runs_is_shown_and_a_stop_is_told_once(services: Services, undo: Undo) -> None:
    cluster = services.cluster
    found = services.status()
    assert (found["status"], found["message"], found["members"]) == ("RUNNING", "", 12)
    assert sorted(found["nodes"]) == cluster.nodes
    one = found["nodes"]["node2"]["services"]["proxy"]
    assert (one["unit"], one["enabled"]) == ("swift-proxy", True)
    assert str(one["pid"]) == pid_of(cluster, "node2", "swift-proxy")

    undo("node1", "rm", HOOK, SEEN)
    hook = '#!/bin/sh\necho "$GLUSTER_EVENT $GLUSTER_NODE $GLUSTER_NEW_STATUS" >>%s\n' % SEEN
    cluster.testbed.exec(
        "node1",
        ["sh", "-c", "mkdir -p ${0%%/*}; cat >$0; chmod 755 $0".replace("%%", "%"), HOOK],
        stdin=hook.encode(),
        check=True,
    )
    assert "node2 proxy: done\n1 stopped, 0 failed" in services.run(
        "swift", "stop", "--node=node2", "--service=proxy"
    )
    assert services.sync() == [
        ("service-status", "node2", "proxy", "RUNNING", "STOPPED"),
        ("node-status", "node2", "RUNNING", "PARTIALLY_UP"),
        ("cluster-status", "RUNNING", "PARTIALLY_UP"),
    ]
    assert services.sync() == []
    told = services.told("node1")
    assert len(told) == len(set(told))
    assert cluster.run("cat", SEEN).stdout.splitlines() == [
        "service-action node2 ",
        "service-status node2 STOPPED",
        "node-status node2 PARTIALLY_UP",
        "cluster-status  PARTIALLY_UP",
    ]
    assert services.run("swift", "status").splitlines() == [
        "Gluster Swift: Partially up",
        "",
        "Node   account  container  object  proxy  Together",
        "node1  Up       Up         Up      Up     Up",
        "node2  Up       Up         Up      Down   Partially up",
        "node3  Up       Up         Up      Up     Up",
    ]
    lines = services.run(
        *("services", "status", "--type=gluster", "--no-headers", "--separator=:"),
        *("-o", "node,unit,word"),
    )
    assert "node1:glusterd:Up" in lines.splitlines()


def test_a_killed_and_a_masked_service(services: Services, undo: Undo) -> None:
    cluster = services.cluster
    override(services, undo, "node1", "swift-object", "Restart=no")
    cluster.run("kill", "-KILL", pid_of(cluster, "node1", "swift-object"))
    cluster.run("systemctl", "mask", "--quiet", "swift-proxy", node="node2")
    undo("node2", "systemctl", "unmask", "--quiet", "swift-proxy")
    found = services.status()
    assert of(found, "node1", "object") == ("STOPPED", "failed: signal, signal SIGKILL")
    assert of(found, "node2", "proxy") == ("RUNNING", "masked, and still running")
    cluster.run("systemctl", "stop", "swift-proxy", node="node2")
    assert services.sync() == [
        ("service-status", "node1", "object", "RUNNING", "STOPPED"),
        ("service-status", "node2", "proxy", "RUNNING", "STOPPED"),
        ("node-status", "node1", "RUNNING", "PARTIALLY_UP"),
        ("node-status", "node2", "RUNNING", "PARTIALLY_UP"),
        ("cluster-status", "RUNNING", "PARTIALLY_UP"),
    ]
    text = services.run("swift", "start", "--node=node2", exit_code=3)
    assert "node2 proxy: failed: masked; use systemctl unmask swift-proxy.service" in text
    assert "3 started, 1 failed" in text
    assert of(services.status(), "node2", "proxy") == ("STOPPED", "masked")


def test_what_is_restarted_over_and_over_is_down_with_one_event(
    services: Services, undo: Undo
) -> None:
    cluster = services.cluster
    override(
        *(services, undo, "node3", "swift-object", "ExecStart="),
        *("ExecStart=/bin/sh -c 'sleep 2; exit 1'", "Restart=always", "RestartSec=1"),
    )
    cluster.run("systemctl", "restart", "swift-object", node="node3")
    again = re.compile(r"restarted \d+ times, exit status 1")

    def is_down() -> bool:
        status, message = of(services.status(), "node3", "object")
        return status == "STOPPED" and again.fullmatch(message) is not None

    wait_for(is_down, 60, "it has been restarted three times")
    services.sync()
    for _ in range(8):  # whatever it does at the moment
        assert is_down()
    assert services.sync() == []
    told = [
        line for line in services.run("swift", "events").splitlines() if "object on node3:" in line
    ]
    assert "GLUSTER_SWIFT object on node3: Up -> Down: " in told[-1]
    text = services.run("swift", "stop", "--node=node3", "--service=object")
    assert "node3 object: done" in text
    assert of(services.status(), "node3", "object") == ("STOPPED", "")
    services.sync()
    assert services.acted()[-1] == "GLUSTER_SWIFT object on node3: stop by root"


def test_a_process_outside_its_unit_and_a_disabled_unit_are_told(
    services: Services, undo: Undo
) -> None:
    cluster = services.cluster
    cluster.run("systemctl", "stop", "swift-proxy", node="node2")
    undo("node2", "systemctl", "enable", "--quiet", "swift-object")
    cluster.run("systemctl", "disable", "--quiet", "swift-object", node="node2")
    # As swift-init does it.
    start = "setsid runuser -u swift -- swift-proxy-server /etc/swift/proxy-server.conf"
    cluster.run("sh", "-c", start + " >/dev/null 2>&1 </dev/null &", node="node2")
    outside = re.compile(r"a process of it is running outside its unit \(PID (\d+)\)")

    def stray() -> re.Match[str] | None:
        return outside.fullmatch(of(services.status(), "node2", "proxy")[1])

    wait_for(lambda: stray() is not None, 30, "the process is seen")
    found = stray()
    assert found is not None
    undo("node2", "kill", found[1])
    disabled = "its unit is disabled: it will not start when the node boots"
    assert of(services.status(), "node2", "object") == ("RUNNING", disabled)

    undo("node1", "rm", CONF)
    text = "[GLUSTER_SWIFT]\nverify = on\nnodes = node1 node2 ndoe3\n"
    cluster.testbed.exec("node1", ["tee", CONF], stdin=text.encode(), check=True)
    assert "there is no node 'ndoe3' in this cluster" in services.run("swift", "status")
    text = services.run("verify", exit_code=1)
    assert re.search(r"SERVICES_DOWN: node2: .*proxy is down \(%s" % outside.pattern, text)
    assert "SERVICES_DISABLED: node2: Gluster Swift: object will not start" in text
    assert "SERVICES_NODE: node1: Gluster Swift is expected on ndoe3" in text


@pytest.mark.slow
def test_a_terminal_has_colours_a_question_and_events_as_they_happen(
    services: Services, undo: Undo
) -> None:
    cluster = services.cluster
    node = cluster.testbed.node("node1")
    swift_command = ["gnt-gluster", "swift"]
    services.run("swift", "stop", "--node=node2", "--service=proxy")
    services.sync()
    with terminal(node, [*swift_command, "status"], TERM="xterm") as coloured:
        assert coloured.end(60) == 0
    lines = coloured.text.splitlines()
    up, down, partly = "\033[32mUp\033[0m", "\033[31mDown\033[0m", "\033[33mPartially up\033[0m"
    assert lines[0] == "Gluster Swift: " + partly
    assert lines[4].split() == ["node2", up, up, up, down, *partly.split()]
    with terminal(node, [*swift_command, "status"], TERM="xterm", NO_COLOR="1") as plain:
        assert plain.end(60) == 0
    # The columns are where they are without colours.
    assert re.sub("\033\\[[0-9]+m", "", coloured.text) == plain.text

    with terminal(node, [*swift_command, "stop"], TERM="xterm") as asked:
        asked.until("y/[n]/?: ", 60)
        assert "This interrupts the service in the whole cluster. Stop" in asked.text
        asked.type("n\n")
        assert asked.end(60) == 13
    assert services.status()["nodes"]["node1"]["status"] == "RUNNING"

    with terminal(node, [*swift_command, "events", "--follow"], TERM="xterm") as followed:
        followed.until("proxy on node2: Up -> Down", 60)
        services.run("swift", "stop", "--node=node2", "--service=object")
        services.sync()
        begin = time.monotonic()
        followed.until("object on node2: Up -> Down\n", 60)
        assert time.monotonic() - begin < 10
        followed.type(INTERRUPT)
        followed.end(60)
    assert "Traceback" not in followed.text
    follows = ["pgrep", "-f", "swift events --follow"]
    wait_for(lambda: cluster.testbed.exec("node1", follows).exit_code != 0, 20, "it has ended")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argv", "message", "exit_code"),
    [
        (["status", "--node=node9"], "Node 'node9' not known", 1),
        (["start", "--service=none"], "GLUSTER_SWIFT has no service 'none', only account,", 1),
        (
            ["status", "-o", "colour"],
            "Unknown field colour; the fields are type, node, service,",
            1,
        ),
        (["events", "--since=soon"], "'soon' is not a valid time; use 90m, 2h, 3d, 2026-11-21", 1),
        (["stop"], "", 13),  # nobody is at a terminal to say yes
        (["restart", "--dry-run", "--node=node2"], "Would restart Gluster Swift: account,", 0),
    ],
)
def test_what_is_asked_wrongly_changes_nothing(
    services: Services, argv: list[str], message: str, exit_code: int
) -> None:
    before = pid_of(services.cluster, "node2", "swift-proxy")
    assert message in services.run("swift", *argv, exit_code=exit_code)
    assert pid_of(services.cluster, "node2", "swift-proxy") == before


@pytest.mark.slow
def test_a_service_that_ends_soon_has_failed(services: Services, undo: Undo) -> None:
    override(
        *(services, undo, "node3", "swift-container"),
        *("ExecStart=", "ExecStart=/bin/false", "Restart=no"),
    )
    override(
        *(services, undo, "node3", "swift-object"),
        *(
            "ExecStart=",
            "ExecStart=/bin/sh -c 'sleep 1; exit 3'",
            "Restart=always",
            "RestartSec=0",
        ),
    )
    text = services.run("swift", "restart", "--node=node3", exit_code=3)
    assert "node3 container: failed: failed: exit-code, exit status 1" in text
    assert "node3 object: failed: " in text
    assert "2 restarted, 2 failed" in text


@pytest.mark.slow
def test_a_type_of_the_administrators_and_a_node_that_lacks_it(
    services: Services, undo: Undo
) -> None:
    cluster = services.cluster
    text = "[GLUSTER]\nnodes = none\n[LOGIN]\nnodes = node1 node2\n"
    text += "service.seats = no systemd-logind\n"
    for node in cluster.nodes:
        undo(node, "rm", "-f", CONF)
    cluster.run("sh", "-c", "printf '%%s' '%s' >%s" % (text, CONF))
    status = ("services", "status", "--json")
    login = json.loads(services.run(*status, "--type=login"))["types"]["LOGIN"]
    assert "node2 (seats): its gluster-services.conf differs" in login["message"]
    cluster.run("gnt-cluster", "copyfile", CONF)
    assert "node2 seats: done" in services.run(
        "services", "restart", "--type=LOGIN", "--node=node2"
    )
    found = json.loads(services.run(*status))["types"]
    assert sorted(found["LOGIN"]["nodes"]) == ["node1", "node2"]
    assert found["LOGIN"]["nodes"]["node1"]["services"]["seats"]["unit"] == "systemd-logind"
    assert found["GLUSTER"]["members"] == 0


@pytest.mark.slow
def test_a_node_cut_off_is_unknown_in_time_and_hides_no_other(
    services: Services, undo: Undo
) -> None:
    cluster = services.cluster
    cluster.testbed.cut("node3")
    try:
        cluster.run("timeout", "15", "gnt-gluster", "swift", "status", fail=True)
        found = services.status(exit_code=3)
        assert found["status"] == "PARTIALLY_UP"
        assert found["message"].startswith("unknown: node3: no connection")
        assert found["nodes"]["node2"]["status"] == "RUNNING"
        text = services.run("swift", "restart", "-f", "--service=proxy", exit_code=3)
        assert "node3 proxy: failed: no connection" in text
        assert "2 restarted, 1 failed" in text
        assert services.sync() == []  # one missed look is nothing
        assert services.sync() == [
            ("fetch-failed", "node3"),
            ("cluster-status", "RUNNING", "PARTIALLY_UP"),
        ]
        assert services.sync() == []
    finally:
        cluster.testbed.heal("node3")
    wait_for(lambda: services.status()["status"] == "RUNNING", 60, "node3 tells again")
    assert services.sync() == [
        ("fetch-restored", "node3"),
        ("cluster-status", "PARTIALLY_UP", "RUNNING"),
    ]


@pytest.mark.slow
def test_however_many_nodes_are_silent_the_status_is_told_in_time(
    services: Services, undo: Undo
) -> None:
    cluster = services.cluster
    begin = time.monotonic()
    services.status()
    usual = time.monotonic() - begin
    # One answers with a service that is on its way, one never, one is not there.
    override(services, undo, "node1", "swift-proxy", "ExecStartPre=/bin/sleep 60")
    undo("node1", "systemctl", "stop", "swift-proxy")
    cluster.run("systemctl", "restart", "--no-block", "swift-proxy")
    command = "/etc/ganeti/restricted-commands/gluster-services-status"
    undo("node2", "mv", "/root/status", command)
    cluster.run("mv", command, "/root/status", node="node2")
    script = "printf '#!/bin/sh\nexec sleep 60\n' >%s; chmod 755 %s" % (command, command)
    cluster.run("sh", "-c", script, node="node2")
    cluster.testbed.cut("node3")
    try:
        begin = time.monotonic()
        found = services.status(exit_code=3)
        # Less than 10 s where the machine is idle, and all that is usual takes one.
        assert time.monotonic() - begin < 8 + 2 * usual
    finally:
        cluster.testbed.heal("node3")
    assert of(found, "node1", "object") == ("RUNNING", "")
    assert of(found, "node1", "proxy") == ("UNKNOWN", "activating (start-pre)")
    assert re.match(r"unknown: node2: no answer within \d s", found["nodes"]["node2"]["message"])
    assert re.match(r"unknown: node3: no connection", found["nodes"]["node3"]["message"])
    wait_for(
        lambda: services.status(exit_code=3)["nodes"]["node3"]["status"] == "RUNNING",
        60,
        "node3 tells",
    )


@pytest.mark.slow
def test_verify_reports_what_is_expected_and_does_not_run(services: Services, undo: Undo) -> None:
    cluster = services.cluster
    undo("node1", "rm", CONF)
    undo("node1", "gnt-node", "remove-tags", "node2", "swift")
    cluster.run("gnt-node", "add-tags", "node2", "swift")
    text = "[GLUSTER_SWIFT]\nverify = on\nnodes = tag:swift\n"
    cluster.testbed.exec("node1", ["tee", CONF], stdin=text.encode(), check=True)
    for node in ("node2", "node3"):  # on the one it is expected
        cluster.run("systemctl", "stop", "swift-proxy", node=node)
    line = (
        "node2: SERVICES_DOWN: Gluster Swift: proxy is down;"
        " gnt-gluster services start --type=GLUSTER_SWIFT --node=node2"
    )
    done = cluster.testbed.exec("node1", ["gnt-cluster", "verify"], timeout=240)
    assert done.exit_code != 0
    assert done.stdout.count("SERVICES_DOWN") == 1
    assert line in done.stdout
    services.run("swift", "start")
    assert "SERVICES_DOWN" not in services.run("verify")


@pytest.mark.slow
def test_a_removed_package_is_not_installed(services: Services, undo: Undo) -> None:
    cluster = services.cluster
    with removed(cluster, "swift-proxy", "node2"):
        found = services.status()
        assert of(found, "node2", "proxy") == (
            "NOT_INSTALLED",
            "looked for gluster-swift-proxy, openstack-swift-proxy, swift-proxy",
        )
        assert (found["status"], found["message"]) == (
            "PARTIALLY_UP",
            "not installed: node2 (proxy)",
        )
        assert services.sync()[0] == (
            "service-status",
            "node2",
            "proxy",
            "RUNNING",
            "NOT_INSTALLED",
        )


@pytest.mark.slow
def test_a_master_failover_loses_no_event_and_invents_none(services: Services, undo: Undo) -> None:
    cluster = services.cluster
    services.run("swift", "stop", "--node=node3", "--service=object")
    assert services.sync()[0] == ("service-status", "node3", "object", "RUNNING", "STOPPED")
    before = services.run("services", "events", "--json")
    try:
        # What changes while nobody is master, the next one tells.
        cluster.run("systemctl", "stop", "swift-account", node="node3")
        cluster.run("gnt-cluster", "master-failover", node="node2", max_seconds=120)
        services.master = "node2"
        change = ("service-status", "node3", "account", "RUNNING", "STOPPED")
        assert services.sync() == [change]
        assert services.run("services", "events", "--json").startswith(before)
        assert services.sync() == []
        cluster.run("systemctl", "start", SYNC, node="node1")  # does nothing there
    finally:
        cluster.run("gnt-cluster", "master-failover", node="node1", max_seconds=120)
        services.master = "node1"
    cluster.run("systemctl", "start", "swift-account", node="node3")
    assert services.sync() == [("service-status", "node3", "account", "STOPPED", "RUNNING")]
    told = services.told("node1", "node2")
    assert len(told) == len(set(told))
    uids = [
        json.loads(line)["uid"]
        for line in services.run("services", "events", "--json").splitlines()
    ]
    assert set(uids[-2:]) <= set(told)


@pytest.mark.slow
def test_a_master_without_power_in_the_middle_of_a_sync_loses_no_event(
    services: Services, undo: Undo
) -> None:
    cluster, testbed = services.cluster, services.cluster.testbed
    earlier = set(services.told(*cluster.nodes))
    # A hook that does not end: by then the event is stored, copied and in the journal.
    undo("node1", "rm", "-f", HOOK)
    hook = "#!/bin/sh\ntouch %s\nexec sleep 60\n" % SEEN
    cluster.run("mkdir", "-p", os.path.dirname(HOOK))
    testbed.exec("node1", ["tee", HOOK], stdin=hook.encode(), check=True)
    cluster.run("chmod", "755", HOOK)
    cluster.run("systemctl", "stop", "swift-object", node="node3")
    cluster.run("systemctl", "start", "--no-block", SYNC)
    wait_for(lambda: testbed.exec("node1", ["test", "-e", SEEN]).exit_code == 0, 60, "the hook")

    # The sync alone dies: what the journal has it does not get again.
    cluster.run("systemctl", "kill", "--signal=KILL", SYNC)
    cluster.run("sh", "-c", "rm %s; systemctl start --no-block %s" % (SEEN, SYNC))
    wait_for(lambda: testbed.exec("node1", ["test", "-e", SEEN]).exit_code == 0, 60, "the hook")
    told = services.told("node1")
    assert len(told) == len(set(told))
    stored = services.news()
    assert stored == [
        ("service-status", "node3", "object", "RUNNING", "STOPPED"),
        ("node-status", "node3", "RUNNING", "PARTIALLY_UP"),
        ("cluster-status", "RUNNING", "PARTIALLY_UP"),
    ]
    before = services.run("services", "events", "--json")

    testbed.kill("node1")
    try:
        cluster.run("gnt-cluster", "master-failover", node="node2", max_seconds=120)
        services.master = "node2"
        assert services.sync() == []
        assert services.sync() == [("fetch-failed", "node1")]
        assert services.run("services", "events", "--json").startswith(before)
        uids = [json.loads(line)["uid"] for line in before.splitlines()][-3:]
        assert set(uids) <= set(services.told("node2"))
    finally:
        testbed.boot("node1")
        cluster.run("systemctl", "stop", *AGENT)
        cluster.run("rm", HOOK)
    # Ganeti itself keeps a master from starting if the others know another one.
    wait_for(lambda: services.status()["nodes"]["node1"]["message"] == "", 60, "node1 tells")
    cluster.run("gnt-cluster", "redist-conf", node="node2", max_seconds=120)
    # Its RAPI daemon runs, which keeps Debian's scripts from starting a master there.
    cluster.run("systemctl", "restart", "ganeti")

    # A master that is cut off is none any more, and does not know it.
    testbed.cut("node2")
    try:
        cluster.run("gnt-cluster", "master-failover", node="node1", max_seconds=120)
        services.master = "node1"
        assert ("fetch-restored", "node1") in services.sync()
        assert ("fetch-failed", "node2") in services.sync()
    finally:
        testbed.heal("node2")
    told = services.told("node2")
    wait_for(lambda: services.status()["nodes"]["node2"]["message"] == "", 60, "node2 tells")
    done = testbed.exec("node2", ["systemctl", "start", SYNC], timeout=120)
    assert done.exit_code != 0
    why = ("journalctl", "--unit=" + SYNC, "--no-pager", "--output=cat")
    assert (
        "the other nodes consider node1 to be the master" in cluster.run(*why, node="node2").stdout
    )
    assert services.told("node2") == told
    cluster.run("gnt-cluster", "redist-conf", max_seconds=120)
    # A master's daemons still run there, and it has the cluster's address.
    cluster.run("systemctl", "restart", "ganeti", node="node2")
    cluster.run("ip", "address", "del", "192.0.2.2/32", "dev", "br0", node="node2")
    cluster.run("systemctl", "start", SYNC, node="node2")  # does nothing there
    services.run("swift", "start")
    assert services.sync()[0] == ("fetch-restored", "node2")
    assert services.sync() == []
    # Twice, by its one name, is what was told when the power went.
    told = services.told(*cluster.nodes)
    assert {uid for uid in told if told.count(uid) > 1} - earlier == {uids[0]}
