"""Operations in progress on this node: `… under_way remove|restart`, for the package's scripts.

A removal would interrupt them.  They may take hours, so the removal does not wait but is refused.
An upgrade does not disturb them, because they have loaded everything they need (`whole`).  But the
upgrade restarts the node daemon, which Ganeti's master then cannot reach for a moment, and a
migration does not survive that.
"""

from __future__ import annotations

import enum
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ganeti_gluster import constants
from ganeti_gluster.core.serve import fleet
from ganeti_gluster.core.serve.files import SHARED
from ganeti_gluster.core.snapshot import service
from ganeti_gluster.errors import GanetiGlusterError, in_words
from ganeti_gluster.tools import command, decode, processes, systemd

REMOVE, RESTART = "remove", "restart"
#: Seconds for a request of the node daemon, most of which are short; those that are not
#: outlive the daemon.
REQUEST_SECONDS = 20.0
#: Seconds for a migration to end before the daemon is not restarted at all.
MOVE_SECONDS = 300.0
#: Seconds in which Ganeti's job ends after the guest has moved; it asks all nodes for that.
SETTLE_SECONDS = 20.0
_POLL_SECONDS = 0.5
_LIST_SECONDS = 20

_WORKERS = service.UNIT % "*"
_WORKER = re.compile(r"(\S+)".join(map(re.escape, service.UNIT.split("%s"))))
#: The commands that work for long; the words after `gnt-gluster`.
_COMMANDS = ("pool", "node", "upgrade", "disk", "image", "backup", "volume")
#: The modules that are run as programs for somebody who waits for their end.
_PROGRAMS = {
    "ganeti_gluster.core.copy.program": "a copy for Ganeti",
    "ganeti_gluster.with_path": "a script of an OS definition",
    "ganeti_gluster.core.pool.agent": "work for the pool",
    "ganeti_gluster.core.pool.packages": "the upgrade of GlusterFS",
}
_LONGEST = 100
#: The exit status where something is under way, unlike that of a Python that fails.
NOT_NOW = 75


class Kind(enum.Enum):
    """What is under way, as far as it matters here."""

    WORK = "a program of its own"
    REQUEST = "a request that the node daemon answers"
    MOVE = "a migration, for which the master asks the node daemon again and again"


@dataclass(frozen=True)
class Work:
    """Something that is under way."""

    what: str
    kind: Kind = Kind.WORK


def find(
    *,
    run: Callable[..., command.CommandResult] = command.run,
    lines: Callable[[], Iterable[tuple[int, list[bytes]]]] = processes.command_lines,
    statuses: Callable[[], dict[str, dict[str, object]]] = fleet.statuses,
    daemon: Callable[[], int | None] = lambda: _number_in(constants.NODED_PID_FILE),
) -> list[Work]:
    """What is under way now."""
    under_way = list(_workers(run))
    noded = daemon()
    for pid, line in lines():
        words = [word.decode("utf-8", "replace") for word in line]
        under_way += _process(pid, words, noded)
    # Both ends of a migration share the image; a copy of one at rest does so with no client.
    both = [
        each for each in statuses().values() if each.get("mode") == SHARED and each.get("users")
    ]
    if both:
        under_way.append(Work("a migration", Kind.MOVE))
    return under_way


def _workers(run: Callable[..., command.CommandResult]) -> Iterator[Work]:
    argv = systemd.argv("list-units", "--plain", "--no-legend", "--full", _WORKERS)
    for line in run(argv, timeout=_LIST_SECONDS).stdout.splitlines():
        unit = _WORKER.match(line.strip())
        if unit:
            yield Work("work on snapshots of instance %s, unit %s" % (unit[1], unit[0]))


def _process(pid: int, words: Sequence[str], daemon: int | None) -> Iterator[Work]:
    names = [os.path.basename(word) for word in words]
    if "ganeti-noded" in names[:2]:
        # The daemon forks for each request.
        if daemon is not None and pid != daemon:
            yield Work("a request of the node daemon, process %d" % pid, Kind.REQUEST)
    elif "gnt-gluster" in names[:2]:
        rest = words[names.index("gnt-gluster") + 1 :]
        if rest and rest[0] in _COMMANDS:
            text = decode.printable(" ".join(["gnt-gluster", *rest]).strip(), longest=_LONGEST)
            yield Work("'%s', process %d" % (text, pid))
    elif names[:1] and names[0].startswith("python3") and "-m" in words[:4]:
        module = (*words[words.index("-m") + 1 :], "")[0]
        if module in _PROGRAMS:
            yield Work("%s, process %d" % (_PROGRAMS[module], pid))


def _number_in(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as stream:
            return int(stream.read())
    except (OSError, ValueError):
        return None


def wait(
    action: str, say: Callable[[str], None], look: Callable[[], list[Work]] = find
) -> list[Work]:
    """What stands in the way of an action for good."""
    began, told = time.monotonic(), False
    moved: float | None = None
    while True:
        passed = time.monotonic() - began
        under_way = [work for work in look() if _hinders(work, action, passed)]
        brief = all(work.kind is not Kind.WORK for work in under_way)
        if any(work.kind is Kind.MOVE for work in under_way):
            moved = passed
        settled = action == REMOVE or moved is None or passed - moved >= SETTLE_SECONDS
        if (not under_way and settled) or not brief or passed > _patience(action):
            return under_way
        if not told and under_way:
            say("ganeti-gluster waits for the end of %s" % under_way[0].what)
            told = True
        time.sleep(_POLL_SECONDS)


def _hinders(work: Work, action: str, passed: float) -> bool:
    if action == REMOVE or work.kind is Kind.MOVE:
        return True
    return work.kind is Kind.REQUEST and passed <= REQUEST_SECONDS


def _patience(action: str) -> float:
    return REQUEST_SECONDS if action == REMOVE else MOVE_SECONDS


def main(arguments: Sequence[str]) -> int:
    """Say in one line why it is not the time for an action; the exit status is `NOT_NOW` then."""
    if list(arguments) not in ([REMOVE], [RESTART]):
        print("usage: under_way remove|restart", file=sys.stderr)
        return 2

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    try:
        under_way = wait(arguments[0], say)
    except (GanetiGlusterError, OSError) as err:
        say("ganeti-gluster cannot tell what is under way: %s" % in_words(err))
        return 0
    if under_way:
        more = " and %d more" % (len(under_way) - 1) if under_way[1:] else ""
        what = "is not removed" if arguments[0] == REMOVE else "does not restart the node daemon"
        say("ganeti-gluster %s while this is under way: %s%s" % (what, under_way[0].what, more))
    return NOT_NOW if under_way else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
