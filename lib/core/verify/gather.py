"""Check this node: glusterd, bricks, open images, libgfapi, exports, TLS; with time limits."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ganeti_gluster import constants
from ganeti_gluster.core.pool import place, profile, self_heal, tls
from ganeti_gluster.core.serve import control, files
from ganeti_gluster.core.serve.server import PROGRAM
from ganeti_gluster.core.verify import facts as f
from ganeti_gluster.core.verify import glusterd_files, stamps, thin
from ganeti_gluster.core.verify.bounded import LookResult, look
from ganeti_gluster.core.verify.keep import LONG, SHORT, Keep
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.errors import GanetiGlusterError, in_words
from ganeti_gluster.plugin_state import PluginState
from ganeti_gluster.tools import command, systemd, tcp
from ganeti_gluster.tools.command import CommandFailed, CommandResult
from ganeti_gluster.tools.gluster_cli import Gluster, GlusterdDown, Peer, VolumeInfo
from ganeti_gluster.tools.gluster_cli.peers import REJECTED

#: Seconds for the whole look.  Ganeti's other requests of the kind wait 8 s for
#: this one to end.
SECONDS = 20.0
#: Seconds for one question to glusterd, which answers these at once or never.
GLUSTERD_SECONDS = 8.0
#: Seconds to connect to a volume and look at its root.
REACH_SECONDS = 12.0
#: Seconds for a self-heal daemon to be connected to a brick that has just come up.
SETTLE_SECONDS = 6.0
#: Up to how many entries of a brick's index are counted, and looked at.
COUNT_LIMIT = 100_000
PIECES_LIMIT = 1_000

GLUSTERD_DIR = stamps.GLUSTERD_DIR
TLS_DIRS = tuple(map(Path, tls.DIRECTORIES))
#: What is mounted where, as the system itself has it.
SYSTEM_MOUNTS = Path("/proc/1/mountinfo")

#: GlusterFS's own program, whose release counts.
GLUSTERFS = "/usr/sbin/glusterfs"
#: What is kept of a look, by others who want it.
VOLUMES = "volumes"

_EXPORT = "ganeti-gluster-export-"
_UNITS = (
    "list-units",
    "--state=active,activating",
    "--plain",
    "--no-legend",
    _EXPORT + "*.service",
)
# Of ext4.
_LOST_AND_FOUND = "lost+found"
# Of a file on a brick: its parent's GFID, a slash and its name.
_GFID2PATH = "trusted.gfid2path."
_RELEASE = re.compile(r"^glusterfs (\S+)", re.MULTILINE)


def quick(argv: Sequence[str], timeout: float) -> CommandResult:
    """Run on this node, for `GLUSTERD_SECONDS` at most."""
    return command.run(argv, timeout=min(timeout, GLUSTERD_SECONDS), check=False)


#: The gluster command with little patience, for questions that need no other node.
LOCAL = Gluster(execute=quick, patience=3.0)


def gather_node(
    node: str,
    plugin: PluginState,
    specs: Sequence[VolumeSpec],
    *,
    seconds: float = SECONDS,
    keep: Keep | None = None,
) -> f.NodeFacts:
    """The facts about this node; `specs` are the volumes that it should reach.

    Results of an earlier check in `keep` are reused as long as nothing shows that they have
    changed.
    """
    # Whoever looks again and again sees what lasts.
    settle = SETTLE_SECONDS if keep is None else 0.0
    keep = keep or Keep()
    # Before the volumes are reached, which makes connections.
    connections = tuple(tcp.established())
    pool = stamps.of_glusterd(connections=connections)
    jobs: dict[str, Any] = {
        "image server": lambda: keep.get(
            "image server", stamps.of_file(PROGRAM), server_problem, seconds=SHORT, keep=_is_empty
        ),
        "image servers": look_at_servers,
        "GlusterFS's release": lambda: keep.get(
            "release", stamps.of_file(GLUSTERFS), release, seconds=SHORT
        ),
        "glusterd": lambda: look_at_glusterd(keep=keep, stamp=pool),
        "exports": lambda: keep.get(
            "exports", exported(), look_at_exports, seconds=SHORT, keep=_is_empty
        ),
        "TLS": lambda: keep.get("TLS", tls_stamp(), look_at_tls, seconds=SHORT),
    }
    # Two groups may name a volume with different servers; both must work.
    for spec in specs:
        jobs["volume %s" % spec.name] = lambda spec=spec: keep.get(
            "reach %r" % (spec,), pool, lambda: reach(spec), seconds=SHORT, keep=_is_empty
        )
    answers = look(jobs, seconds=seconds)
    told = answers["glusterd"].value or {"glusterd": f.SILENT}
    if told["glusterd"] == f.RUNNING:
        volumes = keep.value(VOLUMES) or ()
        job = partial(
            look_at_self_heal, volumes, told["uuid"], told["peers"], connections, settle=settle
        )
        answers.update(look({"self-heal daemon": job}, seconds=SETTLE_SECONDS + 2))
        told["self_heal"] = answers["self-heal daemon"].value
    reached, unreachable = [], {}
    for spec in specs:
        reason = _reason(answers.pop("volume %s" % spec.name, LookResult(value="")))
        if reason:
            unreachable[spec.name] = reason
        else:
            reached.append(spec.name)
    problems = tuple(
        "%s: %s" % (name, answer.error) for name, answer in answers.items() if answer.error
    )
    return f.NodeFacts(
        node=node,
        plugin=plugin,
        server_problem=_reason(answers["image server"]),
        servers=answers["image servers"].value or (),
        glusterfs=answers["GlusterFS's release"].value or "",
        reached=tuple(name for name in reached if name not in unreachable),
        unreachable=unreachable,
        exports=answers["exports"].value or (),
        tls=answers["TLS"].value or f.TlsFiles(),
        problems=problems,
        **told,
    )


def _is_empty(value: Sequence[object]) -> bool:
    """Whether the result is empty; only that is kept, anything else may change any moment."""
    return not value


def _reason(answer: LookResult) -> str:
    return str(answer.error) if answer.error else str(answer.value or "")


# -- the server of images and libgfapi ---------------------------------------


def server_problem() -> str:
    """Why the server of images does not run here, "" if it does; asks no server."""
    try:
        command.run([PROGRAM, "--version"], timeout=10)
    except CommandFailed as err:
        return str(err)
    return ""


def look_at_servers() -> tuple[f.ServerView, ...]:
    """The servers of images that are open here."""
    views = []
    for key in files.served():
        conf = files.read(key, "conf")
        name = "%s/%s" % (conf.get("volume", "?"), conf.get("image", "?"))
        try:
            status = control.status(key)
        except control.NoAnswer as err:
            views.append(f.ServerView(key, control.WAITING, 0.0, str(err), name))
            continue
        if status is not None:
            views.append(
                f.ServerView(
                    key,
                    status.state,
                    status.waiting,
                    status.why,
                    name,
                    full=status.full,
                    mode=status.mode,
                )
            )
    return tuple(views)


def reach(spec: VolumeSpec) -> str:
    """Why a volume cannot be used from here, "" if it can."""
    try:
        connect(spec, timeout=REACH_SECONDS).stat("/")
    except (GanetiGlusterError, OSError) as err:
        return in_words(err)
    return ""


# -- glusterd ----------------------------------------------------------------


def release() -> str:
    """GlusterFS's release here, "" if it is not installed."""
    if not command.is_installed("glusterfs"):
        return ""
    match = _RELEASE.search(command.run(["glusterfs", "--version"], timeout=10).stdout)
    return match[1] if match else ""


