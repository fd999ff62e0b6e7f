"""Counters of the plugin's operations on this node, their durations and failures.

The node daemon forks for each request, so the counters are in files in /run that all its children
share: one `flock`, one read and one write of a few bytes for an operation.  No operation waits for
another one: each takes the first free file, and the sum counts.  They restart when the node boots,
which Prometheus understands as a reset.  If something is wrong with the files, the operation
continues uncounted.
"""

from __future__ import annotations

import bisect
import contextlib
import functools
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ganeti_gluster import constants
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import private

DIRECTORY = constants.RUN_DIR + "/counters"
#: So many operations may end at the same time; a file is held for microseconds.
FILES = 16

#: The operations, by the method of Ganeti's `BlockDev`.  New ones go to the end.
METHODS = (
    "Create", "Remove", "Rename", "Attach", "Assemble", "Open", "Close", "Shutdown", "Grow",
    "GetActualSize", "SetInfo", "GetSyncStatus", "Snapshot", "GetUserspaceAccessUri",
)  # fmt: skip
#: The upper bounds of the buckets of durations, in seconds.
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

# Of each operation: count, failures, nanoseconds, and the count in each bucket.
_RECORD = struct.Struct("<%dQ" % (3 + len(BOUNDS)))
# Tells a file of another layout.
_HEAD = b"ggops1 %3d %3d\n" % (len(METHODS), len(BOUNDS))


@dataclass(frozen=True)
class Operation:
    """An operation's counters; `buckets` are not cumulative, and lack what is slower."""

    name: str
    count: int
    failures: int
    seconds: float
    buckets: tuple[int, ...]


def record(method: str, seconds: float, *, failed: bool, directory: str = DIRECTORY) -> None:
    """Count one operation; never raises, and never waits."""
    with contextlib.suppress(GanetiGlusterError, OSError, ValueError):
        index = METHODS.index(method)
        for number in range(FILES):
            path = os.path.join(directory, "%d" % ((os.getpid() + number) % FILES))
            try:
                descriptor = private.open_file(path, os.O_RDWR)
            except FileNotFoundError:
                descriptor = private.open_file(path, os.O_RDWR | os.O_CREAT)
            try:
                if private.take(descriptor):
                    _add(descriptor, index, seconds, failed=failed)
                    return
            finally:
                os.close(descriptor)


def _add(descriptor: int, index: int, seconds: float, *, failed: bool) -> None:
    _begin(descriptor)
    place = len(_HEAD) + index * _RECORD.size
    values = list(_RECORD.unpack(os.pread(descriptor, _RECORD.size, place)))
    values[0] += 1
    values[1] += failed
    values[2] += max(0, int(seconds * 1e9))
    bucket = bisect.bisect_left(BOUNDS, seconds)
    if bucket < len(BOUNDS):
        values[3 + bucket] += 1
    os.pwrite(descriptor, _RECORD.pack(*values), place)


def _begin(descriptor: int) -> None:
    """Make a new file of one that is empty or has another layout."""
    if os.pread(descriptor, len(_HEAD), 0) != _HEAD or (
        os.fstat(descriptor).st_size != len(_HEAD) + len(METHODS) * _RECORD.size
    ):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _HEAD + bytes(len(METHODS) * _RECORD.size), 0)


def read(directory: str = DIRECTORY) -> list[Operation]:
    """The counters of what was done at least once since the node booted.

    Without a lock, which nobody is to wait for: one that is being written may lack in
    one answer what it has in the next.
    """
    sums = [[0] * (3 + len(BOUNDS)) for _ in METHODS]
    for number in range(FILES):
        data = _read(os.path.join(directory, "%d" % number))
        for total, values in zip(sums, _RECORD.iter_unpack(data), strict=False):
            total[:] = [one + other for one, other in zip(total, values, strict=True)]
    return list(_operations(sums))


def _read(path: str) -> bytes:
    """The records of a file, none where there is no such file of this layout."""
    try:
        with open(path, "rb") as stream:
            data = stream.read()
    except OSError:
        return b""
    whole = data.startswith(_HEAD) and len(data) == len(_HEAD) + len(METHODS) * _RECORD.size
    return data[len(_HEAD) :] if whole else b""


def _operations(sums: Sequence[Sequence[int]]) -> Iterator[Operation]:
    for method, values in zip(METHODS, sums, strict=True):
        count, failures, nanoseconds, *buckets = values
        if count:
            yield Operation(method, count, failures, nanoseconds / 1e9, tuple(buckets))


class _Depth(threading.local):
    """Whether an operation of this thread is under way, of which others are a part."""

    busy = False


_depth = _Depth()


def count_methods(device: Any) -> None:
    """Let a class of block devices count what is done with it; idempotent.

    Only the outermost operation counts: `Open` is no `Attach` as well.
    """
    for method in METHODS:
        attribute = vars(device).get(method)
        if attribute is None or getattr(attribute, "counted", False):
            continue
        if isinstance(attribute, classmethod):
            setattr(device, method, classmethod(_counted(method, attribute.__func__)))
        else:
            setattr(device, method, _counted(method, attribute))


def _counted(method: str, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if _depth.busy:
            return original(*args, **kwargs)
        _depth.busy = True
        start = time.monotonic()
        failed = True
        try:
            result = original(*args, **kwargs)
            failed = False
            return result
        finally:
            _depth.busy = False
            record(method, time.monotonic() - start, failed=failed)

    wrapper.counted = True  # type: ignore[attr-defined]
    return wrapper
