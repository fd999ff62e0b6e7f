"""Take an image from a node that does not release it, by closing its connections to the bricks.

A server that is still alive, on a node that was wrongly marked offline or is frozen, keeps its
lock as long as its connections.  Clearing the lock would stop nothing.  So its connections are
closed on the hosts of the bricks (`ss -K`).  The bricks then drop the lock, and the server can no
longer write, because it does not connect to a brick while it holds a lock.  It restarts and
connects again at once.  So this module waits for the lock itself, and writes a word to the image
that tells the server that it has lost it.

Nothing is assumed: if the host of a brick cannot be contacted, or the lock is not released, the
image stays with its holder.
"""

from __future__ import annotations

import fcntl
import logging
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ganeti_gluster.core.pool.agents import Channel
from ganeti_gluster.core.serve.holder import (
    EVICTED,
    holder_of,
    leave_word,
    let_go,
    new_owner,
    node_number,
    word_of,
)
from ganeti_gluster.core.serve.server import ImageServer
from ganeti_gluster.core.volume import VolumeSpec, connect
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import systemd
from ganeti_gluster.tools.command import CommandFailed
from ganeti_gluster.tools.gfapi import File, Volume

#: Seconds for the bricks to give the lock to us, once their connections have ended.
SECONDS = 60.0
#: Seconds between two times that the connections are ended: the holder makes new ones.
_ROUND_SECONDS = 1.0
_COMMAND_SECONDS = 15.0
#: The number of a lock that no node has.
_NOBODY = 1


class NotEvicted(GanetiGlusterError):
    """The image is still its holder's."""


@dataclass(frozen=True)
class BrickHost:
    """A host with bricks of the volume that run: `node` is Ganeti's name, "" for none of its."""

    host: str
    node: str
    ports: tuple[int, ...]


@dataclass(frozen=True)
class EvictedNode:
    """The node that loses the image, and the addresses by which the bricks know it.

    `here`: it is this one, whose own connections are not to be ended with the server's.
    """

    node: str
    addresses: tuple[str, ...]
    here: bool = False


def kill_argv(addresses: Iterable[str], ports: Iterable[int]) -> list[str]:
    """End the connections of these hosts to these ports of this one; `ss` in iproute2."""
    argv = ["ss", "--kill", "--tcp", "--no-header", "state", "established", "("]
    argv += " or ".join("dst %s" % _bracketed(address) for address in addresses).split()
    argv += [")", "and", "("]
    argv += " or ".join("sport = :%d" % port for port in ports).split()
    return [*argv, ")"]


def _bracketed(address: str) -> str:
    return "[%s]" % address if ":" in address else address


def evict(
    spec: VolumeSpec,
    path: str,
    holder: EvictedNode,
    hosts: Sequence[BrickHost],
    channel: Channel,
    *,
    seconds: float = SECONDS,
) -> None:
    """Take an image from a node; it is free, and says so, afterwards.

    Raises `NotEvicted`, with what to do, and has changed nothing but connections then.
    """
    with connect(spec) as volume:
        lock = _WaitingLock(volume, path)
        deadline = time.monotonic() + seconds
        try:
            while True:
                _end_connections(spec, path, holder, hosts, channel)
                if lock.wait(_ROUND_SECONDS):
                    break
                if time.monotonic() > deadline:
                    raise NotEvicted(
                        "the bricks still hold the lock on image %s for node %s, although its"
                        " connections have been closed" % (path, holder.node),
                        hint="check that these are the node's addresses: %s; or switch it off"
                        % ", ".join(holder.addresses),
                    )
            leave_word(volume, path)
        finally:
            lock.give_back()
    logging.warning("Image %s was taken from node %s", path, holder.node)


def _end_connections(
    spec: VolumeSpec,
    path: str,
    holder: EvictedNode,
    hosts: Sequence[BrickHost],
    channel: Channel,
) -> None:
    if holder.here:  # a process that is killed has no connection
        _end_server(spec, path, holder, [], channel)
        return
    outside = [each.host for each in hosts if not each.node]
    if outside:
        _end_server(spec, path, holder, outside, channel)
    for each in hosts:
        if not each.node:
            continue
        argv = kill_argv(holder.addresses, each.ports)
        try:
            done = channel(each.node, argv, timeout=_COMMAND_SECONDS)
        except CommandFailed as err:
            raise _not_asked(each.host, str(err)) from err
        if done.exit_code != 0:
            raise _not_asked(each.host, done.stderr.strip() or "exit code %d" % done.exit_code)


def _not_asked(host: str, reason: str) -> NotEvicted:
    return NotEvicted(
        "cannot close the connections to the bricks on %s: %s" % (host, reason),
        hint="its bricks are running: make sure that Ganeti reaches it by SSH, or stop them there",
    )


def _end_server(
    spec: VolumeSpec, path: str, holder: EvictedNode, outside: Sequence[str], channel: Channel
) -> None:
    """Have the holder kill its server, which systemd starts again: it finds our word then.

    Where bricks are on hosts that are none of Ganeti's there is no other way.
    """
    argv = systemd.argv("kill", "--signal=KILL", ImageServer(spec, path).unit)
    try:
        done = channel(holder.node, argv, timeout=_COMMAND_SECONDS)
        reason = "" if done.exit_code == 0 else done.stderr.strip() or "no reason given"
    except CommandFailed as err:
        reason = str(err)
    if reason and holder.here:
        raise NotEvicted("cannot stop the image server on this node: %s" % reason)
    if reason:
        raise NotEvicted(
            "some bricks are on hosts outside the cluster (%s), and node %s cannot be told to"
            " stop its image server: %s" % (", ".join(outside), holder.node, reason),
            hint="switch that node off, wait until the bricks have noticed this, and try again",
        )


class _WaitingLock:
    """An exclusive lock that is waited for in the bricks, by a thread."""

    def __init__(self, volume: Volume, path: str) -> None:
        self._done = threading.Event()
        self._unwanted = threading.Event()
        self._error: OSError | None = None
        self._file: File = volume.open(path, write=True)
        self._file.set_lock_owner(new_owner())
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        try:
            self._file.lock(fcntl.F_WRLCK, wait=True, pid=_NOBODY)
        except OSError as err:
            self._error = err
        self._done.set()
        if self._unwanted.is_set():
            let_go(self._file)

    def wait(self, seconds: float) -> bool:
        """Whether it is there after that time; raises where it will never be."""
        if not self._done.wait(seconds):
            return False
        if self._error is not None:
            raise NotEvicted("the lock cannot be taken: %s" % self._error.strerror)
        return True

    def give_back(self) -> None:
        """Have the lock no more, nor get it later."""
        self._unwanted.set()
        if self._done.is_set():
            let_go(self._file)


def last_holder(spec: VolumeSpec, path: str, nodes: Sequence[str]) -> int:
    """The number of the node whose image it is; 0 for nobody's.

    That is the one of `nodes` that has it locked for work on it, else the one that the word
    on it names.
    """
    with connect(spec) as volume:
        holder = holder_of(volume, path)
        if holder is not None and holder.works(nodes):
            return node_number(holder.nodes(nodes)[0])
        word, number = word_of(volume, path)
        return 0 if not word or word.startswith(EVICTED) else number
