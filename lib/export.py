"""A path of the kernel for an image: for OS scripts and hypervisors that need one.

QEMU's storage daemon opens the image through libgfapi and offers it as a file
by FUSE; it runs as a transient unit of systemd, so that an export outlives the
node daemon and is found again after it.  There is one export of an image on a
node; nothing here keeps an image from being exported on two nodes.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ganeti_gluster import command, constants
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.volume import VolumeSpec

# The daemon answers once it has opened the image: a dead server costs it time.
START_SECONDS = 60
STOP_SECONDS = 30
# How long systemd lets the daemon flush and leave when the system goes down;
# libgfapi alone takes 10 s for that.
_UNIT_STOP_SECONDS = 45

# The daemon's name of the image.
NODE = "image"

Run = Callable[..., command.CommandResult]


class ExportFailed(GanetiGlusterError):
    """An image could not be exported, or an export could not be ended safely."""


@dataclass(frozen=True)
class Export:
    """One image's export on this node; constructing it does nothing.

    `path` (a regular file while the export is active) and `unit` follow from
    the volume's name and the image's path on it.
    """

    spec: VolumeSpec
    image: str
    run: Run = command.run

    @property
    def _key(self) -> str:
        whole = "%s/%s" % (self.spec.name, self.image)
        digest = hashlib.sha256(whole.encode("utf-8", "surrogateescape")).hexdigest()
        return "%s-%s" % (self.spec.name, digest[:16])

    @property
    def path(self) -> str:
        return os.path.join(constants.EXPORT_DIR, self._key)

    @property
    def unit(self) -> str:
        return "ganeti-gluster-export-%s.service" % self._key

    @property
    def qmp_path(self) -> str:
        """The socket at which the daemon takes QMP commands; `NODE` is the image there."""
        return "%s.qmp" % self.path

    def is_active(self) -> bool:
        """Whether there is an export at `path`; its daemon may have died."""
        return mounted_at(self.path)

    def start(self) -> str:
        """Export the image and return the path; an active export is used as it is.

        Raises `ExportFailed`, and leaves nothing behind then.
        """
        with self._locked():
            return self._start()

    def _start(self) -> str:
        if self.is_active():
            if self._answers():
                return self.path
            self._clear()
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            self.run(start_argv(self), timeout=START_SECONDS)
        except GanetiGlusterError as err:
            self._clear()
            raise ExportFailed(
                "cannot export image %s of volume %s: %s" % (self.image, self.spec.name, err),
                hint="see journalctl --unit=%s" % self.unit,
            ) from err
        if not self.is_active():
            self._clear()
            raise ExportFailed(
                "the export of image %s of volume %s ended at once" % (self.image, self.spec.name),
                hint="see journalctl --unit=%s" % self.unit,
            )
        return self.path

    def stop(self) -> None:
        """End the export once all that was written is safe; idempotent.

        Raises `ExportFailed`, and leaves the export as it is, when the image
        cannot be flushed or is still in use; and once, with the export taken
        away, when its daemon has died.
        """
        with self._locked():
            self._stop()

    def _stop(self) -> None:
        if not self.is_active():
            if os.path.lexists(self.path):
                self._clear()
            return
        if not self._answers():
            self._clear()
            raise ExportFailed(
                "the daemon that exported image %s of volume %s had died; what was written to"
                " %s last may be lost" % (self.image, self.spec.name, self.path),
                hint="see journalctl --unit=%s" % self.unit,
            )
        try:
            _flush(self.path)
        except OSError as err:
            raise ExportFailed(
                "image %s of volume %s could not be flushed: %s; what was written to %s last"
                " may be lost" % (self.image, self.spec.name, err.strerror, self.path),
                hint="its export %s stays" % self.unit,
            ) from err
        try:
            self.run(["umount", self.path], timeout=STOP_SECONDS)
        except GanetiGlusterError as err:
            raise ExportFailed(
                "the export of image %s of volume %s is still in use: %s"
                % (self.image, self.spec.name, err),
                hint="find the user with fuser -m %s" % self.path,
            ) from err
        self._clear()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other processes of this node from starting or stopping exports."""
        os.makedirs(constants.EXPORT_DIR, mode=0o700, exist_ok=True)
        descriptor = os.open(constants.EXPORT_DIR, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _answers(self) -> bool:
        """Whether there is still a daemon behind the path.

        By opening it: the kernel remembers what `stat` says of it for a second.
        """
        try:
            os.close(os.open(self.path, os.O_RDONLY))
        except OSError:
            return False
        return True

    def _clear(self) -> None:
        """Remove the daemon, its unit and the path, all of which may be gone.

        The daemon is killed: what it had is flushed by now, or belongs to no
        export that anybody can reach, and its ordinary end takes 10 s.
        """
        systemctl = ["systemctl", "--quiet"]
        for argv in (
            [*systemctl, "kill", "--signal=SIGKILL", self.unit],
            [*systemctl, "stop", self.unit],
            [*systemctl, "reset-failed", self.unit],
            ["umount", "--lazy", self.path],
        ):
            self.run(argv, timeout=STOP_SECONDS, check=False)
        for path in (self.path, self.qmp_path):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def mounted_at(path: str) -> bool:
    """Whether something is mounted at `path`, be it a file system whose daemon has died.

    `os.path.ismount` says no of such a one.
    """
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        return any(line.split(" ")[4] == path for line in mounts)


def start_argv(export: Export) -> list[str]:
    """The command that starts the export's unit and returns when it is active."""
    pid_file = "%s/%s.pid" % (constants.RUN_DIR, export._key)
    image = {
        "driver": "raw",
        "node-name": NODE,
        "cache": {"direct": True},
        "file": {
            **export.spec.qemu_blockdev(export.image),
            "cache": {"direct": True},
        },
    }
    return [
        "systemd-run",
        "--quiet",
        "--collect",
        "--unit=%s" % export.unit,
        "--description=Export of image %s of Gluster volume %s" % (export.image, export.spec.name),
        "--property=Type=forking",
        "--property=PIDFile=%s" % pid_file,
        "--property=TimeoutStartSec=%d" % (START_SECONDS - 5),
        "--property=TimeoutStopSec=%d" % _UNIT_STOP_SECONDS,
        "qemu-storage-daemon",
        "--daemonize",
        "--pidfile",
        pid_file,
        "--blockdev",
        json.dumps(image),
        "--chardev",
        "socket,id=qmp,server=on,wait=off,path=%s" % export.qmp_path,
        "--monitor",
        "chardev=qmp",
        "--export",
        "type=fuse,id=export,node-name=%s,writable=on,mountpoint=%s" % (NODE, export.path),
    ]


def _flush(path: str) -> None:
    """fsync the file at `path`, and check it."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
