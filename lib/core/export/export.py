"""The life of an image's block device on this node: start, find, grow, end.

There is one export of an image on a node: the name of its unit follows from the image, and
systemd does not start a second unit of that name.  An export gets its data from the image's
server on this node.  So the image is opened first, and that decides whether it may be open here.

This module never accesses an exported device or file itself.  Anything that may wait for the
volume is done by a child process, which is left behind when it takes too long, so that a frozen
volume never blocks the node daemon.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
from dataclasses import dataclass

from ganeti_gluster import constants
from ganeti_gluster.core.export import control, loop, nbd, unit, users
from ganeti_gluster.core.serve.control import LOST, NoAnswer
from ganeti_gluster.core.serve.files import read as read_server_file
from ganeti_gluster.core.serve.server import CLIENT_SECONDS, ImageServer
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import command, names, private, systemd

#: Seconds in which all that was written must be safe on the volume: twice what a
#: server that falls silent may cost (GlusterFS's ping-timeout, some 40 s).
FLUSH_SECONDS = 90
#: Seconds that a program may still have the device open after its use has ended:
#: udev looks into each device that changes.
USER_SECONDS = 5.0
#: Seconds until a device that is under way shows in the kernel.
SHOW_SECONDS = 10.0
GROW_SECONDS = 60


class ExportFailed(GanetiGlusterError):
    """An image could not be exported, or an export could not be ended safely."""


@dataclass(frozen=True)
class Export:
    """One image's block device on this node; constructing it does nothing."""

    spec: VolumeSpec
    image: str
    run: command.Run = command.run

    @property
    def key(self) -> str:
        """What names everything of this export on the node."""
        return names.unit_key(self.spec.name, self.image)

    @property
    def unit(self) -> str:
        """The systemd unit that serves the device."""
        return "ganeti-gluster-export-%s.service" % self.key

    @property
    def journal(self) -> str:
        """The command that shows the exporter's messages, for an administrator."""
        return "journalctl --unit=%s" % self.unit

    def device(self) -> str | None:
        """The block device, or None; its exporter may have died.

        Reads /run, /sys and /proc only, and asks nobody.
        """
        for record in self._records():
            path = self._device_of(record)
            if path is not None:
                return path
        return None

    def start(self, size: int | None = None) -> str:
        """Export the image and return its block device; an active export is used as it is.

        `size` is the image's in bytes, where the caller knows it: the device of
        an active export then has that size afterwards.  Raises `ExportFailed`, also
        where the image has no server here; what was started for it is gone then.
        """
        self._check_server()
        with self._locked():
            device = self.device()
            if device is not None and self._is_alive():
                self._fit(device, size)
                return device
            if self._records():
                logging.warning(
                    "The exporter of image %s of volume %s has died; see %s",
                    *(self.image, self.spec.name, self.journal),
                )
            self._clear()
            try:
                device = self._start()
                self._fit(device, size)
            except BaseException:
                self._clear()
                raise
        return device

    def grow(self, size: int) -> bool:
        """Have the device show that the image's server has grown it to `size` bytes.

        False if it cannot: there is none, or it is qemu-nbd, whose device
        keeps its size.  Raises `ExportFailed`.
        """
        with self._locked():
            record = self._loop_record()
            if record is None or not self._runs():
                return False
            self._resize(record, size)
        return True

    def flush(self) -> None:
        """Have all that was written to the device stored by the volume, if there is one.

        Raises `ExportFailed`, also where the kernel itself uses the device (a
        mount, a Xen guest) and may write at any time.
        """
        with self._locked():
            device = self.device()
            if device is not None:
                self._flush(device)

    def stop(self) -> None:
        """End the export once all that was written is safe; idempotent.

        Raises `ExportFailed`, and leaves the export as it is, when the device
        cannot be flushed or is still in use; and once, with the export taken
        away, when its exporter has died.
        """
        with self._locked():
            self._stop()

    # -- the steps -----------------------------------------------------------

    @property
    def _server(self) -> ImageServer:
        return ImageServer(self.spec, self.image, run=self.run)

    def _check_server(self) -> None:
        try:
            status = self._server.status()
        except NoAnswer as err:
            raise self._failed(str(err), journal=self._server.journal) from err
        if status is None:
            raise self._failed("it has no server on this node", journal=self._server.journal)
        if status.state == LOST:
            raise self._failed(
                "its server no longer serves it: %s" % status.why, journal=self._server.journal
            )

    @property
    def _patience(self) -> int:
        """For how many seconds the server itself lets requests wait."""
        return int(read_server_file(self.key, "conf").get("patience", 0))

    def _start(self) -> str:
        device = nbd.free_device(self.run)
        while device is not None:
            path = self._start_nbd(device)
            if path is not None:
                return path
            device = nbd.free_device(self.run, after=device)
        return self._start_loop()

    def _start_nbd(self, device: str) -> str | None:
        """Serve the image as an nbd device; None if another program has taken the device."""
        record = self._new_record(os.path.basename(device))
        self._start_unit(
            nbd.server_argv(device, self._server.socket_path, self._patience), nbd.PROPERTIES
        )
        deadline = time.monotonic() + SHOW_SECONDS
        while self._device_of(record) is None:
            if not self._runs():
                self._clear()
                if nbd.is_connected(device):
                    return None
                raise self._failed("its exporter ended immediately")
            if time.monotonic() > deadline:
                raise self._failed("%s did not appear" % device)
            time.sleep(0.05)
        return device

    def _start_loop(self) -> str:
        record = self._new_record(os.urandom(8).hex())
        argv = unit.exporter_argv(
            *(self.spec.name, self.image, self._path(record)),
            *(self._server.socket_path, self._patience + CLIENT_SECONDS),
        )
        self._start_unit(argv, unit.EXPORTER_PROPERTIES)
        device = self._device_of(record)
        if device is None:
            raise self._failed("its exporter ended immediately")
        return device

    def _start_unit(self, argv: list[str], properties: tuple[str, ...]) -> None:
        description = "Export of image %s of Gluster volume %s" % (self.image, self.spec.name)
        try:
            # When the node goes down the server is to end after its client.
            unit.start(
                *(self.unit, description, argv),
                (*properties, "After=%s" % self._server.unit),
                self.run,
            )
        except GanetiGlusterError as err:
            raise self._failed(str(err)) from err

    def _failed(self, reason: str, *, journal: str = "") -> ExportFailed:
        return ExportFailed(
            "cannot export image %s of volume %s: %s" % (self.image, self.spec.name, reason),
            hint="see %s" % (journal or self.journal),
        )

    def _runs(self) -> bool:
        """Whether its unit does."""
        state = systemd.state(self.unit, timeout=unit.STOP_SECONDS, run=self.run)
        return state in systemd.RUNNING

    def _is_alive(self) -> bool:
        """Whether the exporter of a device that is there runs."""
        if not self._runs():
            return False
        record = self._loop_record()
        return record is None or control.is_there(self._path(record))

    def _fit(self, device: str, size: int | None) -> None:
        """Make the device show the image's size, which may have grown."""
        if size is None or users.size(device) == size - size % users.SECTOR:
            return
        record = self._loop_record()
        if record is not None:
            self._resize(record, size)
        if users.size(device) != size - size % users.SECTOR:
            raise self._failed(
                "%s has %d bytes, but the image has %d" % (device, users.size(device), size)
            )

    def _resize(self, record: str, size: int) -> None:
        try:
            control.ask(self._path(record), {"resize": size}, timeout=GROW_SECONDS)
        except GanetiGlusterError as err:
            raise ExportFailed(
                "the device of image %s of volume %s could not be resized to %d bytes: %s"
                % (self.image, self.spec.name, size, err),
                hint="see %s" % self.journal,
            ) from err

    def _stop(self) -> None:
        if not self._records():
            return
        device = self.device()
        if device is None or not self._is_alive():
            raise self._had_died()
        self._refuse_if_used(device)
        try:
            self._flush(device)
        except ExportFailed as err:
            if not self._is_alive():
                raise self._had_died() from err
            raise
        self._clear()

    def _had_died(self) -> ExportFailed:
        self._clear()
        return ExportFailed(
            "the exporter of image %s of volume %s has died; the data written last may be lost"
            % (self.image, self.spec.name),
            hint="see %s" % self.journal,
        )

    def _refuse_if_used(self, device: str) -> None:
        deadline = time.monotonic() + USER_SECONDS
        while processes := users.of(device):
            if time.monotonic() > deadline:
                raise self._in_use(device, ", ".join(processes))
            time.sleep(0.1)

    def _in_use(self, device: str, user: str) -> ExportFailed:
        return ExportFailed(
            "%s, image %s of volume %s, is still in use" % (device, self.image, self.spec.name),
            hint="by %s" % user,
        )

    def _flush(self, device: str) -> None:
        try:
            self.run(users.flush_argv(device), timeout=FLUSH_SECONDS)
        except command.CommandFailed as err:
            if err.exit_code == errno.EBUSY:
                raise self._in_use(device, "the kernel itself, as for a Xen guest") from err
            raise ExportFailed(
                "%s, image %s of volume %s, could not be flushed: %s"
                % (
                    *(device, self.image, self.spec.name),
                    err.output or "did not end within %g s" % FLUSH_SECONDS,
                ),
                hint="its export %s remains; the data written last may be lost" % self.unit,
            ) from err

    def _clear(self) -> None:
        """End the unit and release every device of this export, as far as there are any.

        The exporter stops by itself once its device is released; one that does
        not is killed by systemd.  A device that somebody still has open stays
        until it is closed, and gives errors.
        """
        for record in self._records():
            device = self._device_of(record)
            if device is not None and _is_nbd(record):
                self.run(nbd.detach_argv(device), timeout=unit.STOP_SECONDS, check=False)
        systemd.end(self.unit, timeout=unit.STOP_SECONDS, run=self.run)
        for record in self._records():
            device = self._device_of(record)
            if device is not None and not _is_nbd(record):
                self.run(loop.detach_argv(device), timeout=unit.STOP_SECONDS, check=False)
            for path in (self._path(record), control.socket_path(self._path(record))):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    # -- what is there -------------------------------------------------------

    def _records(self) -> list[str]:
        """The names of this export's files: KEY.nbdN, or KEY.TOKEN of a loop device.

        The token is made for each start; the exporter writes the identity of its
        loop device into that file.
        """
        try:
            names = os.listdir(constants.EXPORT_DIR)
        except FileNotFoundError:
            return []
        start = self.key + "."
        return sorted(
            name for name in names if name.startswith(start) and not name.endswith(control.SUFFIX)
        )

    def _loop_record(self) -> str | None:
        for record in self._records():
            if not _is_nbd(record):
                return record
        return None

    def _path(self, record: str) -> str:
        return os.path.join(constants.EXPORT_DIR, record)

    def _device_of(self, record: str) -> str | None:
        if _is_nbd(record):
            return nbd.served_by(_suffix(record), self.unit)
        path = self._path(record)
        try:
            with open(path, encoding="ascii", errors="replace") as stream:
                return loop.find(stream.read(), path)
        except FileNotFoundError:  # ended meanwhile
            return None

    def _new_record(self, suffix: str) -> str:
        record = "%s.%s" % (self.key, suffix)
        private.touch(self._path(record))
        return record

    def _locked(self) -> contextlib.AbstractContextManager[int]:
        """Keep other processes of this node from starting or stopping this export.

        Locks are shared by few images, so that one that hangs does not hold up
        all; they are files that stay, since removing a lock is a race.
        """
        private.directory(constants.EXPORT_DIR)
        return private.locked(os.path.join(constants.RUN_DIR, "locks", self.key[-2:]))


def _suffix(record: str) -> str:
    return record.partition(".")[2]


def _is_nbd(record: str) -> bool:
    return nbd.is_nbd(_suffix(record))
