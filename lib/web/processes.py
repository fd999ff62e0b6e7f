"""Two processes: one has root's rights, the other one uses the network.

The first one gathers facts and carries out requests.  The second one decides who may make them,
and can do nothing else: it reads the users of Ganeti's remote API, and can access neither Ganeti's
daemons nor glusterd nor root's terminal.  They exchange lines of JSON.
"""

from __future__ import annotations

import json
import logging
import os
import pwd
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import decode
from ganeti_gluster.tools.decode import NotUnderstood
from ganeti_gluster.web.background import Background
from ganeti_gluster.web.facts import Board
from ganeti_gluster.web.orders import LOOK, MAX_LINE, OUTCOME, Orders

#: Seconds that the other process has to take a line, or to end.
_PATIENCE = 30.0
# Seconds for a process that is ending to report its own status.
_TICK = 0.2
_MASTER_EVERY = 5.0
# Orders that are carried out at the same time.
_WORKERS = 4
# Bytes of a line for a terminal.
_LONGEST_SAID = 65536

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger(__name__)


class ServerEnded(GanetiGlusterError):
    """The process that serves ended by itself."""


class Stopped(Exception):
    """SIGTERM or SIGINT."""


def drop_rights(user: str) -> None:
    """Become `user`, in no group but its own, for good; no-op for who is not root.

    Raises GanetiGlusterError if there is no such user.
    """
    if os.getuid() != 0:
        return
    try:
        account = pwd.getpwnam(user)
    except KeyError as err:
        raise GanetiGlusterError(
            "Ganeti's user %s does not exist" % user, hint="is Ganeti installed completely?"
        ) from err
    if account.pw_uid == 0:
        log.warning("Ganeti runs its remote API as root here, so the page runs as root, too")
        return
    os.setgroups([])
    os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
    os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)


def receive(channel: socket.socket, board: Board, orders: Orders) -> None:
    """Take every line of `channel`, facts and outcomes, until its end."""
    with channel.makefile("rb") as lines:
        for line in lines:
            try:
                said = json.loads(line)
                if said["name"] == OUTCOME:
                    orders.hear(said)
                else:
                    board.post(said)
            except (ValueError, KeyError, TypeError, NotUnderstood):
                log.exception("a line that is neither facts nor an outcome")


def sender(channel: socket.socket, on_error: Callable[[], None]) -> Callable[[bytes], None]:
    """A function that sends a whole line through `channel`; for several threads."""
    lock = threading.Lock()

    def send(line: bytes) -> None:
        try:
            with lock:
                channel.sendall(line)
        except OSError:
            on_error()

    return send


def wait_for(is_master: Callable[[], bool], pause: Callable[[float], None]) -> None:
    """Return as soon as this node is the master; `pause` fills the seconds between."""
    while not is_master():
        pause(_MASTER_EVERY)


def run(
    serve: Callable[[socket.socket], None],
    make_background: Callable[[Callable[[bytes], None]], Background],
    *,
    obey: Callable[[bytes, Callable[[bytes], None]], None],
    is_master: Callable[[], bool],
    forked: Callable[[], None] = lambda: None,
) -> None:
    """Serve, and return when this node is no longer the master.

    Raises ServerEnded, and Stopped on a signal.  `serve` runs in a process of its own
    and is given its end of the channel; `obey` gets each order that it sends.  `forked`
    gives up here what the other process alone is to have.
    """
    for each in _SIGNALS:
        signal.signal(each, _stop)
    ours, theirs = socket.socketpair()
    heard, said = os.pipe() if os.isatty(1) or os.isatty(2) else (-1, -1)
    # What a signal's handler raises within a fork is lost, and before the `try` below the
    # child would stay.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    # Before there are threads.
    child = os.fork()
    if child == 0:
        ours.close()
        _child(serve, theirs, said)
    theirs.close()
    forked()
    if said >= 0:
        os.close(said)
        threading.Thread(target=_repeat, args=(heard,), name="repeat", daemon=True).start()
    # A reader that takes nothing is a process that hangs.
    ours.settimeout(_PATIENCE)
    broken = threading.Event()
    send = sender(ours, broken.set)
    background = make_background(send)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        background.start()
        threading.Thread(
            target=_hear, args=(ours, background, send, obey, broken), name="orders", daemon=True
        ).start()
        by_itself = _watch(broken, is_master)
    finally:
        background.stop()
        status = _end(child)
    if by_itself:
        raise ServerEnded("the server ended: status %d" % os.waitstatus_to_exitcode(status))


def _hear(
    channel: socket.socket,
    background: Background,
    send: Callable[[bytes], None],
    obey: Callable[[bytes, Callable[[bytes], None]], None],
    broken: threading.Event,
) -> None:
    """Take lines and carry out orders until the other side is gone.

    Each in a thread: a command begins while services are being started.
    """
    free = threading.Semaphore(_WORKERS)

    def work(line: bytes) -> None:
        _carefully(obey, line, send)
        free.release()

    rest = b""
    while True:
        try:
            got = channel.recv(MAX_LINE)
        except TimeoutError:
            continue
        except OSError:
            got = b""
        *lines, rest = (rest + got).split(b"\n")
        if not got or len(rest) > MAX_LINE:
            broken.set()
            return
        for line in lines:
            if line == LOOK:
                background.look()
            else:
                free.acquire()
                threading.Thread(target=work, args=(line,), name="order", daemon=True).start()


def _carefully(
    obey: Callable[[bytes, Callable[[bytes], None]], None],
    line: bytes,
    send: Callable[[bytes], None],
) -> None:
    try:
        obey(line, send)
    except Exception:  # whatever it was, there will be further orders
        log.exception("an order")


def _repeat(pipe: int) -> None:
    """Say on this process's standard error what the other one says, and no more than text."""
    rest = b""
    while got := os.read(pipe, 4096):
        *lines, rest = (rest + got).split(b"\n")
        rest = rest[:_LONGEST_SAID]
        for line in lines:
            print(decode.printable(line.decode("utf-8", "replace")), file=sys.stderr)


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise Stopped


def _leave_terminal(said: int) -> None:
    """Have no terminal from now on; what would be shown there goes to `said`.

    Who has one open that is root's could have root's shell read what it likes.
    """
    os.setsid()
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    for stream in (1, 2):
        if os.isatty(stream):
            os.dup2(said, stream)
    if said >= 0:
        os.close(said)


def _child(serve: Callable[[socket.socket], None], channel: socket.socket, said: int) -> NoReturn:
    """The life of the process that serves; never returns."""
    code = 1
    try:
        _leave_terminal(said)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda _signal, _frame: os._exit(0))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        serve(channel)
        code = 0
    except GanetiGlusterError as err:
        log.error("%s", err)
    except BaseException:
        log.exception("the server failed")
    finally:
        logging.shutdown()
        os._exit(code)


def _watch(broken: threading.Event, is_master: Callable[[], bool]) -> bool:
    """Return when the other process is gone (True), or this node is not the master."""
    while not broken.wait(_MASTER_EVERY):
        if not is_master():
            return False
    return True


def _end(child: int) -> int:
    """End the process that serves if it has not ended, and return its status."""
    end = time.monotonic() + _PATIENCE
    asked = False
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
        elif not asked and time.monotonic() > end - _PATIENCE + _TICK:
            os.kill(child, signal.SIGTERM)
            asked = True
        time.sleep(0.05)
