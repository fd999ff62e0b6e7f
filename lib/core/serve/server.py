"""The life of an image's server on this node: start, find, change, end.

There is one server of an image on a node: its unit's name follows from the image.
"""

from __future__ import annotations

import os
import time
import zlib
from contextlib import AbstractContextManager
from dataclasses import dataclass

from ganeti_gluster import constants
from ganeti_gluster.core.serve import control, files
from ganeti_gluster.core.serve.files import EXCLUSIVE, Wanted
from ganeti_gluster.core.serve.holder import LastUser, LockHolder, OpenElsewhere, new_word
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.errors import ConnectError, GanetiGlusterError
from ganeti_gluster.tools import command, names, private, systemd

UNIT = "ganeti-gluster-image@%s.service"
PROGRAM = "/usr/lib/ganeti-gluster/image-server"
#: Seconds for a server to be ready, its unit's own limit (90 s) included.
START_SECONDS = 100
STOP_SECONDS = 30
#: Seconds for a change: a brick that falls silent holds it up for the ping-timeout.
CHANGE_SECONDS = 60
#: Seconds for a server that opens its image again to do what it is asked: it replaces itself
#: for that, over and over while the storage is away, and leaves the question unanswered.
ANEW_SECONDS = 20.0
_ANEW_POLL = 0.1
#: Seconds that QEMU waits longer than the server itself, so that the server's error arrives.
CLIENT_SECONDS = 60

#: How the reason begins for which a server could not begin (src/storage.c).
_NOT_CONNECTED = "cannot connect to the volume: "


class ServerFailed(GanetiGlusterError):
    """An image's server could not be started, changed or ended."""


class ImageGone(ServerFailed):
    """There is no such image."""


class ImageHasClients(ServerFailed):
    """The image still has clients; `peers` are their processes."""

    def __init__(self, path: str, peers: tuple[int, ...]) -> None:
        super().__init__(
            "image %s is still in use" % path,
            hint="by process %s" % ", ".join(map(str, peers)) if peers else "",
        )
        self.peers = peers


