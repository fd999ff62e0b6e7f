"""The control socket of an image server: one request and one answer for each connection."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from ganeti_gluster.core.serve import files
from ganeti_gluster.errors import GanetiGlusterError

_LONGEST = 8192

SERVING = "serving"
WAITING = "waiting"
LOST = "lost"


class NoServer(GanetiGlusterError):
    """There is no server of the image on this node."""


class NoAnswer(GanetiGlusterError):
    """The server did not answer in time."""


@dataclass(frozen=True)
class ServerStatus:
    """What a server says of itself.

    `state` is SERVING, WAITING (for the storage, since `waiting`, seconds since the epoch,
    `why`) or LOST; `mode` exclusive, shared or none; `size` in bytes, 0 if it is not
    known yet; `block` the smallest request in bytes; `peers` the processes that are its
    clients, `users` the number of those and of former ones that may connect again; `requests`
    those that wait for room; `connected` of the volume's `bricks` are in use.  Changes are
    recorded for `points`.
    """

    state: str
    mode: str
    size: int
    block: int
    peers: tuple[int, ...]
    users: int
    waiting: float
    why: str
    requests: int
    bricks: int
    connected: int
    version: str
    points: tuple[str, ...] = ()


def ask(key: str, question: str, *, timeout: float) -> dict[str, str]:
    """The answer of a server; empty if it ended instead.

    Raises `NoServer` or `NoAnswer`.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(files.path(key, "ctl"))
        except (FileNotFoundError, ConnectionRefusedError) as err:
            raise NoServer("the image has no server here") from err
        except (TimeoutError, BlockingIOError) as err:  # the latter where many wait already
            raise NoAnswer("its server does not answer within %g s" % timeout) from err
        try:
            connection.send(question.encode())
            data = connection.recv(_LONGEST)
        except TimeoutError as err:
            raise NoAnswer("its server does not answer within %g s" % timeout) from err
        except (ConnectionError, BrokenPipeError):
            return {}
    text = data.decode("utf-8", "replace")
    return {"ok": ""} if text == "ok\n" else files.parse(text)


def status(key: str, *, timeout: float = 5.0) -> ServerStatus | None:
    """What a server says of itself; None if there is none.

    One that is being started again is waited for.  Raises `NoAnswer`.
    """
    try:
        fields = ask(key, "status", timeout=timeout)
        if not fields:
            fields = ask(key, "status", timeout=timeout)  # it was replacing itself
    except NoServer:
        return None
    if not fields:
        return None
    return ServerStatus(
        state=fields["state"],
        mode=fields["mode"],
        size=int(fields["size"]),
        block=int(fields["block"]),
        peers=tuple(map(int, fields["peers"].split())),
        users=int(fields.get("users", fields["clients"])),  # one that was not renewed yet
        waiting=float(fields["waiting"]),
        why=fields["why"],
        requests=int(fields["requests"]),
        bricks=int(fields["bricks"]),
        connected=int(fields["connected"]),
        version=fields["version"],
        points=tuple(fields.get("points", "").split()),
    )
