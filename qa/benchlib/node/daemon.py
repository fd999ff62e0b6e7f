"""daemon.py ours|stock VOLUME: a node daemon that takes its orders from standard input.

As ganeti-noded does, it has all of Ganeti imported and its memory locked, and
forks for each request; the child locks its memory as the daemon's does and calls
the function of `ganeti.backend` that the request is for.  What is left out is the
network: TLS, HTTP and JSON are the same for both sides.  An order is a line
`[operation, path, size in MiB]`, its answer a line with the seconds from the fork
to the child's answer.  `request` does nothing more, so it tells what is Ganeti's own
in all the others.

The side `stock` is Ganeti as if the plugin were not installed.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from typing import Any

from sides import GROWTH_MIB

GANETI = "/usr/share/ganeti/default"
HOOK = "GanetiGluster"
OWNER = "bench.example.com"
MIB = 1024 * 1024

side, volume = sys.argv[1:]
if side == "stock":
    sys.meta_path[:] = [
        finder for finder in sys.meta_path if getattr(finder, "__name__", "") != HOOK
    ]
sys.path.insert(0, os.path.realpath(GANETI))

# The node daemon's own module: whatever it has in memory, this has.
from ganeti import backend, constants, objects, utils  # noqa: E402
from ganeti.server import noded  # noqa: E402
from ganeti.storage import bdev  # noqa: E402


def disk(path: str, size: int) -> Any:
    """A disk as the master would send it, to be reached in userspace."""
    params = {name: dict(values) for name, values in constants.DISK_DT_DEFAULTS.items()}
    params[constants.DT_GLUSTER].update(volume=volume, access=constants.DISK_USERSPACE)
    (values,) = objects.Disk.ComputeLDParams(constants.DT_GLUSTER, params)
    return objects.Disk(
        dev_type=constants.DT_GLUSTER,
        logical_id=(constants.FD_LOOP, path),
        size=size,
        params=values,
        dynamic_params={},
        iv_name="disk/0",
        uuid="00000000-0000-4000-8000-000000000000",
        children=[],
    )


def nothing(path: str, size: int) -> None:
    pass


def create(path: str, size: int) -> None:
    backend.BlockdevCreate(disk(path, size), size, OWNER, True, "originstname+bench", False)


def attach(path: str, size: int) -> None:
    if bdev.FindDevice(disk(path, size), []) is None:
        raise AssertionError("%s is not found" % path)


def measure(path: str, size: int) -> None:
    found = backend.BlockdevGetdimensions([disk(path, size)])
    if found != [(size * MIB, None)]:
        raise AssertionError("%s has %s, not %d MiB" % (path, found, size))


def open_image(path: str, size: int) -> None:
    bdev.FindDevice(disk(path, size), []).Open()


def close_image(path: str, size: int) -> None:
    bdev.FindDevice(disk(path, size), []).Close()


def grow(path: str, size: int) -> None:
    backend.BlockdevGrow(disk(path, size), GROWTH_MIB, False, True, False)


def remove(path: str, size: int) -> None:
    backend.BlockdevRemove(disk(path, size))


OPERATIONS = {
    "request": nothing,
    "create": create,
    "open": open_image,
    "close": close_image,
    "attach": attach,
    "size": measure,
    "grow": grow,
    "remove": remove,
}


def execute(executor: Any, operation: str, path: str, size: int) -> None:
    """Do an operation in the place of what reads a request from the network."""
    OPERATIONS[operation](path, size)


noded.http.server.HttpServerRequestExecutor.__init__ = execute


def request(operation: str, path: str, size: int) -> float:
    """Let a child do one operation; the seconds from the fork to its answer.

    Nobody waits for the child's end: it is over when the next request comes.
    """
    reader, writer = os.pipe()
    started = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        try:
            noded.MlockallRequestExecutor(operation, path, size)
            os.write(writer, b"done")
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    os.close(writer)
    os.read(reader, 4)
    seconds = time.perf_counter() - started
    os.close(reader)
    _, status = os.waitpid(pid, 0)
    if status != 0:
        sys.exit("%s: %s of %s failed" % (side, operation, path))
    return seconds


def main() -> None:
    found = bdev.DEV_MAP[constants.DT_GLUSTER].__module__
    expected = "ganeti.storage.gluster" if side == "stock" else "ganeti_gluster.storage.gluster"
    if found != expected:
        sys.exit("%s: the class for gluster is that of %s, not of %s" % (side, found, expected))
    utils.Mlockall()
    for line in sys.stdin:
        print(json.dumps(request(*json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
