"""Check a volume as a whole, once for the cluster; with time limits."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from ganeti_gluster import constants
from ganeti_gluster.core import image, readable
from ganeti_gluster.core.verify import facts as f
from ganeti_gluster.core.verify.bounded import look
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import command
from ganeti_gluster.tools.command import CommandResult
from ganeti_gluster.tools.gfapi import Volume
from ganeti_gluster.tools.gluster_cli import BrickHeal, Gluster, HealEntries, VolumeInfo

#: Seconds for what glusterd asks other nodes.
STATUS_SECONDS = 25.0
#: Seconds to ask for the backlog, which takes long when it is long.
HEAL_SECONDS = 30.0
#: Seconds after which what still counts as behind is behind.
SETTLE_SECONDS = 8.0
#: Seconds to list the images; 10,000 take some 2.
LIST_SECONDS = 60.0
#: Seconds to read the images of instances, some 3 ms each.
READ_SECONDS = 60.0

#: Where images are: the template's, and the ExtStorage provider's.
DIRECTORIES = constants.IMAGE_DIRECTORIES

#: An image's GFID as text, by which its shards are named.
GFID_XATTR = "glusterfs.gfid.string"
_SHARDS = ".shard"


def patient(argv: Sequence[str], timeout: float) -> CommandResult:
    """Run on this node, for `HEAL_SECONDS` at most."""
    return command.run(argv, timeout=min(timeout, HEAL_SECONDS), check=False)


def through(server: str) -> Gluster:
    """The gluster command asking another server, which answers what changes nothing."""

    def execute(argv: Sequence[str], timeout: float) -> CommandResult:
        return patient([argv[0], "--remote-host=%s" % server, *argv[1:]], timeout)

    return Gluster(execute=execute, patience=10.0)


#: The gluster command of this node.
HERE = Gluster(execute=patient, patience=10.0)


def choose(spec: VolumeSpec) -> Gluster:
    """Whom to ask of a volume: this node, if its glusterd has it, else its servers.

    Raises what the last one said where nobody answers.
    """
    last: GanetiGlusterError | None = None
    for gluster in (HERE, *(through(server.host) for server in spec.servers)):
        try:
            if gluster.volume(spec.name) is not None:
                return gluster
        except GanetiGlusterError as err:
            last = err
    if last is not None:
        raise last
    return HERE


def gather_volume(
    spec: VolumeSpec, *, backlog: bool, choose: Callable[[VolumeSpec], Gluster] = choose
) -> f.VolumeFacts:
    """The facts about a volume from its servers.

    `backlog`: whether a brick knows of a pending heal, or that is not known; only then the
    entries are asked for, which can take long.
    """
    try:
        gluster = choose(spec)
        info = gluster.volume(spec.name)
    except GanetiGlusterError as err:
        return f.VolumeFacts(spec.name, None, problems=("volume %s: %s" % (spec.name, err),))
    if info is None:
        return f.VolumeFacts(spec.name, None)
    if not info.started:
        return f.VolumeFacts(spec.name, info)
    jobs: dict[str, Callable[[], Any]] = {
        "options": lambda: gluster.options(spec.name),
        "status": lambda: gluster.status(spec.name),
    }
    answers = look(jobs, seconds=STATUS_SECONDS)
    if backlog and has_copies(info):
        # After the others: glusterd asks the nodes one after another.
        answers.update(
            look(
                {
                    "heal": lambda: lasting_backlog(gluster, spec.name),
                    "split": lambda: gluster.split_brains(spec.name),
                },
                seconds=HEAL_SECONDS,
            )
        )
    value = {name: answer.value for name, answer in answers.items()}
    return f.VolumeFacts(
        name=spec.name,
        info=info,
        options=value["options"],
        status=value["status"],
        heal=tuple(value["heal"]) if value.get("heal") is not None else None,
        split=split_files(value.get("split") or ()),
        problems=tuple(
            "volume %s, %s: %s" % (spec.name, name, answer.error)
            for name, answer in answers.items()
            if answer.error
        ),
    )


def lasting_backlog(gluster: Gluster, volume: str) -> list[BrickHeal]:
    """What waits for a heal, once what is only being written has had time to settle.

    A file that somebody writes, or that a process left which ended, counts for some
    seconds, although nothing is behind.
    """
    end = time.monotonic() + SETTLE_SECONDS
    while True:
        counts = gluster.heal_counts(volume)
        if not any(brick.total for brick in counts) or time.monotonic() > end:
            return counts
        time.sleep(1)


def has_copies(info: VolumeInfo) -> bool:
    """Whether there is something to heal from."""
    return info.replica > 1 or info.disperse > 0


def split_files(entries: Iterable[HealEntries]) -> tuple[f.SplitFile, ...]:
    """The files in split-brain, each once, whichever bricks know it."""
    known = {
        f.SplitFile(path, gfid)
        for entry in entries
        for path, gfid in zip(entry.paths, entry.gfids, strict=False)
    }
    return tuple(sorted(known, key=lambda file: (file.path, file.gfid)))


def gather_images(
    spec: VolumeSpec, *, gfids_of: Sequence[str] = (), directories: Sequence[str] = DIRECTORIES
) -> f.ImageFacts:
    """The images on a volume; raises a `GanetiGlusterError` or OSError.

    `gfids_of`: paths whose GFIDs are wanted too.  A directory that is not there has
    no images.
    """
    with connect(spec) as volume:
        root = volume.stat("/")
        images: list[image.ImageInfo] = []
        unreadable: list[str] = []
        for directory in directories:
            try:
                listing = image.list_images(volume, directory)
            except FileNotFoundError:
                continue
            images += listing.images
            unreadable += listing.unreadable
        return f.ImageFacts(
            volume=spec.name,
            images=tuple(images),
            unreadable=tuple(unreadable),
            root=(root.uid, root.gid),
            space=volume.space(),
            gfids=gfids(volume, gfids_of),
            shards=_shards_show(volume),
        )


def elsewhere(
    paths: Collection[str], without: Collection[str], *, gluster: Gluster = HERE
) -> dict[str, str]:
    """Which of these images are on this pool's other started volumes: volumes by path.

    `without`: the volumes where they were looked for.  Raises a `GanetiGlusterError` or
    OSError if that cannot be found out.
    """
    there = {}
    for info in gluster.volumes() if paths else ():
        if not info.started or info.name in without:
            continue
        with connect(VolumeSpec.from_params(info.params)) as volume:
            there.update({path: info.name for path in paths if volume.access(path)})
    return there


def gfids(volume: Volume, paths: Iterable[str]) -> Mapping[str, str]:
    """The GFIDs of images, without those that cannot be read."""
    known = {}
    for path in paths:
        try:
            value = volume.getxattr(path, GFID_XATTR)
        except OSError:
            continue
        known[path] = value.rstrip(b"\0").decode("ascii", "replace")
    return known


def _shards_show(volume: Volume) -> bool:
    """Whether the directory of pieces shows, which it does only with sharding off."""
    try:
        return any(entry.stat.is_file for entry in volume.scandir(_SHARDS))
    except OSError as err:
        if err.errno in (errno.ENOENT, errno.EPERM, errno.EACCES):
            return False
        raise


def unreadable(
    spec: VolumeSpec, paths: Sequence[str], *, whole: Collection[str]
) -> dict[str, str]:
    """See `readable.unreadable`."""
    with connect(spec) as volume:
        return dict(readable.unreadable(volume, paths, whole=whole))
