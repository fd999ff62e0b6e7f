"""The QEMU guest agent: what a guest does to have its file systems at rest for an instant.

Ganeti gives a guest a channel for its agent with the hypervisor parameter `use_guest_agent`.
Whether an agent runs in the guest is only known if it answers.  Its answers come from the guest,
so they are bounded and not trusted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

from ganeti_gluster.errors import GanetiGlusterError, in_words
from ganeti_gluster.tools import decode
from ganeti_gluster.tools.decode import NotUnderstood

#: Seconds for an agent to say that it is there, and for the guest to write what it has.
HERE_SECONDS = 3.0
FREEZE_SECONDS = 60.0
_LONGEST = 65536
# What ends all that an agent may have answered before.
_DELIMITER = b"\xff"


class GuestAgentFailed(GanetiGlusterError):
    """The agent did not do it, or does not answer."""


class Quiet:
    """The guest's file systems at rest; `frozen` and `why` tell whether they were, and why not."""

    def __init__(self, path: str | None) -> None:
        self.frozen = False
        self.why = "" if path else "the guest has no agent"
        self._path = path

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        """Have them at rest in the block, if the guest can."""
        if self._path is None:
            yield
            return
        agent = _Agent(self._path)
        try:
            try:
                agent.connect()
                agent.call("guest-fsfreeze-freeze", FREEZE_SECONDS)
                self.frozen = True
            except GuestAgentFailed as err:
                self.why = err.message
            yield
        finally:
            # It may have frozen some of them, or all of them too late for us.
            _thaw(agent)


def answers(path: str) -> bool:
    """Whether the guest has an agent that answers."""
    found = _Agent(path)
    try:
        found.connect()
    except GuestAgentFailed:
        return False
    finally:
        found.close()
    return True


def thaw(path: str | None) -> None:
    """Have a guest go on whose file systems somebody has frozen who was killed."""
    if path is None:
        return
    agent = _Agent(path)
    try:
        agent.connect()
    except GuestAgentFailed as err:  # as without an agent
        logging.info("%s", err)
    _thaw(agent)


def _thaw(agent: _Agent) -> None:
    try:
        if agent.connected:
            agent.call("guest-fsfreeze-thaw", FREEZE_SECONDS)
    except GuestAgentFailed as err:
        logging.warning("%s", err)
    finally:
        agent.close()


class _Agent:
    def __init__(self, path: str) -> None:
        self.connected = False
        self._path = path
        self._rest = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def connect(self) -> None:
        """See that an agent is there; raises `GuestAgentFailed`."""
        number = int.from_bytes(os.urandom(4), "big")
        end = time.monotonic() + HERE_SECONDS
        try:
            self._socket.settimeout(HERE_SECONDS)
            self._socket.connect(self._path)
        except OSError as err:
            raise GuestAgentFailed(
                "the guest's agent cannot be reached: %s" % in_words(err)
            ) from err
        self._send(_DELIMITER, "guest-sync-delimited", id=number)
        self._line(_DELIMITER, end)
        if self._answer(end) != number:
            raise GuestAgentFailed("the guest's agent answers another question")
        self.connected = True

    def close(self) -> None:
        self._socket.close()

    def call(self, command: str, seconds: float) -> Any:
        """Run a command; raises `GuestAgentFailed`."""
        self._send(b"", command)
        return self._answer(time.monotonic() + seconds)

    def _send(self, before: bytes, command: str, **arguments: Any) -> None:
        request = {"execute": command, **({"arguments": arguments} if arguments else {})}
        try:
            self._socket.sendall(before + json.dumps(request).encode() + b"\n")
        except OSError as err:
            raise GuestAgentFailed(
                "the guest's agent cannot be reached: %s" % in_words(err)
            ) from err

    def _answer(self, end: float) -> Any:
        try:
            said = decode.plain(self._line(b"\n", end), longest=_LONGEST)
        except NotUnderstood as err:
            raise GuestAgentFailed("the guest's agent: %s" % err.detail) from err
        if not isinstance(said, dict) or "return" not in said:
            raise GuestAgentFailed("the guest's agent refuses: %s" % decode.printable(str(said)))
        return said["return"]

    def _line(self, mark: bytes, end: float) -> bytes:
        """What comes before the next mark."""
        while mark not in self._rest:
            left = end - time.monotonic()
            try:
                if left <= 0:
                    raise TimeoutError
                self._socket.settimeout(left)
                data = self._socket.recv(4096)
            except TimeoutError:
                raise GuestAgentFailed("the guest's agent does not answer") from None
            except OSError as err:
                raise GuestAgentFailed(
                    "the guest's agent cannot be reached: %s" % in_words(err)
                ) from err
            if not data:
                raise GuestAgentFailed("the guest's agent has hung up")
            self._rest += data
            if len(self._rest) > _LONGEST:
                raise GuestAgentFailed("the guest's agent does not come to an end")
        line, _, self._rest = self._rest.partition(mark)
        return line