def look_at_glusterd(
    gluster: Gluster = LOCAL, *, keep: Keep | None = None, stamp: object = None
) -> dict[str, Any]:
    """What this node's glusterd says of the pool, as fields of `NodeFacts`.

    Only questions that it answers by itself: no lock of the pool is taken.  What `keep` has
    for the `stamp` is not asked for again, but the peers now and then: whether glusterd
    answers at all shows nowhere else.
    """
    keep = keep or Keep()
    # Together, since each takes a process some tenths of a second on a busy node.
    answers = look(
        {
            "peers": lambda: keep.get("peers", stamp, gluster.peers, seconds=SHORT),
            "volumes": lambda: keep.get(VOLUMES, stamp, gluster.volumes, seconds=LONG),
            "uuid": lambda: keep.get("uuid", stamp, gluster.own_uuid, seconds=LONG),
            "versions": lambda: keep.get("versions", stamp, gluster.op_versions, seconds=LONG),
        },
        seconds=GLUSTERD_SECONDS + LOCAL.patience,
    )
    try:
        peers, volumes, uuid = (_value(answers[name]) for name in ("peers", "volumes", "uuid"))
    except GlusterdDown as err:
        if not glusterd_files.is_member():
            return {"glusterd": f.ABSENT, "glusterd_reason": err.reason}
        return {
            "glusterd": f.DOWN,
            "glusterd_reason": err.reason,
            "incomplete": glusterd_files.incomplete(),
        }
    except CommandFailed as err:
        if not (command.is_installed("gluster") and command.is_installed("glusterd")):
            return {"glusterd": f.ABSENT}
        return {"glusterd": f.SILENT, "glusterd_reason": str(err)}
    except (GanetiGlusterError, TimeoutError) as err:
        return {"glusterd": f.SILENT, "glusterd_reason": str(err)}
    # A glusterd that has just started, or has a peer in transition, refuses to answer.
    versions = answers["versions"].value or (0, 0)
    return {
        "glusterd": f.RUNNING,
        "uuid": uuid,
        "peers": tuple(map(peer_view, peers)),
        "volumes": tuple(volume.name for volume in volumes),
        "checksums": (
            glusterd_files.checksums() if any(peer.state == REJECTED for peer in peers) else {}
        ),
        "op_version": versions[0],
        "max_op_version": versions[1],
        "bricks": tuple(look_at_bricks(volumes, uuid, keep)),
    }


