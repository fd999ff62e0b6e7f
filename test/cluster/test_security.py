"""How much of a node is open to each of our units, by systemd's own measure, while it runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from ..exposure import documented
from .conftest import Cluster

#: An instance's worker, a command of the page and the exporters' rights, each for as long as it
#: is looked at.  Prints the exposure of each as JSON.
LOOK = """
import json, os, subprocess, sys
from ganeti_gluster import constants
from ganeti_gluster.tools import private, systemd
from ganeti_gluster.core.backup import mounts, scheduled_unit
from ganeti_gluster.core.export import nbd, unit
from ganeti_gluster.core.pool import packages
from ganeti_gluster.core.services import publish
from ganeti_gluster.core.snapshot import service
from ganeti_gluster.storage.snapshot_worker import PROGRAM

def exposure(name):
    argv = ["systemd-analyze", "security", "--no-pager", name]
    return subprocess.run(argv, capture_output=True, text=True).stdout.splitlines()[-1]

found = {}
worker = subprocess.Popen(
    service.worker_argv(PROGRAM, "nobody"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
assert json.loads(worker.stdout.readline()) == {"event": "ready"}
found["ganeti-gluster-snapshot-*.service"] = exposure(service.unit("nobody"))
worker.stdin.close()
worker.wait()
private.directory(constants.EXPORT_DIR)
for number, (shown, properties) in enumerate((
    ("ganeti-gluster-export-*.service (loop)", unit.EXPORTER_PROPERTIES),
    ("ganeti-gluster-export-*.service (nbd)", nbd.PROPERTIES),
    (scheduled_unit.UNIT, systemd.BACKUP_SCHEDULES),
    (mounts.UNIT % "*", systemd.BACKUP_MOUNT),
)):
    name = "ganeti-gluster-looked-at-%s.service" % number
    properties = [each for each in properties if each not in ("Type=notify", "NotifyAccess=main")]
    argv = unit.start_argv(name, "Looked at", ["sleep", "60"], properties)
    subprocess.run(argv, check=True)
    found[shown] = exposure(name)
    subprocess.run(["systemctl", "stop", name], check=True)
for shown, name, properties in (
    ("ganeti-gluster-page-*.service", "ganeti-gluster-page-0.service", systemd.PAGE_COMMAND),
    (packages.UNIT, packages.UNIT, ()),
):
    argv = systemd.run_argv(name, "Looked at", ["sleep", "60"], properties=properties)
    subprocess.run(argv, check=True)
    found[shown] = exposure(name)
    subprocess.run(["systemctl", "stop", name], check=True)
argv = publish.hook_argv("/usr/bin/sleep", {}, 60)
argv = [each for each in argv if each not in ("--pipe", "--wait")] + ["60"]
subprocess.run(argv, check=True)
name = next(each for each in argv if each.startswith("--unit=")).removeprefix("--unit=")
found["gluster-services-hook-*.service"] = exposure(name)
subprocess.run(["systemctl", "stop", name], check=True)
print(json.dumps(found))
"""


def number(line: str) -> float:
    """The exposure in the last line of `systemd-analyze security UNIT`."""
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d) ", line)
    assert found is not None, line
    return float(found.group(1))


def test_no_unit_has_more_open_to_it_than_is_documented(cluster: Cluster) -> None:
    limits = documented()
    done = cluster.run("/usr/bin/python3", "-c", LOOK, max_seconds=60)
    found = {name: number(line) for name, line in json.loads(done.stdout).items()}
    for name in sorted(set(limits) - set(found)):
        done = cluster.run(
            *("systemd-analyze", "security", "--no-pager", name.replace("@.", "@x."))
        )
        found[name] = number(done.stdout.splitlines()[-1])
    assert {name: value for name, value in found.items() if value > limits[name]} == {}
    assert set(found) == set(limits)


@pytest.mark.parametrize("name", ["ganeti-gluster-monitor", "gluster-services-sync"])
def test_what_runs_every_minute_does_its_work_with_these_rights(
    cluster: Cluster, name: str
) -> None:
    for node in cluster.nodes:
        cluster.run("systemctl", "start", name + ".service", node=node, max_seconds=60)


def test_the_agent_sees_bricks_as_they_are_and_reaches_the_volume(cluster: Cluster) -> None:
    # Tells the nodes which volumes there are.
    cluster.run("gnt-gluster", "verify", max_seconds=120)
    for node in cluster.nodes:
        cluster.run("systemctl", "start", "ganeti-gluster-monitor.service", node=node)
        report = cluster.run("cat", "/var/lib/ganeti-gluster/metrics.prom", node=node).stdout
        assert re.search(r'^ganeti_gluster_brick_readable\{.*volume="gv0".*\} 1$', report, re.M)
        assert re.search(r'^ganeti_gluster_volume_reachable\{.*volume="gv0"\} 1$', report, re.M)
        assert "BRICK_READ_ONLY" not in report


@pytest.mark.one_suite
def test_an_exporter_at_work_is_as_closed(
    cluster: Cluster, set_access: Callable[[str], None]
) -> None:
    set_access("kernelspace")
    cluster.add("closed1")
    try:
        (unit,) = cluster.run(
            *("systemctl", "list-units", "--plain", "--no-legend"),
            "ganeti-gluster-export-*",
        ).stdout.split()[:1]
        done = cluster.run("systemd-analyze", "security", "--no-pager", unit)
    finally:
        cluster.remove("closed1")
    limit = documented()["ganeti-gluster-export-*.service (loop)"]
    assert number(done.stdout.splitlines()[-1]) <= limit
