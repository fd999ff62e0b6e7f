"""The program that makes an image a block device, for as long as it runs.

It serves the image as a FUSE file in its own mount namespace, with a loop device on top.  It
gets the data from the image's server, by NBD.  It notifies systemd when the device exists.  On
SIGTERM it flushes the image and releases the device.

libnbd's own `nbdfuse` creates such a file as well, but does not survive the server: if a
connection breaks during a request, the whole process ends, and the file with it
(libnbd 1.14, fuse/operations.c).  A server may be killed or upgraded, and drops its
clients when the image grows; the users of the device must not notice.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from ganeti_gluster.core.export import control, fuse, loop
from ganeti_gluster.core.export.served import ServedImage
from ganeti_gluster.core.export.server import DEVICE, FuseServer, Image
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import command, private
from ganeti_gluster.tools.systemd import notify

LOSETUP_SECONDS = 30
#: Seconds for the image's server to report the size, at first and after a growth.
SIZE_SECONDS = 20
#: Seconds for which a device that somebody still has open is served after the end.
RELEASE_SECONDS = 5.0
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_PR_SET_IO_FLUSHER = 57


class Exporter:
    """The mount, the loop device and the socket for one image."""

    def __init__(self, image: ServedImage, path: str) -> None:
        self._image = image
        self._path = path
        self._device = self._identity = ""
        self._resizing = threading.Lock()

    def start(self) -> str:
        """Serve the image and return its block device."""
        listener = control.Listener(self._path, self._control)
        argv = loop.attach_argv(self._path)
        self._device, self._identity = attach(self._image, self._path, argv)
        listener.start()
        return self._device

    def _control(self, question: dict[str, Any]) -> dict[str, Any]:
        size = question.get("resize")
        if isinstance(size, int):
            with self._resizing:
                self._image.learn_size(size, seconds=SIZE_SECONDS)
            os.stat(self._path)  # older kernels believe what they saw last
            command.run(loop.refresh_argv(self._device), timeout=LOSETUP_SECONDS)
        return {"size": self._image.size}

    def stop(self) -> None:
        """Release the device once all that was written is safe."""
        self._image.flush()
        release(self._device, self._identity, self._path)
        self._image.flush()


def attach(image: Image, path: str, argv: Sequence[str]) -> tuple[str, str]:
    """Serve an image as the file `path`, and as a block device by this command, in threads.

    Returns the device and its identity, which the node sees at the path, while this process sees
    the image there.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    with os.fdopen(private.open_file(path, flags), "w", encoding="ascii") as record:
        descriptor = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
        mount(descriptor, path)
        server = FuseServer(descriptor, image)
        threading.Thread(target=server.serve, name="server", daemon=True).start()
        device = command.run(argv, timeout=LOSETUP_SECONDS).stdout.strip()
        identity = loop.identity(device)
        record.write(identity)
    return device, identity


def release(device: str, identity: str, path: str) -> None:
    """Give a block device of `attach` back; one that is open stays for some seconds."""
    command.run(loop.detach_argv(device), timeout=LOSETUP_SECONDS, check=False)
    deadline = time.monotonic() + RELEASE_SECONDS
    while loop.find(identity, path) and time.monotonic() < deadline:
        time.sleep(0.01)


def mount(descriptor: int, path: str) -> None:
    """Mount what is served at an open /dev/fuse over the regular file `path`."""
    options = "fd=%d,rootmode=100600,user_id=0,group_id=0,default_permissions,max_read=%d" % (
        descriptor,
        fuse.MAX_DATA,
    )
    libc = ctypes.CDLL(None, use_errno=True)
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    result = libc.mount(
        *(b"ganeti-gluster", os.fsencode(path), b"fuse"),
        *(ctypes.c_ulong(flags), options.encode()),
    )
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), path)


def mark_as_flusher() -> None:
    """Tell the kernel that memory is written back through this process.

    Otherwise its own allocations could wait for pages that wait for it.  Kernels before 5.6 do not
    support this.
    """
    ctypes.CDLL(None).prctl(_PR_SET_IO_FLUSHER, *map(ctypes.c_ulong, (1, 0, 0, 0)))


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Serve until SIGTERM; the exit status is 0 if all that was written is safe then."""
    options = parse(argv)
    # In every thread, so that this one alone takes it.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    code = 1
    try:
        mark_as_flusher()
        image = ServedImage(options.socket, options.seconds)
        image.learn_size(seconds=SIZE_SECONDS)
        exporter = Exporter(image, options.path)
        device = exporter.start()
        notify("READY=1\nSTATUS=%s" % device)
        signal.sigwait((signal.SIGTERM, signal.SIGINT))
        notify("STOPPING=1")
        exporter.stop()
        code = 0
    except (GanetiGlusterError, OSError) as err:
        print(err, file=sys.stderr)
    finally:
        # Threads may still wait for the server.
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(code)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line, which only `unit.exporter_argv` writes."""
    parser = argparse.ArgumentParser(prog="ganeti_gluster.core.export.exporter")
    for name in ("volume", "image", "socket", "path"):
        parser.add_argument("--%s" % name, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