@dataclass(frozen=True)
class ImageServer:
    """The server of one image on this node; constructing it does nothing."""

    spec: VolumeSpec
    path: str
    run: command.Run = command.run

    @property
    def key(self) -> str:
        """What names everything of this server on the node."""
        return names.unit_key(self.spec.name, self.path)

    @property
    def unit(self) -> str:
        """Its systemd unit."""
        return UNIT % self.key

    @property
    def socket_path(self) -> str:
        """The unix socket on which it serves NBD."""
        return files.path(self.key, "nbd")

    @property
    def journal(self) -> str:
        """The command that shows its messages, for an administrator."""
        return "journalctl --unit=%s" % self.unit

    def status(self, *, timeout: float = 5.0) -> control.ServerStatus | None:
        """What it says of itself, None if there is none; raises `NoAnswer`."""
        return control.status(self.key, timeout=timeout)

    def open(
        self,
        *,
        number: int,
        mode: str = EXCLUSIVE,
        locking: bool = True,
        patience: int = 0,
        take: str = "",
    ) -> None:
        """Have the image served in `mode`; one that is served already is changed.

        Raises `OpenElsewhere`, `LastUser`, `ImageGone` or `ServerFailed`; what was started for it
        is gone then.
        """
        with self._locked():
            status = self.status()
            if status is not None and status.state != control.LOST:
                self._change(status, mode)
                return
            self._end()
            self._start(
                Wanted(
                    self.spec,
                    self.path,
                    number,
                    new_word(),
                    mode=mode,
                    locking=locking,
                    patience=patience,
                    take=take,
                )
            )

    def change(self, mode: str) -> None:
        """Let it share the image, or have it alone; no-op if there is none.

        Raises `OpenElsewhere` or `ServerFailed`.
        """
        with self._locked():
            status = self.status()
            if status is not None and status.state != control.LOST:
                self._change(status, mode)

    def grow(self, size: int) -> bool:
        """Grow the image through the server to `size` bytes; False if there is no server.

        Its clients reconnect and see the new size.  Raises `ServerFailed`.
        """
        with self._locked():
            if self.status() is None:
                return False
            self._ask("grow %d" % size, "grown")
        return True

    def flush(self) -> None:
        """Have all that was written stored by the volume, if there is one."""
        if self.status() is not None:
            self._ask("flush", "flushed")

    def close(self, *, force: bool = False) -> None:
        """Give the image back, and end; idempotent, and needs no volume.

        Raises `ImageHasClients` if it has clients that do not go, unless forced.
        """
        if not os.path.exists(files.path(self.key, "conf")):
            return
        with self._locked():
            try:
                answer = control.ask(
                    self.key, "close force" if force else "close", timeout=CHANGE_SECONDS
                )
            except (control.NoServer, control.NoAnswer):
                answer = {}
            if "busy" in answer:
                raise ImageHasClients(self.path, tuple(map(int, answer["busy"].split())))
            self._end()

    def renew(self) -> None:
        """Let it continue with the program and the libraries that are installed now."""
        control.ask(self.key, "renew", timeout=CHANGE_SECONDS)

    # -- the steps -----------------------------------------------------------

    def _change(self, status: control.ServerStatus, mode: str) -> None:
        if status.state == control.WAITING and not status.size:
            raise ServerFailed(
                "image %s of volume %s is not served: %s"
                % (self.path, self.spec.name, status.why),
                hint="see %s" % self.journal,
            )
        if status.mode in (mode, "none"):
            return
        self._ask("mode %s" % mode, "opened in %s mode" % mode)

    def _ask(self, question: str, done: str) -> None:
        answer = self._answer(question)
        if "held" in answer:
            raise OpenElsewhere(self.path, _holder(answer["held"]))
        if "ok" not in answer:
            raise ServerFailed(
                "image %s of volume %s could not be %s: %s"
                % (self.path, self.spec.name, done, answer["error"]),
                hint="see %s" % self.journal,
            )

    def _answer(self, question: str) -> dict[str, str]:
        """What the server answers, if need be after it has replaced itself.

        It may be asked for the same twice.
        """
        deadline = time.monotonic() + ANEW_SECONDS
        answer = control.ask(self.key, question, timeout=CHANGE_SECONDS)
        while not answer and time.monotonic() < deadline:
            time.sleep(_ANEW_POLL)
            try:
                answer = control.ask(self.key, question, timeout=CHANGE_SECONDS)
            except control.NoServer:
                break
        return answer or {"error": self._silence()}

    def _silence(self) -> str:
        """Why the server has not answered what it was asked."""
        status = self.status()
        if status is not None and status.state == control.WAITING:
            return "the storage is unavailable: %s" % status.why
        return "its server ended"

    def _start(self, wanted: Wanted) -> None:
        files.write(self.key, wanted)
        try:
            systemd.ctl("start", self.unit, timeout=START_SECONDS, run=self.run)
        except GanetiGlusterError as err:
            failure = files.read(self.key, "error")
            self._end()
            raise self._failed(failure, err) from err

    def _failed(self, failure: dict[str, str], err: GanetiGlusterError) -> GanetiGlusterError:
        if "held" in failure:
            return OpenElsewhere(self.path, _holder(failure["held"]))
        if "foreign" in failure:
            number, _, word = failure["foreign"].partition(" ")
            return LastUser(self.path, int(number), word)
        what = "cannot serve image %s of volume %s: %s"
        if "gone" in failure:
            return ImageGone(what % (self.path, self.spec.name, "it does not exist"))
        if not os.path.exists(PROGRAM):
            return ServerFailed(
                what % (self.path, self.spec.name, "%s is missing" % PROGRAM),
                hint="install the package ganeti-gluster, or run 'make install' with a compiler"
                " available",
            )
        reason, hint = self._why(failure.get("error", str(err)))
        return ServerFailed(what % (self.path, self.spec.name, reason), hint=hint)

    def _why(self, reason: str) -> tuple[str, str]:
        """The reason and what to do; libgfapi itself says little about a failed connection."""
        if reason.startswith(_NOT_CONNECTED):
            try:
                connect(self.spec)
            except ConnectError as err:
                return err.message, err.hint
        return reason, "see %s" % self.journal

    def _end(self) -> None:
        systemd.end(self.unit, timeout=STOP_SECONDS, run=self.run)
        files.forget(self.key)

    def _locked(self) -> AbstractContextManager[int]:
        """Keep other processes of this node from starting or ending servers of this image."""
        files.make_directories()
        # One file for all images: each has a byte of it.
        lock = os.path.join(constants.IMAGE_SERVER_DIR, ".lock")
        return private.locked(lock, byte=zlib.crc32(self.key.encode()))


def _holder(text: str) -> LockHolder | None:
    number, _, mode = text.partition(" ")
    return LockHolder(int(number), mode) if int(number) else None


def qemu_uri(socket_path: str, patience: int) -> str:
    """The URI at which QEMU reaches an image's server.

    Ganeti 3.0 writes it behind `-drive file=`, so that an option may follow: QEMU waits
    for a server that has died, or does not answer, and sends again.
    """
    return "nbd+unix:///?socket=%s,file.reconnect-delay=%d" % (
        socket_path,
        patience + CLIENT_SECONDS,
    )


def qemu_blockdev(uri: str) -> dict[str, object] | None:
    """The structure for QEMU of such a URI, None for any other."""
    prefix, _, rest = uri.partition("socket=")
    path, option, delay = rest.partition(",file.reconnect-delay=")
    if prefix != "nbd+unix:///?" or not option or not delay.isdigit():
        return None
    return {
        "driver": "nbd",
        "server": {"type": "unix", "path": path},
        "reconnect-delay": int(delay),
    }
