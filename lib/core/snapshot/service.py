"""A worker as a transient systemd unit, and the communication with it.

The unit is named after the instance, so only one operation on its snapshots runs at a time, and
everybody can see it.  systemd runs `undo` however the worker ended, so that QEMU is not left with
a filter that nobody reads.  The worker ends when its standard input does: with the process that
started it, even across Ganeti's SSH.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any

from ganeti_gluster import constants
from ganeti_gluster.core.snapshot.request import (
    DONE,
    FAILED,
    MESSAGE,
    PROGRESS,
    READY,
    Failure,
    Message,
    Moved,
    SnapshotRequest,
    SnapshotResult,
    dump,
)
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import command, decode, names, systemd
from ganeti_gluster.tools.decode import NotUnderstood

#: The unit of an instance's worker.
UNIT = "ganeti-gluster-snapshot-%s.service"
#: Seconds between two lines of a worker that has no other message.
HEARTBEAT = 5.0
#: Seconds without a line after which a worker, or the way to it, counts as dead.
SILENCE = 60.0
#: Seconds without progress after which a copy is given up, and a worker does not keep a guest
#: from being ended.
STUCK_SECONDS = 300
#: Seconds without progress after which a worker ends, whatever it waits for.
DEAD_SECONDS = 600
#: Seconds for a worker to undo its work when it has to end.
END_SECONDS = 150
#: Seconds for which the caller waits for that; afterwards the worker continues alone.
LEAVE_SECONDS = 20
_ASK_SECONDS = 10
# Bytes of a line, of which a worker says a few hundred.
_LONGEST_LINE = 1024 * 1024

# What a worker says with each event.
_SAID = {MESSAGE: Message, PROGRESS: Moved, FAILED: Failure}

WorkerEvent = dict[str, Any]


class SnapshotInProgress(GanetiGlusterError):
    """There is an operation on the instance's snapshots already."""


class WorkerFailed(GanetiGlusterError):
    """What a worker says of its failure, or that there is none any more."""


def unit(instance: str) -> str:
    """The unit of the instance's worker."""
    return UNIT % names.host(instance)


def mark(instance: str) -> str:
    """The file that is there while QEMU may have something of a snapshot's."""
    return os.path.join(constants.SNAPSHOT_DIR, names.host(instance))


def worker_argv(
    program: Sequence[str], instance: str, properties: Sequence[str] = ()
) -> list[str]:
    """The command that runs a worker, with a pipe to its standard input and output.

    `program` is the worker's: it is given a mode, "run" or "undo", and the instance.
    `properties` are more of its unit.
    """
    return systemd.run_argv(
        unit(instance),
        "Snapshot of instance %s" % instance,
        [*program, "run", instance],
        options=["--pipe", "--wait"],
        properties=[
            "TimeoutStopSec=%d" % END_SECONDS,
            systemd.command_property("ExecStopPost", undo_argv(program, instance)),
            *systemd.SNAPSHOT_WORKER,
            *properties,
        ],
    )


def undo_argv(program: Sequence[str], instance: str) -> list[str]:
    """The command that takes what a killed worker left out of the instance's QEMU."""
    return [*program, "undo", instance]


def clear_remains(program: Sequence[str], *, run: command.Run = command.run) -> list[str]:
    """Have systemd take out of QEMUs what ended workers left there; returns the instances.

    Each in the unit of the instance's worker, so that no operation begins meanwhile.  Returns
    without waiting for them; cheap where nothing is left.  Raises `OSError` if the marks
    cannot be read.
    """
    try:
        instances = sorted(os.listdir(constants.SNAPSHOT_DIR))
    except FileNotFoundError:
        return []
    begun = []
    for instance in instances:
        if is_busy(instance, run=run):
            continue
        argv = systemd.run_argv(
            unit(instance),
            "Remains of a snapshot of instance %s" % instance,
            undo_argv(program, instance),
            options=["--no-block"],
            properties=["RuntimeMaxSec=%d" % END_SECONDS, *systemd.SNAPSHOT_WORKER],
        )
        # Refused where a worker has begun since.
        if run(argv, timeout=_ASK_SECONDS, check=False).exit_code == 0:
            begun.append(instance)
    return begun


def is_busy(instance: str, *, run: command.Run = command.run) -> bool:
    """Whether there is a worker of the instance on this node, be it one that ends."""
    return _state(instance, run) not in ("inactive", "failed", "")


def is_going_on(instance: str, *, run: command.Run = command.run) -> bool:
    """Whether the instance has a worker on this node that was not asked to end."""
    return _state(instance, run) in ("active", "activating", "reloading")


