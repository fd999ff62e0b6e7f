"""Verify the cluster's Gluster storage: ask all nodes, look at the volumes, check.

The hook of `gnt-cluster verify` on the master and `gnt-gluster verify` do the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ganeti_gluster.cmdlib import backups_verify, cluster, cluster_config, services_verify
from ganeti_gluster.cmdlib.cluster import ClusterNode
from ganeti_gluster.cmdlib.cluster_config import ClusterConfig
from ganeti_gluster.core.export import Export
from ganeti_gluster.core.pool import identities
from ganeti_gluster.core.pool.hosts import node_of
from ganeti_gluster.core.services.answers import NodeAnswer
from ganeti_gluster.core.verify import backlog, expected_volumes, gather_volume, last
from ganeti_gluster.core.verify.bounded import LookResult, look
from ganeti_gluster.core.verify.facts import (
    DOWN,
    SILENT,
    Answers,
    Disk,
    ImageFacts,
    NodeFacts,
    SplitFile,
    VolumeFacts,
    sort,
)
from ganeti_gluster.core.verify.finding import Finding, ordered
from ganeti_gluster.core.verify.image_checks import check_exports, check_images
from ganeti_gluster.core.verify.maintenance import check_maintenance
from ganeti_gluster.core.verify.node_checks import check_node
from ganeti_gluster.core.verify.pool_checks import check_pool
from ganeti_gluster.core.verify.volume_checks import check_self_heal, check_volume
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import in_words
from ganeti_gluster.tools import decode, names
from ganeti_gluster.tools.gluster_cli.volumes import VolumeInfo

COMMAND = "gluster-verify-node"
#: Seconds for all nodes to answer.
NODES_SECONDS = 90.0
#: Further seconds, to inform nodes which volumes they should reach.
NODES_MORE_SECONDS = 30.0
#: Seconds for all volumes: their state and a backlog.
VOLUMES_SECONDS = 150.0

# All that Ganeti says about a restricted command that a node does not have.  If a command ran
# and failed, its output follows.
_NOT_INSTALLED = "Executing command '%s' failed" % COMMAND

#: Looks for further findings, by Ganeti's configuration: what other parts of the
#: package verify (services, say).  Each is called on the master, in bounded time.
PROVIDERS: list[Callable[[ClusterConfig], Iterable[Finding]]] = [
    services_verify.findings,
    backups_verify.findings,
]


@dataclass(frozen=True)
class Look:
    """All that was found: nodes that answered, why others did not, volumes and their images.

    `silent` has the reasons for nodes that did not answer, `strange` for those whose answers are
    not understood, and `elsewhere` the volumes of images that are missing on their own.
    """

    config: ClusterConfig
    nodes: Mapping[str, NodeFacts]
    silent: Mapping[str, str]
    strange: Mapping[str, str]
    volumes: Mapping[str, VolumeFacts]
    images: Mapping[str, ImageFacts]
    problems: tuple[str, ...]
    waiting: Mapping[str, float]
    elsewhere: Mapping[str, str] = field(default_factory=dict)


def look_at_cluster(config: ClusterConfig | None = None) -> Look:
    """Look at every node that is not offline and every volume; on the master.

    Takes about three minutes at most; what could not be seen is in the result.
    """
    config = config or cluster_config.load()
    # A long listing needs no node's answer, and nodes take seconds to give theirs.
    answers = look(
        {"nodes": lambda: ask_nodes(config), **_listings(config)},
        seconds=2 * NODES_SECONDS + NODES_MORE_SECONDS,
    )
    if answers["nodes"].error:
        raise answers["nodes"].error
    asked: Answers = answers.pop("nodes").value
    _note_identities(config, asked.nodes)
    volumes, images, problems = look_at_volumes(config, asked.nodes, answers)
    other, trouble = look_elsewhere(config, images)
    return Look(
        config,
        asked.nodes,
        asked.silent,
        asked.strange,
        volumes,
        images,
        (*problems, *trouble),
        _waiting(volumes),
        other,
    )


def ask_nodes(config: ClusterConfig) -> Answers:
    """Each node's facts, and the reason for those that have none.

    Nodes that check other volumes than they should get the right list, and are asked again.
    """
    online = [node for node in config.nodes if not node.offline]
    first = _ask(online)
    stale = [
        node
        for node in online
        if node.name in first.nodes and list(first.nodes[node.name].told) != config.params_of(node)
    ]
    if not stale:
        return first
    tell(config, [node.name for node in stale])
    return first.updated(_ask(stale))


def facts_of(nodes: Iterable[ClusterNode], *, seconds: float) -> Mapping[str, NodeFacts]:
    """The facts of those nodes that give them in time, whatever they were told to look at."""
    return _ask((node for node in nodes if not node.offline), seconds=seconds).nodes


def _ask(asked: Iterable[ClusterNode], *, seconds: float = NODES_SECONDS) -> Answers:
    addresses = {node.name: node.address for node in asked}
    # The reader of the facts reports an answer that is too long.
    answers = cluster.ask(COMMAND, addresses, seconds=seconds, longest=3 * decode.LONGEST)
    return sort({name: (not each.error, _told(each)) for name, each in answers.items()})


def _told(answer: NodeAnswer) -> str:
    """What a node printed, or why it did not, in Ganeti's words if it lacks the command."""
    return answer.error if _NOT_INSTALLED in answer.error else answer.reason or answer.output


