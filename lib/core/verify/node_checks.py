"""Checks of one node, from its own facts."""

from __future__ import annotations

import shlex
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from ganeti_gluster.constants import MIB
from ganeti_gluster.core.serve import control
from ganeti_gluster.core.serve.server import UNIT
from ganeti_gluster.core.verify import facts as f
from ganeti_gluster.core.verify.codes import ERROR, WARNING, Severity
from ganeti_gluster.core.verify.finding import Finding

#: Per cent of a brick in use (data or inodes) from which it is nearly full.
NEARLY_FULL = 85
#: What is left, in per cent, from which it is an error, whatever the reserve.
NOTHING_LEFT = 5
#: Days that a certificate is still valid, from which this is told, as with Ganeti's own.
TLS_WARNING, TLS_ERROR = 30, 7
_DAY = 86400

_OURS = "ganeti-gluster"
_STOPPED = "stopped"
_SWITCHED_OFF = "switched off"
_UNSUPPORTED = "is not supported"


def check_node(
    node: f.NodeFacts,
    *,
    offline: Collection[str] = (),
    disks: Mapping[str, f.Disk] | None = None,
) -> Iterator[Finding]:
    """All that a node's own facts show to be wrong.

    `offline` are the nodes that Ganeti knows as offline: nobody expects their glusterd.
    `disks` are those of instances by the keys of their exports, where they are known.
    """
    yield from check_plugin(node.node, node.plugin)
    if node.server_problem:
        yield Finding.of("SERVER_BROKEN", node.node, node.server_problem)
    yield from check_servers(node)
    yield from check_glusterd(node, offline)
    for brick in node.bricks:
        yield from check_brick(brick, node.node)
    for volume, reason in sorted(node.unreachable.items()):
        yield Finding.of("VOLUME_UNREACHABLE", node.node, "volume %s: %s" % (volume, reason))
    for export in node.exports:
        if not export.answers:
            disk = (disks or {}).get(export.key)
            name = "disk %d of instance %s" % (disk.index, disk.instance) if disk else export.key
            yield Finding.of("EXPORT_STALE", node.node, "the exporter of %s is not running" % name)
    if node.tls.management and node.tls.missing:
        yield Finding.of("TLS_FILES", node.node, "missing: %s" % ", ".join(node.tls.missing))
    elif node.tls.management:
        yield from check_certificate(node, now=time.time())
    for problem in node.problems:
        yield Finding.of("NOT_CHECKED", node.node, problem)


def check_certificate(node: f.NodeFacts, *, now: float) -> Iterator[Finding]:
    """Whether the node's certificate can be used, and for how long."""
    tls = node.tls
    if tls.problem:
        yield Finding.of("TLS_CERTIFICATE", node.node, tls.problem)
        return
    if tls.name and tls.name != node.node:
        text = "the certificate's name is %s" % tls.name
        yield Finding.of("TLS_CERTIFICATE", node.node, text, severity=WARNING)
    left = (tls.ends - now) / _DAY
    if tls.ends and left < TLS_WARNING:
        day = time.strftime("%Y-%m-%d", time.gmtime(tls.ends))
        severity = ERROR if left < TLS_ERROR else WARNING
        yield Finding.of(
            "TLS_EXPIRES", node.node, "the certificate ends on %s" % day, severity=severity
        )


def check_plugin(node: str, plugin: Mapping[str, Any]) -> Iterator[Finding]:
    """Whose template the node has, from `plugin_status.local_status`."""
    reasons = [str(reason) for reason in plugin.get("reasons", ())]
    for reason in reasons:
        if _SWITCHED_OFF in reason:
            code = "PLUGIN_OFF"
        elif reason.startswith("Ganeti ") and _UNSUPPORTED in reason:
            code = "GANETI_UNSUPPORTED"
        else:
            code = "PLUGIN_REFUSED"
        yield Finding.of(code, node, reason)
    if not reasons and plugin.get("template") != _OURS:
        yield Finding.of("PLUGIN_REFUSED", node, "the template is stock Ganeti's")
    noded = plugin.get("noded")
    if noded in (_OURS, _STOPPED, None) and not plugin.get("noded_reasons"):
        return
    for reason in plugin.get("noded_reasons", ()) or ["its template is stock Ganeti's"]:
        # If new processes are stock for the same reason, that is reported already; and Ganeti
        # itself reports a node daemon that does not run.
        if noded != _STOPPED and reason not in reasons:
            yield Finding.of("NODED_STALE", node, str(reason).split("; ")[0])


