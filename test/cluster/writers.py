"""A program for a node: many open images, each with a client that writes all the while.

`python3 writers.py VOLUME HOSTS STOP IMAGE…` makes the images, writes numbered blocks to
each until there is a file STOP, reads all of them again, and prints a line of JSON: by image
how many were written, the SHA-256 of what is to be on it, the longest pause in seconds and
what went wrong.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import time
from pathlib import Path

from ganeti_gluster.core import image
from ganeti_gluster.core.export.client import NbdConnection, Outage
from ganeti_gluster.core.serve.server import ImageServer
from ganeti_gluster.core.volume import VolumeSpec, connect

BLOCK = 4096
BLOCKS = 1024
PATIENCE = 900
PAUSE = 0.1
FLUSH_EVERY = 16


class Writer(threading.Thread):
    """One image's client; `errors` are what its server answered instead of writing."""

    def __init__(self, server: ImageServer, stop: Path) -> None:
        super().__init__()
        self.server = server
        self.errors: list[str] = []
        self.count = 0
        self.longest = 0.0
        self._until = stop
        self._content = bytearray(BLOCK * BLOCKS)
        self._connection = NbdConnection(server.socket_path, Outage(PATIENCE))

    def run(self) -> None:
        try:
            while not self._until.exists():
                self._write()
                time.sleep(PAUSE)
            self._connection.call(lambda handle: handle.flush())
            self._read()
        except Exception as err:
            self.errors.append("%s: %s" % (type(err).__name__, err))

    def _write(self) -> None:
        offset = BLOCK * (self.count * 7 % BLOCKS)
        block = (b"%s %d " % (self.server.path.encode(), self.count)).ljust(BLOCK, b".")
        began = time.monotonic()
        self._connection.call(lambda handle: handle.pwrite(block, offset))
        self.longest = max(self.longest, time.monotonic() - began)
        self._content[offset : offset + BLOCK] = block
        self.count += 1
        if self.count % FLUSH_EVERY == 0:
            self._connection.call(lambda handle: handle.flush())

    def _read(self) -> None:
        for offset in range(0, len(self._content), BLOCK):
            found = self._connection.call(lambda handle, at=offset: handle.pread(BLOCK, at))
            if found != self._content[offset : offset + BLOCK]:
                self.errors.append("other bytes at %d: %r" % (offset, bytes(found[:40])))

    def told(self) -> dict[str, object]:
        """What is printed of it."""
        digest = hashlib.sha256(self._content).hexdigest()
        return {
            "count": self.count,
            "digest": digest,
            "longest": self.longest,
            "errors": self.errors,
        }


def main() -> None:
    """As the module says."""
    name, hosts, stop, *paths = sys.argv[1:]
    spec = VolumeSpec.from_params({"volume": name, "host": hosts})
    writers = []
    with connect(spec) as volume:
        for path in paths:
            image.create(volume, path, BLOCK * BLOCKS)
    for path in paths:
        server = ImageServer(spec, path)
        server.open(number=1, patience=PATIENCE)
        writers.append(Writer(server, Path(stop)))
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        writer.server.close(force=True)
    print(json.dumps({writer.server.path: writer.told() for writer in writers}), flush=True)
    os._exit(0)  # no wait for libgfapi's end


if __name__ == "__main__":
    main()