def tell(config: ClusterConfig, names: Sequence[str]) -> None:
    """Give nodes the file that says which volumes each should reach, by Ganeti's SSH."""
    expected_volumes.save_all({node.name: config.params_of(node) for node in config.nodes})
    for name in cluster.SshChannel().copy(
        expected_volumes.PATH, names, seconds=NODES_MORE_SECONDS
    ):
        logging.warning("cannot inform node %s which volumes it should reach", name)


def look_at_volumes(
    config: ClusterConfig, nodes: Mapping[str, NodeFacts], listed: Mapping[str, LookResult]
) -> tuple[dict[str, VolumeFacts], dict[str, ImageFacts], tuple[str, ...]]:
    """The volumes, all at once, and their images as they were `listed`."""
    jobs: dict[str, Callable[[], Any]] = {}
    for spec in config.specs:
        job = partial(gather_volume.gather_volume, spec, backlog=may_be_behind(spec.name, nodes))
        jobs.setdefault("volume %s" % spec.name, job)
    answers = {**look(jobs, seconds=VOLUMES_SECONDS), **listed}
    volumes, images, problems = {}, {}, []
    for name, answer in answers.items():
        if answer.error:
            problems.append("%s: %s" % (name, in_words(answer.error)))
        elif isinstance(answer.value, VolumeFacts):
            volumes[answer.value.name] = answer.value
        elif isinstance(answer.value, ImageFacts):
            images[answer.value.volume] = answer.value
    for name, reasons in _look_at_contents(config, volumes, nodes).items():
        volumes[name] = replace(volumes[name], unreadable=reasons)
    for name, facts in volumes.items():
        if facts.split and name in images:
            volumes[name] = replace(facts, split=name_pieces(facts, nodes))
            images[name] = _with_gfids(config, images[name])
    return volumes, images, tuple(problems)


