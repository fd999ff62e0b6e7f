"""What was collected, in Prometheus's format, in Ganeti's, and what watches it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from ganeti_gluster.core.backup.due import ScheduleEntry
from ganeti_gluster.core.image import ImageInfo
from ganeti_gluster.core.services.model import ServerService, ServiceStatus
from ganeti_gluster.core.verify import facts as f
from ganeti_gluster.core.verify import last
from ganeti_gluster.core.verify.codes import CODES
from ganeti_gluster.core.verify.finding import Finding
from ganeti_gluster.core.verify.keep import Keep
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.monitoring import collect, metrics, report
from ganeti_gluster.storage.operations import BOUNDS, Operation
from ganeti_gluster.tools import names
from ganeti_gluster.tools.gfapi.stat import Space
from ganeti_gluster.tools.gluster_cli import BrickHeal, VolumeInfo
from ganeti_gluster.tools.gluster_cli.profile import BrickProfile, Calls

ROOT = Path(__file__).resolve().parents[2]
BRICK = "node1:/b"


def collected(**values) -> collect.Collected:
    facts = f.NodeFacts(
        "node1",
        {"version": "0.1.0", "ganeti": "3.1.0", "template": "ganeti-gluster"},
        glusterfs="11.1",
        glusterd=f.RUNNING,
        peers=(f.PeerView("node2", ("node2",), "u", True, True, False, "Peer in Cluster"),),
        bricks=(
            f.BrickPlace("gv0", BRICK, "/b", size=100, free=40, behind=values.pop("behind", 0)),
        ),
        reached=("gv0",),
        unreachable={"gv1": "no"},
        exports=(f.ExportView("gv0-1", True),),
        servers=(f.ServerView("k", "serving", image="gv0/ganeti/x", mode="exclusive"),),
    )
    usual = {
        "findings": (),
        "time": 1700000000.5,
        "seconds": 0.25,
        "bricks_up": {BRICK: True},
        "operations": (Operation("Open", 3, 1, 0.5, (2, *[0] * (len(BOUNDS) - 1))),),
        "split_brain": {"gv0": 1},
        "profiles": {
            "gv0": [BrickProfile(BRICK, 9, 10, 20, (Calls("WRITE", 7, 1500.0, 1.0, 2.0),))]
        },
        "disks": (f.Disk('vm"1', 0, "gv0", "ganeti/x", 1 << 30, "node1"),),
        "verified": 1700000000.0,
        "verified_findings": (Finding.of("IMAGE_ORPHAN", "x", "old"),),
        "cluster": "c1",
        "volumes": (collect.VolumeUse("gv0", 1000, 300, 5000, 2, 70),),
        "services": (
            ServerService("NFS", "ganesha", "node2", ServiceStatus.RUNNING),
            ServerService("NFS", "rpcbind", "node2", ServiceStatus.STOPPED, restarts=7),
            ServerService("NFS", "rpcbind", "node3", ServiceStatus.UNKNOWN),
            ServerService("NFS", "ganesha", "node3", ServiceStatus.NOT_INSTALLED),
        ),
        "backups": (
            ScheduleEntry("nightly", "vm1", 1.0, 2.0, 3.0, 4),
            ScheduleEntry("new", "vm1", due=9.0),
        ),
    }
    return collect.Collected(facts, **{**usual, **values})


def text(**values) -> str:
    return metrics.exposition(metrics.families(collected(**values)))


def test_each_line_is_prometheus_text_and_each_family_is_whole() -> None:
    lines = text().splitlines()
    sample = re.compile(r'ganeti_gluster_[a-z_]+(\{([a-z_]+="([^"\\]|\\.)*",?)+\})? [0-9.e+-]+')
    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(types) == len(set(types))
    for line in lines:
        assert line.startswith("#") or sample.fullmatch(line), line


@pytest.mark.parametrize(
    "line",
    [
        'ganeti_gluster_peer_connected{cluster="c1",node="node1",peer="node2"} 1',
        'ganeti_gluster_volume_reachable{cluster="c1",node="node1",volume="gv1"} 0',
        'ganeti_gluster_brick_free_bytes{cluster="c1",node="node1",'
        'volume="gv0",brick="node1:/b"} 40',
        'ganeti_gluster_brick_calls_total{cluster="c1",'
        'volume="gv0",brick="node1:/b",call="WRITE"} 7',
        'ganeti_gluster_operation_failures_total{cluster="c1",node="node1",operation="Open"} 1',
        'ganeti_gluster_operation_duration_seconds_bucket{cluster="c1",node="node1",'
        'operation="Open",le="300"} 2',
        'ganeti_gluster_operation_duration_seconds_bucket{cluster="c1",node="node1",'
        'operation="Open",le="+Inf"} 3',
        'ganeti_gluster_instance_disk_size_bytes{cluster="c1",'
        'instance_name="vm\\"1",disk="0",volume="gv0"} '
        "1073741824",
        'ganeti_gluster_cluster_findings{cluster="c1",code="IMAGE_ORPHAN",severity="WARNING"} 1',
        'ganeti_gluster_image_locked{cluster="c1",node="node1",image="gv0/ganeti/x",'
        'mode="exclusive"} 1',
        'ganeti_gluster_volume_free_bytes{cluster="c1",volume="gv0"} 300',
        'ganeti_gluster_volume_provisioned_bytes{cluster="c1",volume="gv0"} 5000',
        'ganeti_gluster_volume_snapshots{cluster="c1",volume="gv0"} 2',
        'ganeti_gluster_service_up{cluster="c1",node="node2",type="NFS",service="ganesha"} 1',
        'ganeti_gluster_service_up{cluster="c1",node="node2",type="NFS",service="rpcbind"} 0',
        'ganeti_gluster_backup_last_timestamp_seconds{cluster="c1",schedule="nightly",'
        'instance_name="vm1"} 1',
        'ganeti_gluster_backup_due_timestamp_seconds{cluster="c1",schedule="new",'
        'instance_name="vm1"} 9',
        'ganeti_gluster_backup_failures{cluster="c1",schedule="nightly",instance_name="vm1"} 4',
        'ganeti_gluster_service_restarts{cluster="c1",node="node2",type="NFS",'
        'service="rpcbind"} 7',
    ],
)
def test_what_is_measured(line) -> None:
    assert line in text().splitlines()


def test_what_is_unknown_of_a_service_is_not_said() -> None:
    assert 'node="node3"' not in text()


def test_a_volume_is_listed_every_five_minutes_and_one_that_is_silent_hides_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def gather_images(spec: VolumeSpec) -> f.ImageFacts:
        asked.append(spec.name)
        if spec.name == "gv1":
            raise OSError("silent")
        snapshot = names.snapshot_path("ganeti/x", "monday")
        images = [ImageInfo(path, 10, 4, 0o600, 0, 0, 0.0) for path in ("ganeti/x", snapshot)]
        return f.ImageFacts("gv0", tuple(images), (), (0, 0), Space(100, 60))

    monkeypatch.setattr(collect, "gather_images", gather_images)
    disks = (f.Disk("vm", 0, "gv0", "ganeti/x", 10, "n"), f.Disk("vm", 1, "gv1", "y", 99, "n"))
    specs = [VolumeSpec.from_params({"volume": name, "host": "n"}) for name in ("gv0", "gv1")]
    keep = Keep()
    for _ in range(2):
        found = collect.volumes_in_use(specs, disks, keep)
        assert found == (collect.VolumeUse("gv0", 100, 60, 10, 1, 4),)
    assert sorted(asked) == ["gv0", "gv1", "gv1"]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({}, report.OK),
        ({"behind": 3}, report.TEMPORARY),
        ({"findings": (Finding.of("NOT_CHECKED", "node1", "late"),)}, report.UNKNOWN),
        ({"findings": (Finding.of("GLUSTERD_DOWN", "node1", "down"),)}, report.BAD),
    ],
)
def test_the_report_for_ganetis_monitoring(values, code) -> None:
    data = json.loads(json.dumps(report.report(collected(**values))))
    assert set(data) == {
        "name", "version", "format_version", "timestamp", "category", "kind", "data",
    }  # fmt: skip
    assert (data["category"], data["kind"], data["timestamp"]) == (
        "storage",
        1,
        1700000000500000000,
    )
    assert data["data"]["status"]["code"] == code


def test_split_brain_is_asked_for_every_ten_minutes(tmp_path) -> None:
    asked = []

    def heal_counts(name: str) -> list[BrickHeal]:
        asked.append(name)
        return [BrickHeal("b", True, "", 2, 0, 2, 0), BrickHeal("c", True, "", 1, 0, 1, 0)]

    gluster = SimpleNamespace(heal_counts=heal_counts)
    volume = VolumeInfo("gv0", "", "Started", "", 3, 0, 0, 0, (), {})
    path = str(tmp_path / "state")
    for now in (10000.0, 10599.0, 10601.0):
        assert collect.split_brain(gluster, [volume], now=now, path=path) == {"gv0": 2}
    assert asked == ["gv0", "gv0"]


def test_the_process_of_a_brick() -> None:
    assert collect.pid_file("node1:/srv/b/gv0") == "node1-srv-b-gv0.pid"
    facts = collected().facts
    assert collect.bricks_up(facts, "/nowhere") == {BRICK: False}


def test_the_last_verification_is_kept(tmp_path) -> None:
    path = str(tmp_path / "findings.json")
    assert last.load(path) == (None, ())
    finding = Finding.of("NODED_STALE", "node1", "old")
    last.save([finding], now=7.0, path=path)
    assert last.load(path) == (7.0, (finding,))


def known_names() -> set[str]:
    """Every metric that there is, with the suffixes of a histogram."""
    names = {metrics.PREFIX + family.name for family in metrics.families(collected())}
    return names | {
        metrics.PREFIX + "operation_duration_seconds" + suffix
        for suffix in ("_bucket", "_sum", "_count")
    }


@pytest.mark.parametrize("name", ["alerts.yml", "dashboard.json"])
def test_what_watches_uses_metrics_and_codes_that_exist(name) -> None:
    watched = (ROOT / "monitoring" / name).read_text()
    used = set(re.findall(r"ganeti_gluster_[a-z_]+", watched))
    assert used and used <= known_names()
    # The same text once more, as JSON escapes it in the dashboard.
    assert set(re.findall(r'code=\\?"([A-Z_]+)', watched)) <= set(CODES)


def test_the_dashboard_is_one() -> None:
    board = json.loads((ROOT / "monitoring" / "dashboard.json").read_text())
    identifiers = [panel["id"] for panel in board["panels"]]
    assert len(set(identifiers)) == len(identifiers)
    for panel in board["panels"]:
        assert panel["title"] and panel["targets"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
    assert board["uid"] == "ganeti-gluster"


def test_the_dashboard_shows_the_clusters_that_are_chosen() -> None:
    board = json.loads((ROOT / "monitoring" / "dashboard.json").read_text())
    assert [each["name"] for each in board["templating"]["list"]] == ["datasource", "cluster"]
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    for expression in expressions:
        names = re.findall(r"ganeti_gluster_[a-z_]+", expression)
        assert len(names) == expression.count('{cluster=~"$cluster"'), expression


def test_each_table_is_asked_for_as_a_table_of_now() -> None:
    # Else Grafana shows a list of series to choose one from, without columns for labels.
    board = json.loads((ROOT / "monitoring" / "dashboard.json").read_text())
    tables = [panel for panel in board["panels"] if panel["type"] == "table"]
    assert len(tables) == 4
    for panel in tables:
        (target,) = panel["targets"]
        assert (target["format"], target["instant"], target["range"]) == ("table", True, False)
        (organize,) = panel["transformations"]
        assert organize["options"]["excludeByName"]["Time"]
        columns = list(organize["options"]["indexByName"])
        labels = re.search(r"by \(([a-z_, ]+)\)", target["expr"])
        if labels:
            assert columns == [*labels[1].split(", "), "Value"]


def test_each_alert_says_how_bad_it_is_and_what_is_wrong() -> None:
    rules = re.split(r"\n\s*- alert: ", (ROOT / "monitoring" / "alerts.yml").read_text())[1:]
    names = [rule.split("\n")[0] for rule in rules]
    assert len(names) == len(set(names)) >= 8
    for rule in rules:
        assert re.search(r"\n\s+expr: \S", rule)
        assert re.search(r"\n\s+severity: (critical|warning)\n", rule)
        assert re.search(r"\n\s+summary: \S", rule)
