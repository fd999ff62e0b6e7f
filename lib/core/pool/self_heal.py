"""The self-heal daemon of a node, which heals the bricks there from others."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

from ganeti_gluster.tools.processes import command_lines

NAME = [b"--process-name", b"glustershd"]


def end() -> int:
    """Kill this node's, which may hang; how many there were.

    It has nothing that is lost with it; bricks give up its locks.  glusterd starts it
    again for `gluster volume start VOLUME force`.
    """
    ended = 0
    for pid in list(_processes()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            ended += 1
    return ended


def _processes() -> Iterator[int]:
    for pid, words in command_lines():
        if os.path.basename(words[0]) == b"glusterfs" and any(
            words[at : at + 2] == NAME for at in range(len(words))
        ):
            yield pid