def _value(answer: LookResult) -> Any:
    if answer.error:
        raise answer.error
    return answer.value


def peer_view(peer: Peer) -> f.PeerView:
    """A peer, with what counts already decided."""
    return f.PeerView(
        name=peer.hostname,
        names=peer.names,
        uuid=peer.uuid,
        connected=peer.connected,
        sound=peer.sound,
        rejected=peer.state == REJECTED,
        state=peer.state_text,
    )


def look_at_self_heal(
    volumes: Sequence[VolumeInfo],
    uuid: str,
    peers: Sequence[f.PeerView],
    connections: Iterable[tcp.Established] | None,
    *,
    settle: float = 0.0,
) -> f.SelfHeal | None:
    """The self-heal daemon's connections to bricks; None where it does not run.

    `connections` are this node's.  If the daemon lacks some it is looked at again for `settle`
    seconds.
    """
    absent = {peer.uuid for peer in peers if not peer.connected}
    expected = self_heal.expected(volumes, uuid, absent)
    end = time.monotonic() + settle
    while True:
        ports = self_heal.ports(connections)
        if ports is None:
            return None
        if len(ports) >= expected or time.monotonic() + 1 > end:
            return f.SelfHeal(ports, max(0, expected - len(ports)))
        time.sleep(1)
        connections = None


# -- bricks ------------------------------------------------------------------


def look_at_bricks(
    volumes: Sequence[VolumeInfo], uuid: str, keep: Keep | None = None
) -> list[f.BrickPlace]:
    """The bricks of this node on their file systems."""
    return [
        look_at_brick(volume.name, str(brick), brick.path, reserve=reserve(volume), keep=keep)
        for volume in volumes
        for brick in volume.bricks
        if brick.server_uuid == uuid
    ]


def reserve(volume: VolumeInfo) -> float:
    """How much of its bricks a volume leaves unused, in per cent; 0 if it does not say so."""
    try:
        share = float(profile.normal(volume.options.get("storage.reserve", "")))
    except ValueError:
        return 0.0
    return share if 0 <= share <= 100 else 0.0  # beyond, it is a number of bytes


def look_at_brick(
    volume: str, name: str, path: str, *, reserve: float = 0.0, keep: Keep | None = None
) -> f.BrickPlace:
    """One brick's directory; a dead disk gives an error in `problem`."""
    try:
        status = os.stat(path)
        space = os.statvfs(path)
    except FileNotFoundError:
        return f.BrickPlace(volume, name, path, mounted=False, empty=is_on_empty(path))
    except OSError as err:
        return f.BrickPlace(volume, name, path, problem=err.strerror or str(err))
    try:
        mine = bool(os.getxattr(path, "trusted.glusterfs.volume-id"))
    except OSError:
        mine = False
    # LVM takes a process, and no stamp shows what is written to the pool.
    device = status.st_dev
    left = (keep or Keep()).get("thin %s" % path, device, lambda: thin.left(device), seconds=SHORT)
    return f.BrickPlace(
        volume=volume,
        name=name,
        path=path,
        # A directory without the volume's mark is the empty mount point, or a disk that
        # is not the brick's.
        mounted=mine,
        empty=not mine and is_on_empty(path),
        sector=place.sector(device),
        read_only=bool(space.f_flag & os.ST_RDONLY) and is_read_only(path),
        size=space.f_blocks * space.f_frsize,
        free=space.f_bavail * space.f_frsize,
        thin=left,
        inodes=space.f_files,
        inodes_free=space.f_favail,
        reserve=reserve,
        behind=count_behind(path),
        pieces=pieces_behind(path),
    )


def is_on_empty(path: str) -> bool:
    """Whether a file system is mounted for a brick, and has nothing but its directory yet.

    That is for a brick without the volume's mark, at the brick's own place or at that above it.
    """
    above = os.path.dirname(path)
    for directory in (path, above):
        if not os.path.ismount(directory):
            continue
        try:
            inside = set(os.listdir(directory)) - {_LOST_AND_FOUND}
            if directory == above and os.path.basename(path) in inside:
                inside.remove(os.path.basename(path))
                inside.update(os.listdir(path))
        except OSError:
            return False
        return not inside
    return False


