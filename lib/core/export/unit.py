"""The transient systemd units in which exporters run.

An exporter is never restarted: the kernel does not let another process take over the FUSE file of
a dead one.  So a device whose exporter died returns errors to its users, and the next
`Export.start` creates another one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import command, systemd

#: This package's exporter, a module that is run as a program.
EXPORTER = "ganeti_gluster.core.export.exporter"
#: The exporter is ready once its device is there.
START_SECONDS = 60
#: How long an exporter may take to flush and leave; a silent brick costs it some 40 s.
STOP_SECONDS = 60
_TIMEOUT_STOP = 50

# For every exporter.  The volume may be served by this node, and Ganeti starts
# and stops what uses the device: both orders matter when the system goes down.
_COMMON = (
    "Restart=no",
    "After=network.target glusterd.service",
    "Before=ganeti.service",
    "TimeoutStartSec=%d" % (START_SECONDS - 5),
    "TimeoutStopSec=%d" % _TIMEOUT_STOP,
    # What waits for this device may hold the memory that is missing.
    "OOMScoreAdjust=-900",
)
#: For this package's own.
EXPORTER_PROPERTIES = ("Type=notify", "NotifyAccess=main", *systemd.LOOP_EXPORTER)


def exporter_argv(volume: str, image: str, path: str, socket_path: str, seconds: int) -> list[str]:
    """This package's exporter of the image that is served at a socket, with its file at `path`.

    The volume and the image are only there to be seen in a list of processes.
    """
    return [
        sys.executable or "/usr/bin/python3",
        "-m",
        EXPORTER,
        "--volume=%s" % volume,
        "--image=%s" % image,
        "--path=%s" % path,
        "--socket=%s" % socket_path,
        "--seconds=%d" % seconds,
    ]


def start(
    name: str, description: str, argv: Sequence[str], properties: Sequence[str], run: command.Run
) -> None:
    """Start a unit; returns when it is ready, raises `GanetiGlusterError` if it ended."""
    try:
        run(start_argv(name, description, argv, properties), timeout=START_SECONDS)
    except command.CommandFailed as err:
        if err.exit_code is None:
            raise
        reason = (
            systemd.last_words(name, run=run) or err.output or ("its exporter ended immediately")
        )
        raise GanetiGlusterError(reason) from err


def start_argv(
    name: str, description: str, argv: Sequence[str], properties: Sequence[str]
) -> list[str]:
    """The command that starts a unit and returns when it is ready."""
    return systemd.run_argv(name, description, argv, properties=(*_COMMON, *properties))
