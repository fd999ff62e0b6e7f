"""Clients of images' servers, in the place of QEMU."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from typing import Any

import nbd

from ganeti_gluster.core.serve.server import ImageServer

MIB = 1 << 20
HERE = 1177
BLOCK = 4096
#: Beyond the first piece of a sharded image, whose pieces are written without the lock.
FAR = 100 * MIB
SIZE = 256 * MIB


def main_pid(server: ImageServer) -> int:
    argv = ["systemctl", "show", "--property=MainPID", "--value", server.unit]
    return int(subprocess.run(argv, capture_output=True, check=True, timeout=30).stdout)


def client(server: ImageServer, *, meta: bool = False) -> Any:
    handle = nbd.NBD()
    if meta:
        handle.add_meta_context("base:allocation")
    handle.connect_unix(server.socket_path)
    return handle


class Writer:
    """A client that writes numbered records, and connects and sends again like QEMU.

    `acknowledged` are the numbers that were answered, at the offsets that they went to.
    """

    def __init__(self, server: ImageServer, offset: int, blocks: int, size: int = BLOCK) -> None:
        self._size = size
        self._server = server
        self._offset = offset
        self._blocks = blocks
        self._stop = threading.Event()
        self.acknowledged: dict[int, int] = {}
        self.count = 0
        self.errors: list[str] = []
        self.pauses: list[float] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(120)
        assert not self._thread.is_alive()

    @staticmethod
    def record(number: int) -> bytes:
        return (b"record %012d " % number).ljust(BLOCK, b".")

    def _run(self) -> None:
        handle = None
        while not self._stop.is_set():
            number = self.count + 1
            offset = self._offset + self._size * (number * 7 % self._blocks)
            began = time.monotonic()
            while True:
                try:
                    if handle is None:
                        handle = client(self._server)
                    handle.pwrite(self.record(number).ljust(self._size, b"-"), offset)
                    break
                except nbd.Error as err:
                    if err.errnum in (5, 28) and "pwrite" in str(err) and not _is_gone(err):
                        self.errors.append(str(err))
                        return
                    handle = None
                    if self._stop.wait(0.005):
                        return
            self.acknowledged[offset] = number
            self.count = number
            self.pauses.append(time.monotonic() - began)


def _is_gone(err: Any) -> bool:
    """Whether libnbd says that the connection ended, rather than what the server said."""
    return "command failed: Transport endpoint" in str(err) or "server" in str(err)


def kill(server: ImageServer) -> None:
    """End the server's process, and wait for the one that follows."""
    before = main_pid(server)
    os.kill(before, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = server.status()
        if main_pid(server) not in (0, before) and found is not None and found.state == "serving":
            return
        time.sleep(0.02)
    raise AssertionError("the server did not come back")