def look_elsewhere(
    config: ClusterConfig, images: Mapping[str, ImageFacts]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The volumes of images that are not where the configuration has them, and problems.

    A change of the template's volume leaves images behind, and they must not be reported as
    lost.  If nothing is missing, nothing is asked.
    """
    missing = {
        disk.path: disk.volume
        for disk in config.disks
        if disk.volume in images
        and all(image.path != disk.path for image in images[disk.volume].images)
    }
    if not missing:
        return {}, ()
    there = {
        image.path: name
        for name, facts in images.items()
        for image in facts.images
        if image.path in missing and missing[image.path] != name
    }
    rest = [path for path in missing if path not in there]
    job = partial(gather_volume.elsewhere, rest, list(images))
    answer = look({"other volumes": job}, seconds=gather_volume.LIST_SECONDS)["other volumes"]
    if answer.error:
        return there, ("other volumes: %s" % answer.error,)
    return {**there, **answer.value}, ()


def _look_at_contents(
    config: ClusterConfig, volumes: Mapping[str, VolumeFacts], nodes: Mapping[str, NodeFacts]
) -> dict[str, dict[str, str]]:
    """For each volume with a copy that may be unhealed or down, the images that it lacks."""
    jobs: dict[str, Callable[[], Any]] = {}
    for spec in config.specs:
        facts = volumes.get(spec.name)
        if facts is None or not may_lack(facts, nodes):
            continue
        paths = [disk.path for disk in config.disks if disk.volume == spec.name]
        pieces = {
            image
            for node in nodes.values()
            for brick in node.bricks
            if brick.volume == spec.name
            for image in brick.pieces.values()
        }
        jobs[spec.name] = partial(gather_volume.unreadable, spec, paths, whole=frozenset(pieces))
    answers = look(jobs, seconds=gather_volume.READ_SECONDS)
    return {name: answer.value for name, answer in answers.items() if answer.value}


def may_lack(facts: VolumeFacts, nodes: Mapping[str, NodeFacts]) -> bool:
    """Whether the bricks of a started volume that answer may have no good copy of something."""
    if facts.info is None or not facts.info.started:
        return False
    away = facts.status is None or bool(facts.status.offline(facts.info.bricks))
    return away or may_be_behind(facts.name, nodes)


def name_pieces(facts: VolumeFacts, nodes: Mapping[str, NodeFacts]) -> tuple[SplitFile, ...]:
    """The files in split-brain, with their images' GFIDs for pieces that bricks know."""
    pieces: dict[str, str] = {}
    for node in nodes.values():
        for brick in node.bricks:
            if brick.volume == facts.name:
                pieces.update(brick.pieces)
    known = {
        SplitFile("<gfid:%s>" % pieces[file.gfid], pieces[file.gfid])
        if file.gfid in pieces and file.path.startswith("<gfid:")
        else file
        for file in facts.split
    }
    return tuple(sorted(known, key=lambda file: (file.path, file.gfid)))


def _listings(config: ClusterConfig) -> dict[str, Callable[[], Any]]:
    jobs: dict[str, Callable[[], Any]] = {}
    for spec in config.specs:
        jobs.setdefault("images of %s" % spec.name, partial(gather_volume.gather_images, spec))
    return jobs


def may_be_behind(volume: str, nodes: Mapping[str, NodeFacts]) -> bool:
    """Whether a heal may be pending: a brick's index says so, or no index could be read.

    A stale copy is in the index of each of the other bricks.  `heal info` alone is no
    sign: it also lists files that are being written, and for minutes the last writes of
    a process that has ended.
    """
    bricks = [brick for node in nodes.values() for brick in node.bricks if brick.volume == volume]
    return not bricks or any(brick.behind != 0 for brick in bricks)


def _with_gfids(config: ClusterConfig, known: ImageFacts) -> ImageFacts:
    """The GFIDs of all images of instances, by which pieces in split-brain are known."""
    (spec, *_) = [spec for spec in config.specs if spec.name == known.volume]
    paths = [disk.path for disk in config.disks if disk.volume == known.volume]
    job = partial(gather_volume.gather_images, spec, gfids_of=paths)
    images: ImageFacts = look({"": job}, seconds=gather_volume.LIST_SECONDS)[""].value or known
    return images


def _waiting(volumes: Mapping[str, VolumeFacts]) -> dict[str, float]:
    """For how many seconds each brick has known of a backlog; remembered from now on."""
    now = time.time()
    since = known = backlog.load()
    for facts in volumes.values():
        if facts.heal is not None:
            since = backlog.update(since, facts.heal, now=now)
        elif facts.status is not None and not facts.problems:
            # Not asked, since no brick knows of a backlog.
            names = {str(brick) for brick in facts.info.bricks} if facts.info else set()
            since = {brick: start for brick, start in since.items() if brick not in names}
    if since != known:
        try:
            backlog.save(since)
        except OSError as err:
            logging.warning("cannot store since when heals have been pending: %s", err)
    return {brick: max(0.0, now - start) for brick, start in since.items()}


def check_cluster(seen: Look) -> list[Finding]:
    """What is wrong; it is also stored, for the web page and the metrics."""
    findings = ordered(_check(seen))
    try:
        last.save(findings, now=time.time())
    except OSError as err:
        logging.warning("cannot store the findings: %s", err)
    return findings


def _check(seen: Look) -> Iterable[Finding]:
    config = seen.config
    yield from provided(config)
    if not config.used:
        return
    for name, reason in seen.silent.items():
        if _NOT_INSTALLED in reason:
            yield Finding.of("PLUGIN_ABSENT", name, "it has no command %s" % COMMAND)
        else:
            yield Finding.of("NODE_SILENT", name, reason)
    for name, reason in seen.strange.items():
        yield Finding.of("NOT_UNDERSTOOD", name, reason)
    offline = known_as(config, seen.nodes, config.offline)
    disks = {names.unit_key(disk.volume, disk.path): disk for disk in config.disks}
    for node in seen.nodes.values():
        yield from check_node(node, offline=offline, disks=disks)
    yield from check_pool(seen.nodes)
    for problem in seen.problems:
        yield Finding.of("NOT_CHECKED", config.cluster, problem)
    silent = {name for name, node in seen.nodes.items() if node.glusterd in (DOWN, SILENT)}
    for name, volume in sorted(seen.volumes.items()):
        images = seen.images.get(name)
        yield from check_volume(
            volume,
            offline=offline,
            silent=known_as(config, seen.nodes, silent),
            images=images,
            waiting=seen.waiting,
            disks=config.disks,
            spares=spares(config, volume, seen.nodes),
            places={brick.name: brick for node in seen.nodes.values() for brick in node.bricks},
        )
        yield from check_self_heal(volume, seen.nodes)
        if images is not None:
            yield from check_images(
                images,
                config.disks,
                now=time.time(),
                volume_whole=_is_whole(volume.info),
                elsewhere=seen.elsewhere,
                detached=config.detached,
            )
    yield from check_exports(list(seen.nodes.values()), export_keys(config.specs, config.disks))


def known_as(
    config: ClusterConfig, nodes: Mapping[str, NodeFacts], names: Collection[str]
) -> set[str]:
    """These nodes by all names, addresses and UUIDs by which Ganeti and GlusterFS know them."""
    addresses = {node.name: node.addresses for node in config.nodes}
    known = {*names, *(address for name in names for address in addresses.get(name, ()))}
    seen = {uuid: name for name, uuid in identities.load().items()}
    # Where every node is there nothing is asked of it, and no name is resolved.
    for peers in {node.peers for node in nodes.values()} if names else ():
        for peer in peers:
            if (node_of(peer.names, addresses) or seen.get(peer.uuid, "")) in names:
                known.update((*peer.names, peer.uuid))
    return known


def _note_identities(config: ClusterConfig, nodes: Mapping[str, NodeFacts]) -> None:
    """Keep which member of a pool each node is, here and on all that may become the master."""
    told = {name: facts.uuid for name, facts in nodes.items() if facts.uuid}
    candidates = [n.name for n in config.nodes if n.master_candidate and not n.offline]
    try:
        if identities.note(told, [node.name for node in config.nodes]):
            for name in cluster.SshChannel().copy(
                identities.PATH, candidates, seconds=NODES_MORE_SECONDS
            ):
                logging.warning("cannot give node %s the UUIDs of the nodes", name)
    except OSError as err:
        logging.warning("cannot store the UUIDs of the nodes: %s", err)


def provided(config: ClusterConfig) -> Iterable[Finding]:
    """What other parts of the package find, also where Gluster has no images."""
    for volume, reason in config.refused_pools.items():
        yield Finding.of("POOL_SETTINGS", volume, reason, volume=volume)
    yield from check_maintenance({node.name: node.tags for node in config.nodes})
    for provider in PROVIDERS:
        yield from provider(config)


def spares(
    config: ClusterConfig, volume: VolumeFacts, nodes: Mapping[str, NodeFacts]
) -> list[str]:
    """The nodes that are kept in a volume's pool without a brick of it."""
    kept = config.pools.get(volume.name)
    if kept is None or volume.info is None:
        return []
    busy = {brick.server_uuid for brick in volume.info.bricks}
    return [
        node.name
        for node in config.nodes
        if kept.group in ("", node.group)
        and node.name in nodes
        and volume.name in nodes[node.name].volumes
        and nodes[node.name].uuid not in busy
    ]


def _is_whole(info: VolumeInfo | None) -> bool:
    return info is not None and info.started


def export_keys(specs: Iterable[VolumeSpec], disks: Iterable[Disk]) -> set[str]:
    """The names of the kernel's paths for the images of instances."""
    by_name = {spec.name: spec for spec in specs}
    return {
        Export(by_name[disk.volume], disk.path).key for disk in disks if disk.volume in by_name
    }