def check_servers(node: f.NodeFacts) -> Iterator[Finding]:
    """Open images whose requests wait, or that another node has by now."""
    for server in node.servers:
        if server.state == control.LOST:
            yield Finding.of(
                "IMAGE_LOST",
                node.node,
                "%s: %s" % (server.image or server.key, server.why),
                unit=UNIT % server.key,
            )
        elif server.state == control.WAITING and server.why:
            clock = time.strftime("%H:%M:%S", time.localtime(server.waiting))
            since = "since %s: " % clock if server.waiting else ""  # one that does not answer
            image = server.image or server.key
            code = "IMAGE_NO_SPACE" if server.full else "IMAGE_WAITS"
            yield Finding.of(code, node.node, "%s: %s%s" % (image, since, server.why))


def check_glusterd(node: f.NodeFacts, offline: Collection[str]) -> Iterator[Finding]:
    """glusterd, and the other members as it sees them."""
    if node.glusterd == f.DOWN and node.incomplete:
        yield Finding.of(
            "GLUSTERD_FILES",
            node.node,
            "empty or missing in /var/lib/glusterd: %s" % ", ".join(node.incomplete),
            paths=" ".join(map(shlex.quote, _to_copy(node.incomplete))),
        )
    elif node.glusterd == f.DOWN:
        yield Finding.of("GLUSTERD_DOWN", node.node, node.glusterd_reason or "it is not running")
    if node.glusterd == f.SILENT:
        yield Finding.of(
            "GLUSTERD_SILENT", node.node, node.glusterd_reason or "it does not answer"
        )
    for peer in node.peers:
        if peer.rejected:
            yield Finding.of("PEER_REJECTED", node.node, "it has rejected %s" % peer.name)
        elif not peer.connected:
            if not set(peer.names) & set(offline):
                yield Finding.of("PEER_DISCONNECTED", node.node, "not connected to %s" % peer.name)
        elif not peer.sound:
            yield Finding.of(
                "PEER_STATE",
                node.node,
                "%s is: %s" % (peer.name, peer.state),
                node=node.node,
                uuid=peer.uuid,
            )


def _to_copy(incomplete: Sequence[str]) -> list[str]:
    """What glusterd has to copy from another member in place of these files, as a whole.

    It does not start with a brick on a peer that it does not know.
    """
    peers = [path for path in incomplete if path.startswith("peers/")]
    if peers:
        return [*peers, "vols"]
    return sorted({"/".join(path.split("/")[:2]) for path in incomplete})


def check_brick(brick: f.BrickPlace, node: str) -> Iterator[Finding]:
    """The file system under a brick of a node."""
    names: dict[str, Any] = {"volume": brick.volume, "node": node}
    if brick.problem:
        yield Finding.of("BRICK_UNREADABLE", brick.name, brick.problem, **names)
        return
    if brick.empty:
        yield Finding.of("BRICK_EMPTY", brick.name, "its file system is empty", **names)
        return
    if not brick.mounted:
        text = "its directory is missing, or lacks the volume's mark"
        yield Finding.of("BRICK_NOT_MOUNTED", brick.name, text, **names)
        return
    if brick.read_only:
        yield Finding.of("BRICK_READ_ONLY", brick.name, "its file system is read-only")
    if brick.thin is not None and brick.thin < brick.free:
        yield Finding.of(
            "BRICK_THIN",
            brick.name,
            "its thin pool has %d MiB left, while its file system shows %d"
            % (brick.thin // MIB, brick.free // MIB),
            severity=ERROR if 100 * brick.thin <= NOTHING_LEFT * brick.size else WARNING,
        )
    for what, total, free in (
        ("data", brick.size, brick.free),
        ("inodes", brick.inodes, brick.inodes_free),
    ):
        if total <= 0:  # some file systems do not count inodes
            continue
        left = 100 * free / total
        severity = full_severity(left, brick.reserve)
        if severity is not None:
            yield Finding.of(
                "BRICK_FULL",
                brick.name,
                "%.0f per cent left for %s" % (left, what),
                severity=severity,
            )


def full_severity(left: float, reserve: float) -> Severity | None:
    """How bad it is that `left` per cent are left, of which `reserve` is not to be used."""
    if left <= max(reserve, NOTHING_LEFT):
        return ERROR
    return WARNING if left < 100 - NEARLY_FULL else None
