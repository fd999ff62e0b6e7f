"""The process that does an operation: one line of input, several lines of output."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from ganeti_gluster.core.backup import agent
from ganeti_gluster.core.backup import work as backup
from ganeti_gluster.core.copy import Progress, signals
from ganeti_gluster.core.snapshot import live, move, service, work
from ganeti_gluster.core.snapshot.request import DONE, FAILED, MESSAGE, MOVE, PROGRESS, READY, load
from ganeti_gluster.errors import GanetiGlusterError, in_words
from ganeti_gluster.tools import private

#: Seconds between two reports of progress.
_REPORT_SECONDS = 1.0


class Abandoned(GanetiGlusterError):
    """The process that requested the operation is gone."""


def run(instance: str, guests: work.Guests) -> int:
    """Do what the first line of standard input asks for; the exit status."""
    speaker = _Speaker(instance)
    try:
        with signals.raised(), _marked(instance), speaker.heart():
            speaker.say(event=READY)
            line = sys.stdin.readline()
            if not line:
                return 1
            request = load(line)
            if request.instance != instance:
                raise GanetiGlusterError("the request is for instance %s" % request.instance)
            for watch in (_await_end, _await_death):
                threading.Thread(target=watch, args=(speaker,), daemon=True).start()
            do = move.do if request.operation == MOVE else work.do
            if request.backup is not None:
                do = backup.do
            result = do(request, guests, speaker)
    except (GanetiGlusterError, OSError) as err:
        logging.debug("Snapshot", exc_info=True)
        message = err.message if isinstance(err, GanetiGlusterError) else in_words(err)
        speaker.say(event=FAILED, message=message, hint=getattr(err, "hint", ""))
        return 1
    finally:
        speaker.ended.set()
    speaker.say(event=DONE, result=result)
    return 0


def undo(instance: str, guests: work.Guests) -> int:
    """Take out of QEMU what a worker left there that was killed; the exit status.

    Where QEMU does not answer it is tried again later: see `service.clear_remains`.
    """
    if not os.path.exists(service.mark(instance)):
        return 0
    try:
        if guests.is_running(instance):
            live.undo(guests.connect(instance))
            agent.thaw(guests.agent(instance))
    except GanetiGlusterError as err:
        print(err, file=sys.stderr)
        service.note_end(instance)
        return 1
    _unmark(instance)
    return 0


@contextlib.contextmanager
def _marked(instance: str) -> Iterator[None]:
    """Leave the mark, which goes when QEMU is known to have nothing of ours."""
    private.write(service.mark(instance), "%d\n" % os.getpid())
    yield
    # Not after an error: `undo`, which follows, looks at QEMU first.
    _unmark(instance)


def _unmark(instance: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(service.mark(instance))


def _await_end(speaker: _Speaker) -> None:
    """Notice that the requesting process is gone."""
    sys.stdin.read()
    speaker.abandoned = True
    if not speaker.ended.wait(service.END_SECONDS):
        os._exit(1)  # it does not come back from what it waits for; `undo` follows


def _await_death(speaker: _Speaker) -> None:
    """End a worker that waits for good, outside of a copy, for storage or for QEMU."""
    while speaker.idle() < service.DEAD_SECONDS:
        if speaker.ended.wait(_REPORT_SECONDS):
            return
    message = "nothing went on for %d s" % service.DEAD_SECONDS
    speaker.say(event=FAILED, message=message, hint="remove what is incomplete and try again")
    os._exit(1)


class _Speaker:
    """Reports on standard output, and ends the work once nobody listens."""

    def __init__(self, instance: str) -> None:
        self.abandoned = False
        self.ended = threading.Event()
        self._instance = instance
        self._lock = threading.Lock()
        self._next = 0.0
        self._done = -1
        self._moved = time.monotonic()

    def say(self, **event: Any) -> None:
        with self._lock:
            try:
                sys.stdout.write(json.dumps(event) + "\n")
                sys.stdout.flush()
            except OSError:
                self.abandoned = True

    def message(self, text: str) -> None:
        self._go_on()
        self._note_progress()
        self.say(event=MESSAGE, text=text)

    def progress(self, disk: int, progress: Progress) -> None:
        self._go_on()
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _REPORT_SECONDS
            if progress.done != self._done:  # a copy that hangs reports as well
                self._note_progress()
            self._done = progress.done
            self.say(event=PROGRESS, disk=disk, **progress._asdict())

    def _note_progress(self) -> None:
        self._moved = time.monotonic()
        service.note_progress(self._instance)

    def idle(self) -> float:
        """For how many seconds there has been no progress."""
        return time.monotonic() - self._moved

    def _go_on(self) -> None:
        if self.abandoned:
            raise Abandoned("the process that requested it has ended")

    @contextlib.contextmanager
    def heart(self) -> Iterator[None]:
        """Say something now and then, so that silence is death."""
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(service.HEARTBEAT):
                self.say(event="alive")

        threading.Thread(target=beat, daemon=True).start()
        try:
            yield
        finally:
            stop.set()
