"""Checks of a volume: its state, shape, bricks, options and heals."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from ganeti_gluster.core.pool import profile, self_heal
from ganeti_gluster.core.pool.state import lost_sets
from ganeti_gluster.core.verify.codes import ERROR, WARNING
from ganeti_gluster.core.verify.facts import (
    SHARD_GFID,
    BrickPlace,
    Disk,
    ImageFacts,
    NodeFacts,
    VolumeFacts,
)
from ganeti_gluster.core.verify.finding import Finding
from ganeti_gluster.tools.gluster_cli import VolumeInfo

#: Seconds from which a backlog is an error.
OLD_BACKLOG = 24 * 3600.0
#: Per cent left of a set's space up to which it matters that others have more, and by how much
#: more.
HALF = 50
UNEVEN = 20
_SELF_HEAL = "Self-heal Daemon"
_SHARD = "features.shard"
# How GlusterFS gives a file whose name no client has looked up.
_NAMELESS = "<gfid:"


def check_volume(
    volume: VolumeFacts,
    *,
    offline: Collection[str] = (),
    silent: Collection[str] = (),
    images: ImageFacts | None = None,
    waiting: Mapping[str, float] | None = None,
    disks: Sequence[Disk] = (),
    spares: Sequence[str] = (),
    places: Mapping[str, BrickPlace] | None = None,
) -> Iterator[Finding]:
    """All problems of a volume.

    `offline`: nodes that are marked offline in Ganeti; their bricks are not expected, but their
    absence counts for the quorum.  `silent`: nodes that are up without their glusterd, so that
    their bricks are unknown.  `waiting`: for how many seconds each brick has known of pending
    heals.  `disks` give split-brain images their instances.  `spares`: nodes of the pool that
    could take a brick.  `places`: the bricks on their file systems, by name; one that is not
    sound is a finding of its own.
    """
    for problem in volume.problems:
        yield Finding.of("NOT_CHECKED", volume.name, problem)
    info = volume.info
    if info is None:
        if not volume.problems:
            yield Finding.of("VOLUME_MISSING", volume.name, "the pool has no volume of this name")
        return
    yield from check_shape(info)
    if not info.started:
        yield Finding.of(
            "VOLUME_STOPPED", volume.name, "it is %s" % info.state.lower(), volume=volume.name
        )
        return
    places = places or {}
    unsound = {name for name, place in places.items() if not place.sound}
    yield from check_bricks(volume, info, offline, silent, spares, unsound)
    yield from check_sets(info, places)
    if volume.options is not None:
        yield from check_options(info, volume.options, images)
    unread = list(check_readable(volume, info, disks))
    yield from unread
    # What cannot be read is not healed by waiting.
    if not unread:
        yield from check_backlog(volume, waiting or {})
    yield from check_split_brain(volume, images, disks)


def check_shape(info: VolumeInfo) -> Iterator[Finding]:
    """Whether the volume outlives one brick without losing or contradicting itself."""
    if info.disperse:
        return
    if info.replica == 2 and not info.arbiter:
        text = "replica 2 without an arbiter: when one brick fails, it stops or gets a split-brain"
        yield Finding.of("VOLUME_SHAPE", info.name, text, severity=ERROR)
    elif info.replica == 1:
        text = "it keeps one copy of each image: images are lost when a disk fails"
        yield Finding.of("VOLUME_SHAPE", info.name, text)


def check_bricks(
    volume: VolumeFacts,
    info: VolumeInfo,
    offline: Collection[str],
    silent: Collection[str],
    spares: Sequence[str] = (),
    unsound: Collection[str] = (),
) -> Iterator[Finding]:
    """Bricks and self-heal daemons that do not run, and sets without quorum."""
    if volume.status is None:
        return
    down = volume.status.offline(info.bricks)
    lost = {(brick.server_uuid, brick.path): brick.pid for brick in volume.status.without_port}
    for brick in down:
        # What starts a brick does not help where its file system is not there.
        if str(brick) in unsound:
            continue
        if not {brick.server, brick.server_uuid} & {*offline, *silent}:
            pid = lost.get((brick.server_uuid, brick.path))
            if pid is not None:
                text = "it runs as process %d, and glusterd does not know its port" % pid
                yield Finding.of("BRICK_NO_PORT", str(brick), text, volume=info.name, process=pid)
                continue
            text = "it is not running"
            if spares:
                text += ", and could be moved to a spare: %s" % ", ".join(spares)
            yield Finding.of("BRICK_DOWN", str(brick), text, volume=info.name)
    # A new client asks a brick's glusterd for its port: without that it is down too.
    for number, bricks, absent in lost_sets(info, down):
        yield Finding.of(
            "VOLUME_NO_QUORUM",
            info.name,
            "%d of %d bricks of set %d cannot be reached: %s"
            % (len(absent), len(bricks), number, ", ".join(map(str, absent))),
            volume=info.name,
        )
    if info.replica > 1 or info.disperse:
        servers = {brick.server_uuid for brick in volume.status.bricks}
        for daemon in volume.status.daemons:
            if daemon.kind == _SELF_HEAL and not daemon.online and daemon.server_uuid in servers:
                yield Finding.of(
                    "HEAL_DAEMON_DOWN",
                    _named(info, daemon.server_uuid, daemon.server),
                    "volume %s: the self-heal daemon is not running" % info.name,
                    volume=info.name,
                )


def check_self_heal(volume: VolumeFacts, nodes: Mapping[str, NodeFacts]) -> Iterator[Finding]:
    """Self-heal daemons that run, and have no connection to a brick that is up."""
    if volume.info is None or volume.status is None:
        return
    for name, node in sorted(nodes.items()):
        if node.self_heal is None or not self_heal.served([volume.info], node.uuid):
            continue
        for brick in self_heal.lacking(volume.status.bricks, node.self_heal.ports):
            yield Finding.of(
                "HEAL_DAEMON_DISCONNECTED",
                name,
                "volume %s: the self-heal daemon has no connection to %s" % (volume.name, brick),
                volume=volume.name,
            )


def check_sets(info: VolumeInfo, places: Mapping[str, BrickPlace]) -> Iterator[Finding]:
    """The set that will be full long before the others; one that does not tell is left out."""
    left: dict[int, float] = {}
    for number, bricks in enumerate(info.sets, 1):
        known = [
            places[str(brick)] for brick in bricks if str(brick) in places and not brick.arbiter
        ]
        shares = [100 * each.free / each.size for each in known if each.sound and each.size]
        if shares:
            left[number] = min(shares)
    if len(left) < 2:
        return
    first = min(left, key=lambda number: left[number])
    rest = max(left.values())
    if rest - left[first] < UNEVEN or left[first] > HALF:
        return
    yield Finding.of(
        "SETS_UNEVEN",
        info.name,
        "set %d will be full first: %.0f per cent left on %s, up to %.0f in the other sets"
        % (first, left[first], ", ".join(map(str, info.sets[first - 1])), rest),
        volume=info.name,
    )


def _named(info: VolumeInfo, uuid: str, otherwise: str) -> str:
    """The server's name: the one that was asked calls itself localhost."""
    return next((brick.server for brick in info.bricks if brick.server_uuid == uuid), otherwise)


