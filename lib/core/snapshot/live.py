"""The disks of a running guest as they were at one instant, for as long as needed.

What the guest overwrites in the meantime is saved in a file on this node's own disk.  This is
fast, and problems of the volume that receives the copy cannot affect the guest.  The file has no
name, so it disappears with the QEMU that has it open, whatever happens.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from ganeti_gluster import constants
from ganeti_gluster.core.snapshot import graph
from ganeti_gluster.core.snapshot.graph import Command, Device
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import private

#: The part of the local file system, and the bytes, that are left to others.
RESERVED_PART = 0.05
RESERVED_BYTES = 1 << 30
#: Bytes beyond that without which no snapshot begins.
NEEDED_BYTES = 64 << 20
#: Seconds within which QEMU has to be rid of what is taken away.
_UNDO_SECONDS = 30
_SOCKET_NAME = "ganeti-gluster-snapshot"


class MonitorFailed(GanetiGlusterError):
    """QEMU refused a command, did not answer, or has ended."""


class GuestGone(MonitorFailed):
    """There is no QEMU of the guest any more."""


class NoLocalSpace(GanetiGlusterError):
    """This node's disk has no room for what the guest overwrites."""


class LeftInQemu(GanetiGlusterError):
    """What a snapshot needs could not be taken out of QEMU again; the guest goes on."""


class Monitor(Protocol):
    """A connection to QEMU's monitor."""

    def execute(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        """Run a QMP command, for its answer; raises `MonitorFailed`."""

    def add_fd(self, descriptor: int) -> int:
        """Hand a descriptor over, for opening as /dev/fdset/NUMBER."""

    def name_fd(self, descriptor: int, name: str) -> None:
        """Hand a descriptor over under a name."""


#: Connects to the guest's monitor: QEMU serves one connection at a time, and
#: Ganeti needs it too, so each is held for moments.
Connect = Callable[[], AbstractContextManager[Monitor]]


@dataclass(frozen=True)
class Frozen:
    """Disks at one instant: `taken` in seconds since the epoch, `socket` their NBD server.

    Each disk is the export with the name of its device's `view`.
    """

    devices: tuple[Device, ...]
    taken: float
    socket: str


@contextlib.contextmanager
def frozen(
    connect: Connect,
    identities: Sequence[str],
    *,
    directory: str = constants.FLEECING_DIR,
    quiet: Callable[[], AbstractContextManager[object]] = contextlib.nullcontext,
) -> Iterator[Frozen]:
    """Show the disks with Ganeti's ids as they are at one instant, while the guest goes on.

    The instant is in the block of `quiet`, which lasts for as short as can be.

    Raises `graph.SnapshotRefused`, `NoLocalSpace` or `MonitorFailed`, with nothing changed
    in QEMU; `LeftInQemu` where something could not be undone.
    """
    check_space(directory)
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(_socket_directory())
        address = os.path.join(work, "socket")
        with connect() as monitor:
            clear(monitor)
            graph.check_migration(monitor.execute("query-migrate"))
            blocks = monitor.execute("query-block")
            devices = [graph.find_device(blocks, identity) for identity in identities]
            try:
                taken = _begin(monitor, devices, directory, address, quiet)
            except BaseException:
                _clear_after_failure(monitor)
                raise
        try:
            yield Frozen(tuple(devices), taken, address)
        except BaseException:
            _undo_after_failure(connect)
            raise
        undo(connect)


def _begin(
    monitor: Monitor,
    devices: Sequence[Device],
    directory: str,
    address: str,
    quiet: Callable[[], AbstractContextManager[object]],
) -> float:
    for device in devices:
        with _nameless_file(directory, device.size) as descriptor:
            fdset = monitor.add_fd(descriptor)
            try:
                _run(monitor, graph.insert_fleece(device, fdset))
            finally:
                # QEMU has its own copy of the descriptor by now, if all went well.
                with contextlib.suppress(MonitorFailed):
                    monitor.execute("remove-fd", {"fdset-id": fdset})
    begin = graph.begin(devices)
    with quiet():
        monitor.execute(*begin)
        taken = time.time()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(address)
        listening.listen(64)
        monitor.name_fd(listening.fileno(), _SOCKET_NAME)
        _run(monitor, graph.show(devices, _SOCKET_NAME))
    return taken


def undo(connect: Connect) -> None:
    """Take all that is ours out of a QEMU; nothing to do where it has ended.

    Tried again for a while, since Ganeti may have the monitor.  Raises `LeftInQemu`
    where something stays.
    """
    deadline = time.monotonic() + _UNDO_SECONDS
    while True:
        try:
            with connect() as monitor:
                clear(monitor)
            return
        except GuestGone:
            return
        except MonitorFailed as err:
            if time.monotonic() > deadline:
                raise LeftInQemu(
                    "the resources of the snapshot are still in QEMU: %s" % err,
                    hint="the guest keeps running; they are removed once QEMU answers",
                ) from err
        time.sleep(0.2)


def clear(monitor: Monitor) -> bool:
    """As `undo`, by an open connection; whether there was anything of ours.

    Each command for itself, since one that fails must not keep the others from
    what they can undo; what counts is what is left at the end.
    """
    if not graph.ours(_nodes(monitor)):
        return False
    deadline = time.monotonic() + _UNDO_SECONDS
    while True:
        failures = _try_to_clear(monitor)
        left = graph.ours(_nodes(monitor))
        if not left:
            return True
        # An export releases its node a little after it was asked to end.
        if time.monotonic() > deadline:
            raise LeftInQemu(
                "QEMU keeps %s: %s" % (", ".join(left), "; ".join(failures) or "no reason given"),
                hint="the guest keeps running; they are removed once QEMU answers",
            )
        time.sleep(0.1)


def _try_to_clear(monitor: Monitor) -> list[str]:
    failures = []
    for command in graph.undo(
        _nodes(monitor), monitor.execute("query-block"), monitor.execute("query-block-exports")
    ):
        try:
            monitor.execute(*command)
        except MonitorFailed as err:
            logging.info("%s %s: %s", command.execute, command.arguments, err)
            failures.append(str(err))
    return failures


def check_space(directory: str) -> None:
    """Raise `NoLocalSpace` where saved blocks would take what others need.

    Called again and again while a snapshot lasts, since the guest goes on writing.
    """
    space = os.statvfs(private.directory(directory))
    total, free = space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
    reserved = int(min(RESERVED_BYTES, RESERVED_PART * total))
    if free < reserved + NEEDED_BYTES:
        raise NoLocalSpace(
            "%s has %d MiB free, and %d MiB are reserved"
            % (directory, free >> 20, reserved >> 20),
            hint="the snapshot of a running guest stores there what the guest overwrites in the"
            " meantime: free some space, or mount another file system there",
        )


@contextlib.contextmanager
def _nameless_file(directory: str, size: int) -> Iterator[int]:
    with private.nameless(directory) as file:
        file.truncate(size)
        yield file.fileno()


def _socket_directory() -> AbstractContextManager[str]:
    return private.scratch(constants.RUN_DIR, "nbd-")


def _nodes(monitor: Monitor) -> Any:
    return monitor.execute("query-named-block-nodes", {"flat": True})


def _run(monitor: Monitor, commands: Sequence[Command]) -> None:
    for command in commands:
        monitor.execute(*command)


def _clear_after_failure(monitor: Monitor) -> None:
    try:
        clear(monitor)
    except GanetiGlusterError as err:  # the first error counts
        logging.error("%s", err)


def _undo_after_failure(connect: Connect) -> None:
    try:
        undo(connect)
    except GanetiGlusterError as err:  # the first error counts
        logging.error("%s", err)
