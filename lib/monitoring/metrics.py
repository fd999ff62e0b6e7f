"""Prometheus's text format, and the measured data as metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ganeti_gluster.core.backup.due import ScheduleEntry
from ganeti_gluster.core.serve.control import SERVING
from ganeti_gluster.core.services.model import ServiceStatus
from ganeti_gluster.core.verify.facts import RUNNING
from ganeti_gluster.core.verify.finding import Finding
from ganeti_gluster.monitoring.collect import Collected
from ganeti_gluster.storage.operations import BOUNDS, Operation

PREFIX = "ganeti_gluster_"
GAUGE, COUNTER, HISTOGRAM = "gauge", "counter", "histogram"

Labels = Mapping[str, str]


@dataclass
class Family:
    """A metric: its name without the prefix, its kind, help, and samples.

    A sample is (suffix, labels, value).  What the master reports `whole` is of the cluster, and
    of no node.
    """

    name: str
    kind: str
    help: str
    whole: bool = False
    samples: list[tuple[str, Labels, float]] = field(default_factory=list)

    def add(self, value: float | None, suffix: str = "", **labels: str) -> None:
        """Add a sample; nothing for None, which is what is not known."""
        if value is not None:
            self.samples.append((suffix, labels, value))


def exposition(families: Iterable[Family]) -> str:
    """The families in Prometheus's text format, those with samples."""
    return "".join(line + "\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    if not family.samples:
        return
    name = PREFIX + family.name
    yield "# HELP %s %s" % (name, family.help.replace("\\", "\\\\").replace("\n", "\\n"))
    yield "# TYPE %s %s" % (name, family.kind)
    for suffix, labels, value in family.samples:
        inner = ",".join('%s="%s"' % (key, _escape(text)) for key, text in labels.items())
        yield "%s%s%s %s" % (name, suffix, "{%s}" % inner if inner else "", _number(value))


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def families(seen: Collected) -> list[Family]:
    """Everything that was collected, as metrics."""
    found = [
        *_of_node(seen),
        *_of_bricks(seen),
        *_of_profile(seen),
        *_of_operations(seen.operations),
        *_of_findings(seen),
        *_of_disks(seen),
        *_of_volumes(seen),
        *_of_services(seen),
        *_of_backups(seen.backups),
    ]
    for family in found:
        # As in prometheus-ganeti-exporter, whose metrics these can then be joined with.
        usual = {"cluster": seen.cluster}
        if not family.whole:
            usual["node"] = seen.facts.node
        family.samples = [
            (suffix, {**usual, **labels}, value) for suffix, labels, value in family.samples
        ]
    return found


def _of_node(seen: Collected) -> Iterator[Family]:
    facts = seen.facts
    info = Family("build_info", GAUGE, "Versions on this node.")
    info.add(
        1,
        version=str(facts.plugin.get("version", "")),
        ganeti=str(facts.plugin.get("ganeti", "")),
        glusterfs=facts.glusterfs,
    )
    yield info
    plugin = Family("plugin_active", GAUGE, "Whether the gluster template is this package's.")
    plugin.add(facts.plugin.get("template") == "ganeti-gluster")
    yield plugin
    up = Family("glusterd_up", GAUGE, "Whether glusterd answers; absent if it is not installed.")
    if facts.glusterd != "absent":
        up.add(facts.glusterd == RUNNING)
    yield up
    peers = Family("peer_connected", GAUGE, "Whether glusterd is properly connected to a peer.")
    for peer in facts.peers:
        peers.add(peer.sound, peer=peer.name)
    yield peers
    healer = Family(
        "self_heal_missing_connections",
        GAUGE,
        "Connections that the self-heal daemon lacks to bricks on servers that are connected.",
    )
    if facts.self_heal is not None:
        healer.add(facts.self_heal.missing)
    yield healer
    reach = Family(
        "volume_reachable", GAUGE, "Whether libgfapi can reach a volume from this node."
    )
    for name in facts.reached:
        reach.add(1, volume=name)
    for name in facts.unreachable:
        reach.add(0, volume=name)
    yield reach
    exports = Family(
        "export_up", GAUGE, "Whether the exporter of an image on this node is running."
    )
    for export in facts.exports:
        exports.add(export.answers, export=export.key)
    yield exports
    state = Family(
        "image_server_up", GAUGE, "Whether an open image is served: 0 if lost or waiting."
    )
    waiting = Family(
        "image_waiting_seconds",
        GAUGE,
        "How long the requests for an open image have been waiting.",
    )
    full = Family(
        "image_waits_for_space",
        GAUGE,
        "Whether the guest of an open image stands still because the volume is full.",
    )
    locked = Family(
        "image_locked", GAUGE, "How an open image is locked by this node: exclusive, shared, none."
    )
    for server in facts.servers:
        full.add(server.full, image=server.image)
        state.add(server.state == SERVING, image=server.image)
        since = seen.time - server.waiting if server.waiting else 0.0
        waiting.add(max(0.0, since), image=server.image)
        if server.mode:
            locked.add(1, image=server.image, mode=server.mode)
    yield state
    yield waiting
    yield full
    yield locked
    took = Family("collect_duration_seconds", GAUGE, "How long it took to collect these metrics.")
    took.add(seen.seconds)
    yield took
    when = Family("collect_timestamp_seconds", GAUGE, "When these metrics were collected.")
    when.add(seen.time)
    yield when


def _of_bricks(seen: Collected) -> Iterator[Family]:
    families = [
        Family(name, GAUGE, text)
        for name, text in (
            ("brick_up", "Whether a brick's process is running on this node."),
            ("brick_readable", "Whether a brick's file system is mounted and can be read."),
            ("brick_size_bytes", "Size of a brick's file system."),
            ("brick_free_bytes", "Free space of a brick's file system."),
            ("brick_inodes", "Inodes of a brick's file system."),
            ("brick_inodes_free", "Free inodes of a brick's file system."),
            (
                "brick_heal_entries",
                "Entries of other copies that need healing, as known to a brick.",
            ),
        )
    ]
    for brick in seen.facts.bricks:
        state = brick.state(online=seen.bricks_up.get(brick.name))
        inodes = (brick.inodes, brick.inodes_free) if brick.sound else (None, None)
        values = (state.online, brick.sound, state.total, state.free, *inodes, state.heals)
        for family, value in zip(families, values, strict=True):
            family.add(value, volume=brick.volume, brick=brick.name)
    yield from families
    split = Family(
        "volume_split_brain_entries",
        GAUGE,
        "Entries in split-brain, reported by the master.",
        whole=True,
    )
    for volume, count in seen.split_brain.items():
        split.add(count, volume=volume)
    yield split


def _of_profile(seen: Collected) -> Iterator[Family]:
    read, written, calls, latency = (
        Family(name, kind, text, whole=True)
        for name, kind, text in (
            ("brick_read_bytes_total", COUNTER, "Bytes read, from the volume profile."),
            ("brick_written_bytes_total", COUNTER, "Bytes written, from the volume profile."),
            ("brick_calls_total", COUNTER, "Calls, from the volume profile."),
            (
                "brick_call_latency_seconds",
                GAUGE,
                "Mean duration of a call since profiling was started.",
            ),
        )
    )
    for volume, bricks in seen.profiles.items():
        for brick in bricks:
            labels = {"volume": volume, "brick": brick.brick}
            read.add(brick.bytes_read, **labels)
            written.add(brick.bytes_written, **labels)
            for call in brick.calls:
                calls.add(call.hits, **labels, call=call.name)
                latency.add(call.average / 1e9, **labels, call=call.name)
    yield from (read, written, calls, latency)


def _of_operations(operations: Iterable[Operation]) -> Iterator[Family]:
    failures = Family("operation_failures_total", COUNTER, "Disk operations that failed.")
    durations = Family("operation_duration_seconds", HISTOGRAM, "Duration of disk operations.")
    for each in operations:
        failures.add(each.failures, operation=each.name)
        total = 0
        for bound, count in zip(BOUNDS, each.buckets, strict=True):
            total += count
            durations.add(total, "_bucket", operation=each.name, le=_number(bound))
        durations.add(each.count, "_bucket", operation=each.name, le="+Inf")
        durations.add(each.seconds, "_sum", operation=each.name)
        durations.add(each.count, "_count", operation=each.name)
    yield from (failures, durations)


def _of_findings(seen: Collected) -> Iterator[Family]:
    own = Family("findings", GAUGE, "What verification finds on this node, by code.")
    _add_findings(own, seen.findings)
    yield own
    whole = Family(
        "cluster_findings", GAUGE, "What the last verification found, by code.", whole=True
    )
    _add_findings(whole, seen.verified_findings)
    yield whole
    when = Family(
        "verify_timestamp_seconds", GAUGE, "When the cluster was last verified.", whole=True
    )
    when.add(seen.verified)
    yield when


def _add_findings(family: Family, findings: Iterable[Finding]) -> None:
    counts = Counter((each.code, each.severity.value) for each in findings)
    for (code, severity), count in sorted(counts.items()):
        family.add(count, code=code, severity=severity)


def _of_disks(seen: Collected) -> Iterator[Family]:
    # Not "instance": Prometheus gives that name to the target that it asks.
    sizes = Family(
        "instance_disk_size_bytes",
        GAUGE,
        "Configured size of a disk, reported by the master.",
        whole=True,
    )
    for disk in seen.disks:
        sizes.add(disk.size, instance_name=disk.instance, disk=str(disk.index), volume=disk.volume)
    yield sizes


def _of_volumes(seen: Collected) -> Iterator[Family]:
    families = [
        Family(name, GAUGE, text, whole=True)
        for name, text in (
            ("volume_size_bytes", "Space of a volume, as its clients have it."),
            ("volume_free_bytes", "Free space of a volume, as its clients have it."),
            ("volume_provisioned_bytes", "Size of all disks of instances on a volume."),
            ("volume_snapshots", "Images that are snapshots on a volume."),
            ("volume_snapshot_bytes", "Space that snapshots take on a volume."),
        )
    ]
    for each in seen.volumes:
        values = (each.total, each.free, each.provisioned, each.snapshots, each.snapshot_bytes)
        for family, value in zip(families, values, strict=True):
            family.add(value, volume=each.volume)
    yield from families


def _of_services(seen: Collected) -> Iterator[Family]:
    up = Family(
        "service_up",
        GAUGE,
        "Whether a service is Up on a node; absent if that is unknown or it is not installed.",
        whole=True,
    )
    again = Family(
        "service_restarts",
        GAUGE,
        "How often a service that ends over and over was restarted, else 0.",
        whole=True,
    )
    for each in seen.services:
        if each.status in (ServiceStatus.RUNNING, ServiceStatus.STOPPED):
            labels = {"node": each.node, "type": each.type, "service": each.name}
            up.add(each.status is ServiceStatus.RUNNING, **labels)
            again.add(each.restarts, **labels)
    yield from (up, again)


def _of_backups(entries: Iterable[ScheduleEntry]) -> Iterator[Family]:
    families = [
        Family(name, GAUGE, text, whole=True)
        for name, text in (
            (
                "backup_last_timestamp_seconds",
                "When a schedule began its last backup or snapshot; absent if there is none.",
            ),
            ("backup_due_timestamp_seconds", "When a schedule is to make the next one."),
            ("backup_failures", "How often it has failed since the last one."),
        )
    ]
    for each in entries:
        for family, value in zip(families, (each.last, each.due, each.failures), strict=True):
            family.add(value, schedule=each.schedule, instance_name=each.instance)
    yield from families
