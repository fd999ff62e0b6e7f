"""The files of a command that was begun on the page: its order, its output and its end."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ganeti_gluster import constants
from ganeti_gluster.tools.decode import Count, Moment
from ganeti_gluster.web.commands import CommandOrder

DIRECTORY = constants.RUN_DIR + "/page"
ORDER, OUTPUT, END = SUFFIXES = (".json", ".log", ".end")


@dataclass(frozen=True)
class CommandBegin:
    """What is known of a command from its beginning."""

    order: CommandOrder
    started: Moment


@dataclass(frozen=True)
class CommandEnd:
    """When and with which exit status a command ended; None if it was killed."""

    ended: Moment
    status: Count | None = None


def path(number: int, suffix: str, directory: str = DIRECTORY) -> str:
    """One of the files of a command."""
    return os.path.join(directory, "%d%s" % (number, suffix))
