"""The place for a node's bricks: a directory, perhaps on a device of its own.

Runs on the node itself.  Nothing that contains data is formatted, mounted over or removed, unless
the caller explicitly requests it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ganeti_gluster import constants
from ganeti_gluster.core.pool.facts import DeviceFacts, PlaceFacts
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import command, decode, names, private, systemd

#: The label of a file system that was made for bricks; XFS has room for 12 bytes.
LABEL = "gnt-gluster"
FILE_SYSTEM = "xfs"
#: Records that a device is being formatted: after an interruption it looks like a device that
#: holds data.
STATE_DIRECTORY = Path(constants.STATE_DIR)
UNIT_DIRECTORY = Path("/etc/systemd/system")
UNIT_MODE = 0o644

VOLUME_ID = "trusted.glusterfs.volume-id"
#: glusterfs's own directories in a brick.
_GLUSTERS_OWN = (".glusterfs", ".glusterfs-anonymous-inode-", ".trashcan")
#: What a brick's process makes before anything else.
_STORE = ".glusterfs"
_SHOWN_ENTRIES = 5

SHORT = 30.0
FORMAT_SECONDS = 600.0
#: Where udev listens, while it runs.
UDEV = Path("/run/udev/control")
BLOCK_DEVICES = Path("/sys/dev/block")

_OURS = "# Written by gnt-gluster pool: the file system of this node's bricks.\n"
UNIT = (
    _OURS
    + """\
[Unit]
Description=File system of Gluster bricks
Before=glusterd.service

[Mount]
What=%(device)s
Where=%(directory)s
Type=%(kind)s
Options=noatime,inode64

