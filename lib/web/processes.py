"""Two processes: one has root's rights, the other talks to the network.

The first gathers facts and carries out orders; the second knows who may give them,
and can do nothing else: it reads the users of Ganeti's remote API, and reaches neither
Ganeti's daemons nor glusterd.  Between them go lines of JSON.
"""

from __future__ import annotations

import json
import logging
import os
import pwd
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.web.background import Background
from ganeti_gluster.web.facts import Board
from ganeti_gluster.web.orders import LOOK, MAX_LINE, OUTCOME, Orders

#: Seconds that the other process has to take a line, or to end.
_PATIENCE = 30.0
# Seconds in which one that is ending may tell its own status.
_TICK = 0.2
_MASTER_EVERY = 5.0

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger(__name__)


class ServerEnded(GanetiGlusterError):
    """The process that serves ended by itself."""


class Stopped(Exception):
    """SIGTERM or SIGINT."""


def drop_rights(user: str) -> None:
    """Become `user`, in no group but its own, for good; no-op for who is not root.

    Raises GanetiGlusterError where there is no such user.
    """
    if os.getuid() != 0:
        return
    try:
        account = pwd.getpwnam(user)
    except KeyError as err:
        raise GanetiGlusterError(
            "Ganeti's user %s does not exist" % user, hint="is Ganeti installed wholly?"
        ) from err
    if account.pw_uid == 0:
        log.warning("Ganeti runs its remote API as root here, and so does the page")
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
            except (ValueError, KeyError, TypeError):
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


def wait_for(is_master: Callable[[], bool]) -> None:
    """Return as soon as this node is the master."""
    while not is_master():
        time.sleep(_MASTER_EVERY)


def run(
    serve: Callable[[socket.socket], None],
    make_background: Callable[[Callable[[bytes], None]], Background],
    *,
    obey: Callable[[bytes, Callable[[bytes], None]], None],
    is_master: Callable[[], bool],
) -> None:
    """Serve, and return when this node is no longer the master.

    Raises ServerEnded, and Stopped on a signal.  `serve` runs in a process of its own
    and is given its end of the channel; `obey` gets each order that it sends.
    """
    for each in _SIGNALS:
        signal.signal(each, _stop)
    ours, theirs = socket.socketpair()
    # What a signal's handler raises within a fork is lost, and before the `try` below the
    # child would stay.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    # Before there are threads.
    child = os.fork()
    if child == 0:
        ours.close()
        _child(serve, theirs)
    theirs.close()
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
    """Take lines and carry out orders, one after the other, until the other side is gone."""
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
                obey(line, send)


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise Stopped


def _child(serve: Callable[[socket.socket], None], channel: socket.socket) -> NoReturn:
    """The life of the process that serves; never returns."""
    code = 1
    try:
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
