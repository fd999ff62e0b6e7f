"""Whether a guest boots: by a line on its console, or by its agent's first answer."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable

from ganeti_gluster.core.backup import agent
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import decode

#: Seconds between two questions to the agent.
ASK_SECONDS = 5.0
_POLL_SECONDS = 0.2
# Of the end of what the console said: what is searched, and what is shown.
_SEARCHED, _SHOWN = 65536, 300


class DidNotBoot(GanetiGlusterError):
    """Nothing was seen of the guest's boot in time."""


def watch(
    console: str,
    agent_path: str | None,
    pattern: re.Pattern[str],
    seconds: float,
    begin: Callable[[], None],
) -> str:
    """Wait for the guest's boot, and tell by what it was seen; raises `DidNotBoot`.

    `console` is the socket of the serial console.  The guest, which does not run yet, is begun
    once somebody hears it.
    """
    end = time.monotonic() + seconds
    said, begun, asked = "", False, time.monotonic()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        heard = stream.connect_ex(console) == 0
        stream.settimeout(_POLL_SECONDS)
        while time.monotonic() < end:
            if not begun:
                begin()
                begun = True
            if heard:
                try:
                    data = stream.recv(4096)
                except TimeoutError:
                    data = b""
                else:
                    heard = bool(data)
                said = (said + data.decode("utf-8", "replace"))[-_SEARCHED:]
                found = pattern.search(said)
                if found:
                    return "the console said %r" % decode.printable(found[0])
            else:
                time.sleep(_POLL_SECONDS)
            if agent_path is not None and time.monotonic() - asked > ASK_SECONDS:
                if agent.answers(agent_path):
                    return "the guest's agent answered"
                asked = time.monotonic()
    last = decode.printable(said[-_SHOWN:]) or "nothing"
    raise DidNotBoot("no boot was seen within %d s; the console said last: %s" % (seconds, last))