[Install]
WantedBy=local-fs.target glusterd.service
"""
)


class PlaceRefused(GanetiGlusterError):
    """The place cannot be used for a brick, or only at the cost of what is there."""


class Signature(NamedTuple):
    """Something that libblkid finds on a device; `label` and `uuid` may be empty."""

    kind: str
    label: str = ""
    uuid: str = ""

    @property
    def ours(self) -> bool:
        """Whether it is a file system that was made for bricks."""
        return (self.kind, self.label) == (FILE_SYSTEM, LABEL)


def look(directory: str, volume: str) -> PlaceFacts:
    """The facts about `directory`, and about the brick of `volume` in it.

    Of a file system that gives errors there is little more than the error.
    """
    try:
        return _look(directory, volume)
    except OSError as err:
        mount = _mount_of(directory)
        return PlaceFacts(
            directory,
            exists=True,
            source=mount.get("source", ""),
            mount=mount.get("target", ""),
            broken=err.strerror or str(err),
        )


def _look(directory: str, volume: str) -> PlaceFacts:
    brick = os.path.join(directory, volume)
    try:
        here = os.stat(directory)
    except (FileNotFoundError, NotADirectoryError):
        return PlaceFacts(directory)
    if not stat.S_ISDIR(here.st_mode):
        return PlaceFacts(directory)
    mount = _mount_of(directory)
    space = os.statvfs(directory)
    mark = volume_id(brick)
    return PlaceFacts(
        path=directory,
        exists=True,
        own_file_system=here.st_dev != os.stat("/").st_dev,
        file_system=mount.get("fstype", ""),
        source=mount.get("source", ""),
        read_only=bool(space.f_flag & os.ST_RDONLY),
        size=space.f_frsize * space.f_blocks,
        free=space.f_frsize * space.f_bavail,
        holds_something=_holds_something(directory),
        brick_exists=os.path.lexists(brick),
        volume_id=mark,
        # Names may hold anything; these are for people.
        entries=tuple(map(decode.printable, entries(brick)[:_SHOWN_ENTRIES])),
        inside=next((str(path) for path in Path(brick).parents if volume_id(str(path))), ""),
        served=os.path.lexists(os.path.join(brick, _STORE)),
        mount=mount.get("target", ""),
        sector=sector(here.st_dev),
    )


def look_at_device(device: str, directory: str) -> DeviceFacts:
    """The facts about a device that is to be mounted at `directory`."""
    try:
        info = os.stat(device)
    except OSError:
        return DeviceFacts(device)
    if not stat.S_ISBLK(info.st_mode):
        return DeviceFacts(device, exists=True)
    signatures = _signatures(device)
    mounted_at = _where_mounted(info.st_rdev)
    return DeviceFacts(
        path=device,
        exists=True,
        is_block=True,
        size=_size(device),
        signatures=tuple(signature.kind for signature in signatures),
        mounted_at=mounted_at,
        busy=not mounted_at and _is_busy(device),
        ours=len(signatures) == 1 and signatures[0].ours,
        interrupted=_is_noted(directory, device, signatures),
        sector=sector(info.st_rdev),
    )


def is_prepared(directory: str, device: str) -> bool:
    """Whether the device is mounted at `directory`, and at boot as well.

    A unit of ours may still name the disk that was there before.
    """
    if look_at_device(device, directory).mounted_at != directory:
        return False
    _, there, text = _unit(directory, device)
    return not there.startswith(_OURS) or there == text


def prepare(directory: str, device: str, *, wipe: bool = False) -> bool:
    """Make `device` a file system for bricks and mount it at `directory`, now and at boot.

    Returns whether anything was done.  May be repeated, also after it was interrupted.
    A device that holds something is refused, unless `wipe`; one that is in use always
    is.  Raises `InvalidParameter`, `PlaceRefused` or `CommandFailed`.
    """
    names.directory(directory)
    names.device(device)
    facts = look_at_device(device, directory)
    if not facts.is_block:
        raise PlaceRefused("%s is not a block device" % device)
    if facts.mounted_at == directory:
        changed = _enable_mount(directory, device)
        _note(directory).unlink(missing_ok=True)
        return changed
    if facts.mounted_at or facts.busy:
        raise PlaceRefused("%s is in use%s" % (device, _at(facts.mounted_at)))
    if os.path.isdir(directory) and _holds_something(directory):
        raise PlaceRefused(
            "%s contains files, which a mount would hide" % directory,
            hint="move them away, or choose another --brick-dir",
        )
    if facts.signatures and not (facts.ours or facts.interrupted or wipe):
        raise PlaceRefused(
            "%s contains data (%s)" % (device, ", ".join(facts.signatures)),
            hint="use --wipe to format it anyway; all data on it is lost",
        )
    if not facts.ours or facts.interrupted or wipe:
        _format(device, directory)
    os.makedirs(directory, exist_ok=True)
    _enable_mount(directory, device)
    if _where_mounted(os.stat(device).st_rdev) != directory:
        raise PlaceRefused("%s is not mounted at %s, for an unknown reason" % (device, directory))
    _note(directory).unlink(missing_ok=True)
    return True


def release(directory: str) -> bool:
    """Unmount a file system that gives errors, for another one; whether there was one.

    One that gives none is never unmounted.  Raises `PlaceRefused` or `CommandFailed`.
    """
    names.directory(directory)
    if not look(directory, "").broken:
        return False
    systemd.ctl("stop", systemd.mount_unit(directory, timeout=SHORT), timeout=SHORT)
    broken = look(directory, "").broken
    if broken:
        raise PlaceRefused("%s cannot be unmounted: %s" % (directory, broken))
    return True


def sector(device: int) -> int:
    """The logical sectors' bytes of a block device by its number, 0 where nothing tells."""
    place = BLOCK_DEVICES / ("%d:%d" % (os.major(device), os.minor(device)))
    for queue in (place / "queue", place / ".." / "queue"):  # a partition has its disk's
        with contextlib.suppress(OSError, ValueError):
            return int((queue / "logical_block_size").read_text(encoding="ascii"))
    return 0


def count(brick: str) -> dict[str, int]:
    """How many files and directories a brick holds, without Gluster's own."""
    files = directories = 0
    for _, inner, file_names in os.walk(brick):
        inner[:] = [name for name in inner if not name.startswith(_GLUSTERS_OWN)]
        directories += len(inner)
        files += len(file_names)
    return {"files": files, "directories": directories}


def volume_id(directory: str) -> str:
    """The UUID of the volume whose brick the directory is, "" if of none."""
    try:
        raw = os.getxattr(directory, VOLUME_ID)
    except OSError:
        return ""
    text = raw.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def entries(brick: str) -> list[str]:
    """What a brick's directory holds, without Gluster's own; [] if there is none."""
    try:
        return [name for name in sorted(os.listdir(brick)) if not name.startswith(_GLUSTERS_OWN)]
    except OSError:
        return []


def _holds_something(directory: str) -> bool:
    """Whether there is more in it than empty directories; raises OSError."""
    return bool(os.listdir(directory)) and any(files for _, _, files in os.walk(directory))


def _format(device: str, directory: str) -> None:
    note = {"device": _identity(device), "signatures": _signatures(device)}
    private.write_json(str(_note(directory)), note, durable=True)
    # 512 bytes of inode: Gluster's extended attributes fit into it.
    argv = ["mkfs.xfs", "-q", "-f", "-i", "size=512", "-L", LABEL, device]
    command.run(argv, timeout=FORMAT_SECONDS)
    # Not later: from the first brick on, the note would have it formatted once more.
    _note(directory).unlink()


