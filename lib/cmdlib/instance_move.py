"""Whether an instance may move to this node: run by hooks, before anything moves.

Ganeti runs the hooks of a migration on the master, the old and the new node, and those of
a failover on the master and the new node.  The new node checks what can only be seen from
there.
"""

from __future__ import annotations

import re
import sys
import syslog
from collections.abc import Mapping
from dataclasses import dataclass, field

from ganeti_gluster import __version__
from ganeti_gluster.constants import PARAM_VOLUME
from ganeti_gluster.core import health, image
from ganeti_gluster.core.export import Export
from ganeti_gluster.core.serve.holder import holder_of, node_number, work_number
from ganeti_gluster.core.serve.server import ImageServer
from ganeti_gluster.core.verify.gather import server_problem
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.errors import GanetiGlusterError, in_words
from ganeti_gluster.tools.gfapi import Volume

_DISK = re.compile(r"GANETI_INSTANCE_DISK(\d+)_DEV_TYPE")
_OURS = "GANETI_INSTANCE_GLUSTER_"
_VOLUME = re.compile(_OURS + r"DISK(\d+)_VOLUME")
#: The hook's path of a failover, which is what Ganeti calls what it does.
FAILOVER = "instance-failover"
# Bytes read of each image: an image of which only a copy that is away is good, or
# that is in split-brain, cannot be read.
_PROBE = 4096


@dataclass
class Verdict:
    """Why the instance may not move, and what its administrator should know."""

    refusals: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class InstanceMove:
    """What a hook gets: node names, paths of the gluster disks by index, parameters.

    `volumes` are those of disks that have one of their own, by index.
    """

    instance: str
    old: str
    new: str
    version: str
    forced: bool
    paths: dict[int, str]
    params: dict[str, str]
    volumes: dict[int, str] = field(default_factory=dict)

    def images(self) -> dict[VolumeSpec, dict[int, str]]:
        """The paths of the disks by volume and index; raises `InvalidParameter`."""
        found: dict[VolumeSpec, dict[int, str]] = {}
        for index, path in sorted(self.paths.items()):
            own = {PARAM_VOLUME: self.volumes[index]} if index in self.volumes else {}
            spec = VolumeSpec.from_params({**self.params, **own})
            found.setdefault(spec, {})[index] = path
        return found

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> InstanceMove:
        """From a hook's environment (Ganeti's documentation of hooks names the values)."""
        paths = {
            int(match[1]): env["GANETI_INSTANCE_DISK%s_ID" % match[1]]
            for name, value in env.items()
            if value == "gluster" and (match := _DISK.fullmatch(name))
        }
        return cls(
            instance=env.get("GANETI_INSTANCE_NAME", ""),
            old=env.get("GANETI_OLD_PRIMARY", ""),
            new=env.get("GANETI_NEW_PRIMARY", ""),
            version=env.get(_OURS + "VERSION", ""),
            forced=env.get("GANETI_IGNORE_CONSISTENCY") == "True",
            paths=paths,
            params={
                name.removeprefix(_OURS).lower(): value
                for name, value in env.items()
                if name.startswith(_OURS)
            },
            volumes={
                int(match[1]): value
                for name, value in env.items()
                if (match := _VOLUME.fullmatch(name))
            },
        )


def check(move: InstanceMove, *, nodes: list[str], offline: list[str]) -> Verdict:
    """Look at everything from this node, which is the new one; changes nothing.

    `nodes` are all of the cluster's, by whose names holders of locks are known.
    """
    verdict = Verdict()
    if move.version != __version__:
        # From a dead node an instance moves or stands still.
        dead = move.forced or move.old in offline
        (verdict.warnings if dead else verdict.refusals).append(
            "ganeti-gluster has version %s here and %s on the master; install the same version on"
            " both" % (__version__, move.version or "not in use")
        )
    lacking = server_problem()
    if lacking:
        verdict.refusals.append("the image server cannot run here (%s)" % lacking)
    try:
        for spec, paths in move.images().items():
            with connect(spec) as volume:
                for index, path in paths.items():
                    disk = "disk/%d" % index
                    _check_disk(verdict, move, disk, volume, spec, path, nodes, offline)
    except (GanetiGlusterError, OSError) as err:
        verdict.refusals.append(in_words(err))
    return verdict


def _check_disk(
    verdict: Verdict,
    move: InstanceMove,
    disk: str,
    volume: Volume,
    spec: VolumeSpec,
    path: str,
    nodes: list[str],
    offline: list[str],
) -> None:
    try:
        image.stat(volume, path)
        state = health.check(volume, path)
        if state.split_brain:
            verdict.refusals.append("%s: %s; heal it first" % (disk, state.detail))
            return
        with volume.open(path) as file:
            file.pread(_PROBE, 0)
        if state.degraded:
            verdict.warnings.append("%s: %s" % (disk, state.detail))
        holder = holder_of(volume, path)
    except OSError as err:
        verdict.refusals.append("%s: image %s cannot be read: %s" % (disk, path, err.strerror))
        return
    allowed = {node_number(node) for node in (move.old, move.new, *offline)}
    allowed |= set(map(work_number, offline))
    if holder is not None and holder.number not in allowed:
        verdict.refusals.append("%s: image %s is open on %s" % (disk, path, holder.name(nodes)))
    if Export(spec, path).device() and ImageServer(spec, path).status() is None:
        verdict.refusals.append(
            "%s: this node still exports image %s (%s), but does not have it open; stop that unit"
            % (disk, path, Export(spec, path).unit)
        )


def _take_from_old(move: InstanceMove, offline: list[str]) -> str:
    """Take the images from a node that is not asked to stop the instance; returns why not.

    Ganeti does not contact a node that is offline, and can be told to ignore one that does not
    answer.
    """
    if move.old not in offline and not move.forced:
        return ""
    from ganeti_gluster.cmdlib import evict, evictions
    from ganeti_gluster.storage import node_names

    try:
        nodes = node_names.every()
        held = [
            (spec, path)
            for spec, paths in move.images().items()
            for path in paths.values()
            if evict.last_holder(spec, path, nodes) == node_number(move.old)
        ]
        evictions.take_from(move.old, held)
    except (GanetiGlusterError, OSError) as err:
        return in_words(err)
    return ""


def main(env: Mapping[str, str]) -> int:
    """What the hook does: its exit status, with the reasons on standard output.

    Warnings go to syslog, since Ganeti shows nothing of a hook that succeeds.
    """
    # Late, since only the hook needs Ganeti.
    from ganeti_gluster.storage import node_names

    move = InstanceMove.from_env(env)
    if not move.paths:
        return 0
    own, offline = node_names.own(), node_names.offline()
    if own == node_names.master() and env.get("GANETI_HOOKS_PATH") == FAILOVER:
        reason = _take_from_old(move, offline)
        if reason:
            sys.stdout.write("%s cannot move to %s: %s\n" % (move.instance, move.new, reason))
            return 1
    if move.new != own:
        return 0
    verdict = check(move, nodes=node_names.every(), offline=offline)
    syslog.openlog("ganeti-gluster")
    for warning in verdict.warnings:
        syslog.syslog(
            syslog.LOG_WARNING, "Moving %s to %s: %s" % (move.instance, move.new, warning)
        )
    for refusal in verdict.refusals:
        sys.stdout.write("%s cannot move to %s: %s\n" % (move.instance, move.new, refusal))
    return 1 if verdict.refusals else 0
