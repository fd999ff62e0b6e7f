"""The exporter's socket: one question a connection, JSON, one answer."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from typing import Any

from ganeti_gluster.errors import GanetiGlusterError, in_words

SUFFIX = ".ctl"
_LONGEST = 4096


#: Seconds for which an exporter is waited for that may be held up.
PING_SECONDS = 5


class ControlFailed(GanetiGlusterError):
    """An exporter refused, or did not answer in time."""


class ExporterGone(ControlFailed):
    """There is no exporter behind the socket, or it ended before it answered."""


def socket_path(path: str) -> str:
    """The socket of the exporter whose file is at `path`; 107 bytes at most."""
    return path + SUFFIX


def ask(path: str, question: dict[str, Any], *, timeout: float) -> dict[str, Any]:
    """The answer of the exporter whose file is at `path`; raises `ControlFailed`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(socket_path(path))
            connection.send(json.dumps(question).encode())
            data = connection.recv(_LONGEST)
        except TimeoutError as err:
            raise ControlFailed("its exporter did not answer within %g s" % timeout) from err
        except OSError as err:
            raise ExporterGone("its exporter cannot be reached: %s" % err.strerror) from err
    try:
        answer: dict[str, Any] = json.loads(data)
    except ValueError as err:  # it ended in the middle
        raise ExporterGone("its exporter gave no answer") from err
    if "error" in answer:
        raise ControlFailed(str(answer["error"]))
    return answer


def is_there(path: str) -> bool:
    """Whether an exporter exists at `path`, even if it does not answer.

    systemd may not know yet that one was killed a moment ago.
    """
    try:
        ask(path, {}, timeout=PING_SECONDS)
    except ExporterGone:
        return False
    except ControlFailed:
        return True
    return True


class Listener:
    """The exporter's side: answers by `handler`, in a thread of its own."""

    def __init__(self, path: str, handler: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._handler = handler
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(socket_path(path))
        self._socket.listen()

    def start(self) -> None:
        """Answer from now on."""
        threading.Thread(target=self._serve, name="control", daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            with connection:
                connection.settimeout(10)
                try:
                    self._answer(connection)
                except OSError:  # the client has gone
                    continue

    def _answer(self, connection: socket.socket) -> None:
        try:
            answer = self._handler(json.loads(connection.recv(_LONGEST)))
        except (OSError, ValueError, KeyError, GanetiGlusterError) as err:
            answer = {"error": in_words(err)}
        connection.send(json.dumps(answer).encode())