def check_options(
    info: VolumeInfo, options: Mapping[str, str], images: ImageFacts | None
) -> Iterator[Finding]:
    """Options that differ from the profile; where they can lose data, an error."""
    replicated = info.replica > 1
    wanted = [
        *profile.options_for(replicated=replicated),
        *(option for option in profile.DEFAULTS if replicated or not option.replicated),
    ]
    sharded = profile.normal(options.get(_SHARD, "")) in ("on", "1")
    for difference in profile.differences(wanted, options, copies=info.replica):
        option = difference.option
        if option.name not in options:
            continue  # this release has no such option
        if option.name == _SHARD:
            if images is not None and images.shards:
                yield Finding.of("SHARD_OFF", info.name, str(difference), volume=info.name)
                continue
        elif option.fixed and (not sharded or (images is not None and images.images)):
            continue  # it means nothing without sharding, and cannot be changed with images
        dangerous = difference.dangerous and option.name != _SHARD
        yield Finding.of(
            "OPTION_DANGEROUS" if dangerous else "OPTION_DIFFERS",
            info.name,
            str(difference),
            volume=info.name,
            option=option.name,
            value=option.value,
        )


def check_readable(
    volume: VolumeFacts, info: VolumeInfo, disks: Sequence[Disk]
) -> Iterator[Finding]:
    """Images of instances that cannot be read, though the volume works."""
    split = {file.path.lstrip("/") for file in volume.split}
    down = volume.status.offline(info.bricks) if volume.status is not None else []
    for disk in disks:
        reason = volume.unreadable.get(disk.path) if disk.volume == volume.name else None
        if reason is None or disk.path in split:
            continue
        text = "%s cannot be read: %s" % (disk.title, reason)
        if down:
            text += "; its good copy may be on %s" % ", ".join(map(str, down))
        yield Finding.of("IMAGE_UNREADABLE", disk.path, text, volume=volume.name)


def check_backlog(volume: VolumeFacts, waiting: Mapping[str, float]) -> Iterator[Finding]:
    """Entries that wait for a heal, with how long they have."""
    for brick in volume.heal or ():
        pending = (brick.total or 0) - (brick.split_brain or 0)
        seconds = waiting.get(brick.brick, 0.0)
        if pending > 0:
            yield Finding.of(
                "HEAL_BACKLOG",
                brick.brick,
                "%d entries need healing, for %s so far" % (pending, duration(seconds)),
                severity=ERROR if seconds > OLD_BACKLOG else WARNING,
                volume=volume.name,
            )


def duration(seconds: float) -> str:
    """Seconds in words, by the largest unit."""
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            count = int(seconds // size)
            return "%d %s%s" % (count, unit, "" if count == 1 else "s")
    return "less than a minute"


def check_split_brain(
    volume: VolumeFacts, images: ImageFacts | None, disks: Sequence[Disk]
) -> Iterator[Finding]:
    """Files in split-brain; an image's pieces count as the image."""
    by_path = {disk.path: disk for disk in disks if disk.volume == volume.name}
    by_gfid = {gfid: path for path, gfid in (images.gfids if images else {}).items()}
    told = set()
    for file in volume.split:
        path = image_of(file.path, file.gfid, by_gfid)
        if path in told:
            continue
        told.add(path)
        disk = by_path.get(path)
        owner = "it belongs to no instance"
        if disk:
            owner = "%s cannot be used" % disk.title
        elif path.startswith(_NAMELESS):
            owner = "a file, or a shard of an image, whose name is not known"
        yield Finding.of(
            "SPLIT_BRAIN",
            path,
            "in split-brain on volume %s: %s" % (volume.name, owner),
            volume=volume.name,
        )


def image_of(path: str, gfid: str, by_gfid: Mapping[str, str]) -> str:
    """The image that a file of the volume is, or is a piece of; else the file."""
    name = path.lstrip("/")
    for directory in (".shard/", "%s%s>/" % (_NAMELESS, SHARD_GFID)):
        if name.startswith(directory):
            return by_gfid.get(name.removeprefix(directory).rpartition(".")[0], name)
    if name.startswith(_NAMELESS):
        gfid = name.removeprefix(_NAMELESS).partition(">")[0]
    elif name:
        return name
    return by_gfid.get(gfid, name)