def is_read_only(path: str, mounts: Path = SYSTEM_MOUNTS) -> bool:
    """Whether the system has the file system at `path` read-only, as a brick's process sees it.

    The monitoring agent's own unit may write nowhere but in some places.
    """
    place = os.path.realpath(path)
    options, longest = {"ro"}, ""
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        point = words[4].encode().decode("unicode_escape")
        # The last one at a place is on top of the others.
        if len(point) >= len(longest) and os.path.commonpath((place, point)) == point:
            # Of this mount, and of the file system itself.
            options, longest = {*words[5].split(","), *words[-1].split(",")}, point
    return "ro" in options


def count_behind(path: str) -> int | None:
    """How many entries this brick knows other copies of to be behind; None if unknown.

    GlusterFS keeps a link for each in its index (`features/index`), beside one
    called `xattrop-UUID` to which all are linked.
    """
    try:
        return sum(1 for _ in itertools.islice(_index(path), COUNT_LIMIT))
    except OSError:
        return None


def _index(path: str) -> Iterator[str]:
    """The GFIDs in a brick's index."""
    with os.scandir(os.path.join(path, ".glusterfs/indices/xattrop")) as entries:
        for entry in entries:
            if not entry.name.startswith("xattrop-"):
                yield entry.name


def pieces_behind(path: str) -> dict[str, str]:
    """Entries of the index that are pieces of images: their GFIDs, with the images'.

    `heal info` gives only its GFID for a piece that no client has looked up; a brick
    keeps the name with each file (`storage.gfid2path`).
    """
    pieces = {}
    with contextlib.suppress(OSError):
        for gfid in itertools.islice(_index(path), PIECES_LIMIT):
            name = _piece(os.path.join(path, ".glusterfs", gfid[:2], gfid[2:4], gfid))
            if name:
                pieces[gfid] = name.rpartition(".")[0]
    return pieces


def _piece(path: str) -> str:
    """The name of a file of a brick in the directory of pieces, "" if it is not in there."""
    with contextlib.suppress(OSError):
        for attribute in os.listxattr(path, follow_symlinks=False):
            if attribute.startswith(_GFID2PATH):
                value = os.getxattr(path, attribute, follow_symlinks=False)
                parent, _, name = value.decode("utf-8", "replace").partition("/")
                return name if parent == f.SHARD_GFID else ""
    return ""


# -- exports and TLS ---------------------------------------------------------


def exported(directory: str = constants.EXPORT_DIR) -> set[str]:
    """The exports of images here, by the files that each has."""
    try:
        return {name.partition(".")[0] for name in os.listdir(directory)}
    except FileNotFoundError:
        return set()


def look_at_exports(directory: str = constants.EXPORT_DIR) -> tuple[f.ExportView, ...]:
    """The exports of images here, by the files and the units that each has."""
    keys = exported(directory)
    active = active_units(systemd.ctl(*_UNITS, timeout=10).stdout)
    return tuple(f.ExportView(key, key in active) for key in sorted(keys | active))


def active_units(listed: str) -> set[str]:
    """The keys of exports in `systemctl list-units --plain --no-legend`."""
    names = [line.split()[0] for line in listed.splitlines() if line.strip()]
    return {name.removeprefix(_EXPORT).removesuffix(".service") for name in names}


def look_at_tls(
    glusterd: Path = GLUSTERD_DIR, directories: tuple[Path, ...] = TLS_DIRS
) -> f.TlsFiles:
    """Gluster's TLS here; of the files themselves only a digest and dates leave the node."""
    existing = [path for path in directories if (path / tls.CERTIFICATE).is_file()]
    directory = existing[0] if existing else directories[0]
    management = (glusterd / "secure-access").exists()
    missing = tuple(name for name in tls.FILES if not (directory / name).is_file())
    try:
        authorities = tls.digest((directory / tls.AUTHORITIES).read_bytes())
    except OSError:
        authorities = ""
    if missing or not management:
        return f.TlsFiles(management, missing, authorities)
    found, problem = tls.examine(*(str(directory / name) for name in tls.FILES))
    return f.TlsFiles(management, missing, authorities, problem, found.name, found.ends)


def tls_stamp() -> object:
    """What shows that something of TLS is another now."""
    paths = [path / name for path in TLS_DIRS for name in tls.FILES]
    return [stamps.of_file(path) for path in (GLUSTERD_DIR / "secure-access", *paths)]
