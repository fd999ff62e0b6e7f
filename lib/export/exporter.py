"""The program that makes an image a block device, for as long as it runs.

It opens the image through libgfapi, serves it as a FUSE file in its own mount
namespace, and puts a loop device on that.  It tells systemd when the device is
there.  On SIGTERM it syncs the image and releases the device.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from ganeti_gluster import command, names
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.export import control, fuse, loop
from ganeti_gluster.export.server import DEVICE, Server
from ganeti_gluster.gfapi import File
from ganeti_gluster.gfapi.idle import wait_idle
from ganeti_gluster.sd_notify import notify
from ganeti_gluster.volume import VolumeSpec, connect

#: libgfapi writes errors to the journal: its level 4, its file for standard error.
LOG_FILE, LOG_LEVEL = "-", 4
LOSETUP_SECONDS = 30
#: Seconds for which a device that somebody still has open is served after the end.
RELEASE_SECONDS = 5.0
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_PR_SET_IO_FLUSHER = 57


class ServedImage:
    """An open image as the server wants it.

    Its size is known without asking the volume, so that whatever looks at the
    device's properties never waits for it.
    """

    def __init__(self, file: File) -> None:
        self._file = file
        found = file.stat()
        self._size, self._allocated, self._mtime = found.size, found.allocated, int(found.mtime)
        self._resizing = threading.Lock()
        self.preadinto = file.preadinto
        self.discard = file.discard
        self.zero = file.zerofill

    @property
    def size(self) -> int:
        return self._size

    def pwrite(self, data: memoryview, offset: int) -> None:
        """Write within the image: a device does not grow by being written to."""
        if offset + len(data) > self._size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._file.pwrite(data, offset)

    def flush(self) -> None:
        """Have the bricks store what was written; a busy device does not fall idle for it."""
        self._file.fsync(settle=False)

    def resize(self, size: int) -> None:
        """Grow the image, or know of it that it was grown; refuses to shrink it."""
        with self._resizing:
            if size < self._size:
                raise OSError(
                    errno.EINVAL, "it has %d bytes and cannot shrink to %d" % (self._size, size)
                )
            if self._file.stat().size < size:
                self._file.truncate(size)
                self._file.fsync(settle=False)
            self._size = size

    def attributes(self) -> tuple[int, int, int]:
        return self._size, self._allocated, self._mtime


class Exporter:
    """The mount, the loop device and the socket for one image."""

    def __init__(self, image: ServedImage, path: str) -> None:
        self._image = image
        self._path = path
        self._device = self._identity = ""

    def start(self) -> str:
        """Serve the image and return its block device."""
        # What the node sees at the path, while this process sees the image there.
        with open(self._path, "w", encoding="ascii") as record:
            descriptor = os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
            mount(descriptor, self._path)
            server = Server(descriptor, self._image)
            threading.Thread(target=server.serve, name="server", daemon=True).start()
            listener = control.Listener(self._path, self._control)
            done = command.run(loop.attach_argv(self._path), timeout=LOSETUP_SECONDS)
            self._device = done.stdout.strip()
            self._identity = loop.identity(self._device)
            record.write(self._identity)
        listener.start()
        return self._device

    def _control(self, question: dict[str, Any]) -> dict[str, Any]:
        size = question.get("resize")
        if isinstance(size, int):
            self._image.resize(size)
            os.stat(self._path)  # older kernels believe what they saw last
            command.run(loop.refresh_argv(self._device), timeout=LOSETUP_SECONDS)
        return {"size": self._image.size}

    def stop(self) -> None:
        """Release the device once all that was written is safe."""
        self._image.flush()
        command.run(loop.detach_argv(self._device), timeout=LOSETUP_SECONDS, check=False)
        deadline = time.monotonic() + RELEASE_SECONDS
        while loop.find(self._identity, self._path) and time.monotonic() < deadline:
            time.sleep(0.01)
        wait_idle()
        self._image.flush()


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

    Else an allocation of ours could wait for pages that wait for us.  A kernel
    before 5.6 cannot be told.
    """
    ctypes.CDLL(None).prctl(_PR_SET_IO_FLUSHER, *map(ctypes.c_ulong, (1, 0, 0, 0)))


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Serve until SIGTERM; the exit status is 0 if all that was written is safe then."""
    options = parse(argv)
    spec = VolumeSpec.from_params(
        {"volume": options.volume, "host": options.host, "transport": options.transport}
    )
    # In every thread, so that this one alone takes it.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    code = 1
    try:
        mark_as_flusher()
        volume = connect(spec, log_file=LOG_FILE, log_level=LOG_LEVEL)
        file = volume.open(names.image_path(options.image), write=True, direct=True)
        exporter = Exporter(ServedImage(file), options.path)
        device = exporter.start()
        notify("READY=1\nSTATUS=%s" % device)
        signal.sigwait((signal.SIGTERM, signal.SIGINT))
        notify("STOPPING=1")
        exporter.stop()
        code = 0
    except (GanetiGlusterError, OSError) as err:
        print("image %s of volume %s: %s" % (options.image, options.volume, err), file=sys.stderr)
    finally:
        # The end of libgfapi's connection takes 10 s, and is not needed.
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(code)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line, which only `unit.exporter_argv` writes."""
    parser = argparse.ArgumentParser(prog="ganeti_gluster.export.exporter")
    for name in ("volume", "host", "transport", "image", "path"):
        parser.add_argument("--%s" % name, required=True)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
