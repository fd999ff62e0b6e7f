"""The process that holds the lock of one image on this node.

keeper KEY (a key of `names.unit_key`) reads what to hold from the file that
`client` left, takes the lock, tells systemd that it is ready and then listens at a
socket.  Every `CHECK_SECONDS` it takes the lock again.  Where that has not been
possible for `STOP_SECONDS`, and most of the volume's servers do not answer this
node either, what writes to the image is stopped until the lock is held again; if
another node has it by then, it is killed.

A brick that is back after a restart may refuse the lock for a moment, since another
node that asks for it has it there until the next brick refuses it.  So where it is
refused, it is asked for again at once; what writes is stopped meanwhile, and killed
when another node is found to have the lock after `DOUBT_SECONDS`.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from ganeti_gluster import gfapi, names
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.gfapi.probe import PROBE_TIMEOUT, Probe
from ganeti_gluster.lock import writers
from ganeti_gluster.lock.attempts import Attempts
from ganeti_gluster.lock.files import LockFiles, Wanted, describe
from ganeti_gluster.lock.image_lock import Held, ImageLock
from ganeti_gluster.sd_notify import notify
from ganeti_gluster.volume import VolumeSpec, connect

#: Seconds between two times that the lock is taken again.
CHECK_SECONDS = 3.0
#: Seconds without the lock confirmed after which what writes is stopped.  The
#: bricks forget a silent node after 20 s (server.keepalive-time 10, -interval 2,
#: -count 5, and server.tcp-user-timeout 20: the options for images).
STOP_SECONDS = 12.0
#: Seconds between two times after the lock could not be taken.
RETRY_SECONDS = 0.5
#: Seconds for which the lock may be refused before it counts as lost, and between
#: two times that it is asked for meanwhile.
DOUBT_SECONDS = 2.0
_DOUBT_POLL_SECONDS = 0.1
#: Seconds to wait, after the lock was taken away from a holder, until that holder
#: must have noticed and killed what writes.
GRACE_SECONDS = 2 * CHECK_SECONDS + DOUBT_SECONDS
#: Seconds that giving the lock back may take; the connection's end does it as well.
_GIVE_BACK_SECONDS = 5.0
_POLL_SECONDS = 0.5

# Exit statuses: the lock is another's; anything else that did not work.
HELD = 75
FAILED = 74
# The lock could not be taken after a restart; systemd is to try again.
AGAIN = 1


class Keeper:
    """Holds one lock; `run` returns the process's exit status."""

    def __init__(self, files: LockFiles, wanted: Wanted) -> None:
        self._files = files
        self._wanted = wanted
        self._spec = VolumeSpec.from_params(wanted.params)
        self._commands: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        self._attempts = Attempts()
        self._confirmed = 0.0
        self._doubtful = False
        self._lost: Held | None = None
        self._ending = False
        self._hosts: tuple[str, ...] = ()

    def run(self) -> int:
        """Take the lock, hold it until told to end; 0, `HELD`, `FAILED` or `AGAIN`."""
        signal.signal(signal.SIGTERM, self._end)
        restarted = self._files.is_held()
        try:
            lock = self._take(patient=restarted)
        except Held as err:
            if restarted:  # another node was faster than our restart
                self._lose(err)
            self._files.fail(err)
            return HELD
        except (GanetiGlusterError, OSError) as err:
            if restarted and not isinstance(err, FileNotFoundError):
                logging.error("Lock of image %s: %s", self._wanted.path, err)
                return AGAIN
            self._files.fail(err)
            return FAILED
        with socket.socket(socket.AF_UNIX) as listener:
            self._files.listen(listener)
            self._files.hold(self._wanted)
            if self._wanted.stopped:  # by the keeper before this one
                self._resume()
            threading.Thread(target=self._hold, args=(lock,), daemon=True).start()
            notify("READY=1")
            self._serve(listener)
        return HELD if self._lost else self._give_back()

    def _end(self, *_: object) -> None:
        self._ending = True

    def _take(self, *, patient: bool) -> ImageLock:
        volume = connect(self._spec)
        lock = ImageLock(volume, self._wanted.path, self._wanted.number)
        started = time.monotonic()
        try:
            lock.take(self._wanted.mode, clear=self._wanted.clear)
        except Held:
            if not patient:
                raise
            self._stop("The lock of image %s is refused" % self._wanted.path)
            self._take_in_doubt(lock)
        if self._wanted.clear:
            logging.warning(
                "The lock of image %s was taken away from its holder", self._wanted.path
            )
            time.sleep(GRACE_SECONDS)
            started = time.monotonic()
            lock.take(self._wanted.mode)
            self._wanted = self._wanted.changed(clear=False)
        self._confirmed = started
        self._hosts = brick_hosts(volume)
        return lock

    # -- the thread that calls libgfapi, which may be held up -------------------

    def _hold(self, lock: ImageLock) -> None:
        """Take the lock again and again, and in another mode when asked to."""
        pause = CHECK_SECONDS
        while self._lost is None:
            try:
                action, mode, answer = self._commands.get(timeout=pause)
            except queue.Empty:
                action, mode, answer = "take", self._wanted.mode, None
            failure: Exception | None = None
            try:
                if action == "give back":
                    lock.give_back()
                elif answer is not None:
                    self._change(lock, mode)
                else:
                    self._take_again(lock)
            except (Held, OSError) as err:
                failure = err
            if answer is not None:
                answer.put(failure)
            elif isinstance(failure, Held):
                self._lost = failure
            elif failure is not None:
                logging.warning("Lock of image %s: %s", self._wanted.path, failure)
            pause = CHECK_SECONDS if failure is None else RETRY_SECONDS

    def _change(self, lock: ImageLock, mode: str) -> None:
        started = time.monotonic()
        lock.take(mode)
        self._confirmed, self._doubtful = started, False

    def _take_again(self, lock: ImageLock) -> None:
        self._attempts.give_up_old()
        started = time.monotonic()
        try:
            lock.take(self._wanted.mode)
        except Held:
            self._take_in_doubt(lock)
        else:
            self._confirmed, self._doubtful = started, False

    def _take_in_doubt(self, lock: ImageLock) -> None:
        """Take the lock that was just refused; raises `Held` if another node has it.

        A lock with this node's own number is of a connection before, and nobody
        else's can be there with it.
        """
        self._doubtful = True
        until = time.monotonic() + DOUBT_SECONDS
        while True:
            started = time.monotonic()
            try:
                lock.take(self._wanted.mode)
            except Held as err:
                if err.holder is not None and err.holder.number == self._wanted.number:
                    until, self._doubtful = started + DOUBT_SECONDS, False
                elif err.holder is not None and started > until:
                    raise
                else:
                    self._doubtful = True
            else:
                self._confirmed, self._doubtful = started, False
                return
            time.sleep(_DOUBT_POLL_SECONDS)

    # -- the main thread ---------------------------------------------------------

    def _serve(self, listener: socket.socket) -> None:
        listener.settimeout(_POLL_SECONDS)
        while not self._ending and self._lost is None:
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                pass
            else:
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()
            self._watch()
        if self._lost is not None:
            self._lose(self._lost)

    def _watch(self) -> None:
        """Stop what writes while the lock cannot be confirmed, and let it go on after."""
        silent = time.monotonic() - self._confirmed
        if self._doubtful:
            if not self._wanted.stopped:
                self._stop("The lock of image %s is refused" % self._wanted.path)
        elif silent < STOP_SECONDS:
            if self._wanted.stopped:
                self._resume()
        elif not self._wanted.stopped and not self._servers_answer():
            self._stop(
                "The lock of image %s could not be confirmed for %d s, and most servers of"
                " volume %s do not answer" % (self._wanted.path, silent, self._spec.name)
            )

    def _servers_answer(self) -> bool:
        """Whether this node reaches most of the bricks' hosts, so that they keep its lock."""
        # Each by itself: of several it is given up who answers later than the first.
        probes = [
            Probe([(host, names.DEFAULT_PORT)], timeout=PROBE_TIMEOUT) for host in self._hosts
        ]
        live = sum(reason is None for each in probes for reason in each.answers().values())
        return 2 * live > len(self._hosts)

    def _stop(self, reason: str) -> None:
        logging.error("%s: what writes to it is stopped", reason)
        self._wanted = self._wanted.changed(stopped=True)
        self._files.hold(self._wanted)
        self._signal("STOP")

    def _resume(self) -> None:
        logging.warning(
            "The lock of image %s is held again: what was stopped goes on", self._wanted.path
        )
        self._signal("CONT")
        self._wanted = self._wanted.changed(stopped=False)
        self._files.hold(self._wanted)

    def _signal(self, name: str) -> None:
        writers.send(name, self._wanted.path, self._wanted.disk)

    def _lose(self, err: Held) -> None:
        logging.error("%s: what writes to it here is killed", err)
        self._signal("KILL")
        self._files.release()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(10)
            try:
                request = json.loads(connection.makefile().readline(4096))
                answer: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
                self._commands.put(("take", request["mode"], answer))
                failure = answer.get()
                if failure is None:
                    self._wanted = self._wanted.changed(mode=request["mode"])
                    self._files.hold(self._wanted)
                connection.sendall(json.dumps(describe(failure)).encode() + b"\n")
            except (OSError, ValueError, KeyError) as err:
                logging.warning("Request not served: %s", err)

    def _give_back(self) -> int:
        answer: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        self._commands.put(("give back", "", answer))
        try:
            answer.get(timeout=_GIVE_BACK_SECONDS)
        except queue.Empty:
            logging.warning("The volume does not answer; the lock ends with the connection")
        return 0


def brick_hosts(volume: gfapi.Volume) -> tuple[str, ...]:
    """The hosts of the volume's bricks, one a brick.

    Without the parser that `gfapi.topology` has, which takes more memory than all
    else of this process.
    """
    text = volume.volfile()
    return tuple(re.findall(r"^\s*option\s+remote-host\s+(\S+)\s*$", text, re.MULTILINE))


def main(argv: Sequence[str]) -> int:
    """The entry point; ends the process without waiting for libgfapi."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    files = LockFiles(argv[1])
    try:
        keeper = Keeper(files, files.wanted())
    except FileNotFoundError as err:
        logging.error("Nothing is to be locked: %s", err)
        status = FAILED
    else:
        status = keeper.run()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main(sys.argv)