def _state(instance: str, run: command.Run) -> str:
    return systemd.state(unit(instance), timeout=_ASK_SECONDS, run=run)


def note_progress(instance: str) -> None:
    """Leave with the mark when there was progress last."""
    with contextlib.suppress(OSError):
        os.utime(mark(instance))


def note_end(instance: str) -> None:
    """Leave with the mark that nobody works any more on what is in QEMU."""
    with contextlib.suppress(OSError):
        os.utime(mark(instance), (0, 0))


def idle_seconds(instance: str) -> float:
    """For how long there has been no progress; 0 if there is no mark."""
    try:
        return max(0.0, time.time() - os.stat(mark(instance)).st_mtime)
    except FileNotFoundError:
        return 0.0


def converse(
    argv: Sequence[str],
    instance: str,
    request: Callable[[], SnapshotRequest],
    listen: Callable[[WorkerEvent], None],
) -> dict[str, Any]:
    """Start a worker, ask it for what `request` gives once it is there, and hear it out.

    The worker's unit exists when `request` is called, and the hooks refuse from
    then on what would disturb it; so `request` can wait for what is under way.
    Returns what came of it, a `SnapshotResult`; raises `SnapshotInProgress` or `WorkerFailed`.
    """
    with (
        open(os.memfd_create("complaints"), "w+b") as complaints,
        _started(argv, complaints) as process,
    ):
        assert process.stdin is not None and process.stdout is not None
        lines = _lines(process.stdout)
        first = next(lines, None)
        if first is None or first.get("event") != READY:
            raise _no_worker(instance, process, complaints)
        line = dump(request())
        try:
            process.stdin.write(line.encode() + b"\n")
            process.stdin.flush()
            for event in lines:
                if event.get("event") == DONE:
                    result: dict[str, Any] = event["result"]
                    return result
                if event.get("event") == FAILED:
                    raise WorkerFailed(event["message"], hint=event.get("hint", ""))
                listen(event)
        except BrokenPipeError:
            pass
        raise _no_worker(instance, process, complaints)


@contextlib.contextmanager
def _started(argv: Sequence[str], complaints: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints, bufsize=0
    )
    try:
        yield process
    finally:
        # The end of its input ends the worker, which undoes what it did.
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                assert stream is not None
                stream.close()
        try:
            process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _lines(stream: IO[bytes]) -> Iterator[WorkerEvent]:
    """The events of a worker until it ends, or is silent for too long."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        rest, deadline = b"", time.monotonic() + SILENCE
        while True:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise WorkerFailed("the worker has been silent for %d s" % SILENCE)
            data = os.read(stream.fileno(), 65536)
            if not data:
                return
            deadline = time.monotonic() + SILENCE
            *whole, rest = (rest + data).split(b"\n")
            if len(rest) > _LONGEST_LINE:
                raise WorkerFailed("the output of the worker is not understood: it has no end")
            for line in whole:
                yield _event(line)


def _event(line: bytes) -> WorkerEvent:
    """An event with what belongs to it; nothing for a line that is none, as of a library."""
    try:
        said = decode.plain(line, longest=_LONGEST_LINE)
    except NotUnderstood:
        return {}
    name = said.get("event") if isinstance(said, dict) else None
    if not isinstance(name, str):
        return {}
    try:
        if name == DONE:
            return {
                "event": name,
                "result": decode.value(SnapshotResult, said.get("result"), "result"),
            }
        more = decode.value(_SAID[name], said, name) if name in _SAID else {}
    except NotUnderstood as err:
        raise WorkerFailed("the output of the worker is not understood: %s" % err.detail) from err
    return {"event": name, **more}


def _no_worker(
    instance: str, process: subprocess.Popen[bytes], complaints: IO[bytes]
) -> GanetiGlusterError:
    try:
        code: int | None = process.wait(5)
    except subprocess.TimeoutExpired:
        code = None
    complaints.seek(0)
    text = complaints.read().decode("utf-8", "replace").strip()[-2000:]
    text = decode.printable(text, longest=2000)
    if "already loaded" in text or "already exists" in text:
        return SnapshotInProgress(
            "an operation on the snapshots of instance %s is already running" % instance,
            hint="wait until it has finished; it is the unit %s on the instance's node"
            % unit(instance),
        )
    return WorkerFailed(
        "the worker ended (exit status %s)%s" % (code, ": %s" % text if text else ""),
        hint="see journalctl --unit=%s on the instance's node" % unit(instance),
    )