def _is_noted(directory: str, device: str, signatures: Sequence[Signature]) -> bool:
    """Whether the formatting of this very device began and did not end.

    What is on it now must have been there then, or be of that formatting.
    """
    try:
        note = json.loads(_note(directory).read_text(encoding="utf-8"))
        then = [Signature(*signature) for signature in note["signatures"]]
        same = bool(note["device"] == _identity(device))
    except (OSError, ValueError, LookupError, TypeError):
        return False
    return same and all(signature.ours or signature in then for signature in signatures)


def _identity(device: str) -> str:
    number = os.stat(device).st_rdev
    return "%s %d:%d %d" % (device, os.major(number), os.minor(number), _size(device))


def _note(directory: str) -> Path:
    return STATE_DIRECTORY / ("formatting-%s" % directory.strip("/").replace("/", "-"))


def _enable_mount(directory: str, device: str) -> bool:
    """Have systemd mount it now and at boot, before glusterd; whether that was new."""
    unit, there, text = _unit(directory, device)
    name = unit.name
    if not there.startswith(_OURS):
        if os.path.ismount(directory):
            return False  # mounted by an entry of the administrator's own
        if there:
            raise PlaceRefused(
                "%s was not created by gnt-gluster: it mounts something else there" % unit
            )
    new = there != text
    if new:
        private.write(str(unit), text, mode=UNIT_MODE)
        systemd.ctl("daemon-reload", timeout=SHORT)
    systemd.ctl("enable", "--quiet", name, timeout=SHORT)
    systemd.ctl("start", name, timeout=SHORT)
    return new


def _unit(directory: str, device: str) -> tuple[Path, str, str]:
    """The file of the unit that mounts it, what is in it, and what is to be."""
    unit = UNIT_DIRECTORY / systemd.mount_unit(directory, timeout=SHORT)
    text = UNIT % {
        "device": systemd.file_value(_lasting_name(device)),
        "directory": systemd.file_value(directory),
        "kind": FILE_SYSTEM,
    }
    return unit, unit.read_text(encoding="utf-8") if unit.exists() else "", text


def _lasting_name(device: str) -> str:
    """A name of the device that stays when disks are found in another order: `UUID=`.

    systemd has the path for it from udev, which hears of a new file system a moment later.
    Without udev, as in a container, there is no such path, and the device's own name is as
    lasting as any.  Raises `PlaceRefused` or `CommandFailed`.
    """
    if not UDEV.exists():
        return device
    command.run(
        ["udevadm", "trigger", "--action=change", "--settle", device], timeout=SHORT, check=False
    )
    done = command.run(["blkid", "-p", "-o", "value", "-s", "UUID", device], timeout=SHORT)
    uuid = done.stdout.strip()
    if not uuid or not os.path.exists("/dev/disk/by-uuid/%s" % uuid):
        raise PlaceRefused(
            "udev has no /dev/disk/by-uuid/%s for %s" % (uuid, device),
            hint="see udevadm info %s" % device,
        )
    return "UUID=%s" % uuid


def _mount_of(path: str) -> dict[str, str]:
    done = command.run(["findmnt", "--json", "--target", path], timeout=SHORT, check=False)
    with contextlib.suppress(ValueError, LookupError):
        mount: dict[str, str] = json.loads(done.stdout)["filesystems"][-1]
        return mount
    return {}


def _where_mounted(device: int) -> str:
    """Where the file system of a device number is mounted, "" if it is not."""
    wanted = "%d:%d" % (os.major(device), os.minor(device))
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words[2] == wanted:
            return words[4].encode().decode("unicode_escape")
    return ""


def _signatures(device: str) -> list[Signature]:
    """All that libblkid finds on the device."""
    done = command.run(["wipefs", "--no-act", "--json", device], timeout=SHORT)
    listed = json.loads(done.stdout or "{}").get("signatures", [])
    return [
        Signature(entry["type"], entry.get("label") or "", entry.get("uuid") or "")
        for entry in listed
    ]


def _is_busy(device: str) -> bool:
    try:
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL))
    except OSError as err:
        return err.errno == errno.EBUSY
    return False


def _size(device: str) -> int:
    descriptor = os.open(device, os.O_RDONLY)
    try:
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)


def _at(mounted_at: str) -> str:
    return ": mounted at %s" % mounted_at if mounted_at else ""
