"""The agent's process: small, resident on each node, and asleep but for a moment each minute.

It has loaded what its work needs, and does none of it itself.  Each piece of work is done by a
child that it forks, which takes a millisecond or two where a new Python would take hundreds;
what a child leaves behind, or hangs in, ends with it and holds nothing else up:

- what the node measures (`agent`), with what the look before found and nothing tells to be
  another now, which it keeps for the next child, as bytes, without looking into them;
- clearing up where images are open, or snapshots were taken: guests whose images other nodes
  have are ended, and what ended workers of snapshots left is taken away;
- a restart of the self-heal daemon, where that has lost a brick for good (`heal_watch`);
- the states of the services, when systemd tells that one has changed, for the master's question;
- on the master, the sync of the services, and the start of the unit that carries out the
  schedules of backups, once one of them has something to do.

What it has loaded may be replaced: by an upgrade of this package, of Ganeti, or of GlusterFS.
A master has loaded Ganeti's RPC, which other nodes do without.  So where one of these changes,
it ends, and systemd starts it again.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import NoReturn

from ganeti_gluster import constants
from ganeti_gluster.core import this_node
from ganeti_gluster.core.backup import scheduled_unit
from ganeti_gluster.core.pool import heal_watch
from ganeti_gluster.core.serve import files
from ganeti_gluster.core.services import node as on_node
from ganeti_gluster.core.services import prepared
from ganeti_gluster.core.services.systemd import Systemd
from ganeti_gluster.core.verify import expected_volumes
from ganeti_gluster.core.verify.gather import GLUSTERFS
from ganeti_gluster.core.verify.keep import Keep
from ganeti_gluster.core.verify.stamps import of_file
from ganeti_gluster.monitoring import agent
from ganeti_gluster.tools import children, private, processes
from ganeti_gluster.tools.children import Child
from ganeti_gluster.tools.ini import InvalidConfiguration
from ganeti_gluster.tools.unit_signals import Signals

#: Seconds from one look to the next, and after the start of the system before the first.
EVERY = 60.0
BOOT_SECONDS = 60.0
#: Seconds that each piece of work may take.
MEASURE_SECONDS = 90.0
CLEAR_SECONDS = 60.0
HEAL_SECONDS = 600.0
SERVICES_SECONDS = 20.0
SYNC_SECONDS = 300.0
BACKUPS_SECONDS = 60.0
#: Seconds after a look at the services before the next: a service that fails again and again
#: makes signals without end.
PAUSE = 2.0

MEASURE, CLEAR, SERVICES, SYNC = "measure", "clear up", "services", "sync"
HEAL, BACKUPS = "self-heal daemon", "schedules of backups"

#: What systemd starts again; see the unit's RestartForceExitStatus.
ANEW = 75

GANETI = "/usr/share/ganeti/default"
_SOFTWARE = (
    __file__,
    os.path.join(os.path.dirname(os.path.dirname(__file__)), "__init__.py"),
    GANETI + "/ganeti/constants.py",
    GANETI + "/ganeti/_constants.py",
    GLUSTERFS,
    constants.DISABLED_FILE,
)


def software() -> object:
    """What this process has loaded, or had loaded if it began now."""
    return (
        os.path.realpath(GANETI),
        *map(of_file, _SOFTWARE),
        os.path.isdir(agent.TEXTFILE_DIR),  # the unit may write there only if it was there
        this_node.is_master(),
    )


#: In the place of an answer that a child is looking for.
_LOOKING = b"looking"
# What a child answers who finds a configuration that cannot be used.
_INVALID = b"invalid"


class Ended(BaseException):
    """This process is to end."""


@dataclass
class Resident:
    """The loop; `kept` is what the last child that measured has left for the next."""

    master: bool
    #: The descriptor of the agent's lock, which children must not keep.
    lock: int
    kept: bytes = b""
    children: dict[str, Child] = field(default_factory=dict)
    #: When each is to be done next, by the monotonic clock.
    due: dict[str, float] = field(default_factory=dict)
    signals: Signals | None = None
    #: The last answer about services, and what it depends on; none while something may be
    #: another since.
    answer: bytes = b""
    stamp: object = None
    alarm: scheduled_unit.Alarm = field(default_factory=scheduled_unit.Alarm)

    def run(self) -> NoReturn:
        """Work until there is a reason to end; raises `Ended` with the exit status."""
        began_as = software()
        now = time.monotonic()
        first = now + max(0.0, BOOT_SECONDS - _system_runs_for())
        self.due = {MEASURE: first, **({SYNC: first} if self.master else {})}
        self._listen()
        check = now + EVERY
        while True:
            self._wait(min(check, *self.due.values()))
            if time.monotonic() >= check:
                check = time.monotonic() + EVERY
                if not this_node.in_cluster():
                    raise Ended(0)
                if software() != began_as:
                    raise Ended(ANEW)
                self._refresh()
                if files.served() or _snapshots():
                    self._begin(CLEAR, _clear_up, CLEAR_SECONDS)
                if heal_watch.is_due():
                    self._begin(HEAL, _repair_self_heal, HEAL_SECONDS)
                if self.master and self.alarm.rings(time.time()):
                    self._begin(BACKUPS, _start_backups, BACKUPS_SECONDS)
            if self._is_due(MEASURE):
                self._begin(MEASURE, lambda: _measure(self.kept), MEASURE_SECONDS, EVERY)
            if self._is_due(SYNC):
                self._begin(SYNC, _sync, SYNC_SECONDS, float(prepared.configuration().interval))
            if self._is_due(SERVICES):
                self.stamp, self.answer = prepared.stamp(), _LOOKING
                self._begin(SERVICES, _services, SERVICES_SECONDS)

    def end(self) -> None:
        """End the children, and have nothing ready any more."""
        prepared.take_away()
        for child in self.children.values():
            child.kill()

    # The services' states

    def _listen(self) -> None:
        """Hear of changes of the services' units from now on; without the bus, of none."""
        self._stop_listening()
        signals = Signals(prepared.units(prepared.configuration()))
        try:
            signals.open()
        except OSError as err:
            print("systemd's signals are not heard: %s" % err, file=sys.stderr)
            signals.close()
            return
        self.signals = signals
        self._changed()

    def _stop_listening(self) -> None:
        """Nothing is ready where nobody tells of changes."""
        if self.signals is not None:
            self.signals.close()
        self.signals = None
        prepared.take_away()
        self.answer = b""
        self.due.pop(SERVICES, None)

    def _hear(self) -> None:
        """Take what systemd tells."""
        if self.signals is None:
            return
        try:
            if self.signals.heard():
                self._changed()
        except OSError as err:
            print("systemd's signals are not heard any more: %s" % err, file=sys.stderr)
            self._stop_listening()  # until the next minute

    def _changed(self) -> None:
        """What is ready, or is being looked at, may be wrong by now."""
        prepared.take_away()
        self.answer = b""
        if SERVICES not in self.children:
            self.due.setdefault(SERVICES, time.monotonic())

    def _refresh(self) -> None:
        """Each minute: what is ready stays so, or is looked at again."""
        if self.signals is None or self.stamp != prepared.stamp():
            self._listen()
        elif self.answer not in (b"", _LOOKING):
            prepared.write(json.loads(self.answer))
        else:  # it could not be told, or a service was on its way
            self._changed()

    def _take_services(self, answer: bytes | None) -> None:
        """A look has ended; it is of no use where something was told since it began."""
        if self.answer != _LOOKING:
            if self.signals is not None:
                self.due[SERVICES] = time.monotonic() + PAUSE
            return
        self.answer = b""
        if answer and prepared.settled(json.loads(answer)):
            self.answer = answer
            prepared.write(json.loads(answer))

    # Children

    def _is_due(self, name: str) -> bool:
        return time.monotonic() >= self.due.get(name, float("inf"))

    def _begin(
        self, name: str, work: Callable[[], bytes], seconds: float, every: float | None = None
    ) -> None:
        """Have a child do it, unless the last one of its kind is there still.

        The next time is after `every` seconds.
        """
        now = time.monotonic()
        if every is None:
            self.due.pop(name, None)
        else:
            self.due[name] = max(self.due[name] + every, now + every / 2)
        if name in self.children:
            return
        others = [each for child in self.children.values() for each in (child.pipe, child.process)]
        bus = [self.signals.fileno()] if self.signals else []
        closed = [self.lock, *others, *bus]
        self.children[name] = children.start(name, work, seconds=seconds, closed=closed)

    def _wait(self, until: float) -> None:
        """Wait until something is due, or told; take what children and systemd tell."""
        bus = [(self.signals.fileno(), self.signals.events)] if self.signals else []
        children.wait(self.children.values(), bus, until)
        self._hear()
        for name, child in list(self.children.items()):
            if children.ended(child):
                del self.children[name]
                self._take(name, child.end())
            elif child.late():
                print("%s: not done in time" % name, file=sys.stderr)
                child.kill()
            elif not child.killed:
                child.take()

    def _take(self, name: str, answer: bytes | None) -> None:
        if name == SERVICES:
            self._take_services(answer)
        elif name == MEASURE and answer is not None:
            self.kept = answer
        elif name == BACKUPS and answer == _INVALID:
            self.alarm.mute()


# What children do


def _measure(kept: bytes) -> bytes:
    keep = Keep(pickle.loads(kept) if kept else {})
    agent.write_files(agent.collect(keep))
    # Of a look that hangs a thread may be there still.
    return pickle.dumps(dict(keep.found))


def _snapshots() -> bool:
    """Whether snapshots have left their marks."""
    with contextlib.suppress(FileNotFoundError):
        return bool(os.listdir(constants.SNAPSHOT_DIR))
    return False


def _clear_up() -> bytes:
    agent.clear_up()
    return b""


def _repair_self_heal() -> bytes:
    ours = {spec.name for spec in expected_volumes.specs(expected_volumes.load(this_node.name()))}
    heal_watch.Repair(ours, lambda text: print(text, file=sys.stderr)).run()
    return b""


def _services() -> bytes:
    answer = on_node.status(prepared.configuration(), Systemd(), master=on_node.known_master())
    return json.dumps(answer).encode()


def _sync() -> bytes:
    from ganeti_gluster.cmdlib import services_sync

    services_sync.main(prepared=True)
    return b""


def _start_backups() -> bytes:
    try:
        scheduled_unit.start()
    except InvalidConfiguration as err:
        print(err, file=sys.stderr)
        return _INVALID
    return b""


# The process


def _system_runs_for() -> float:
    """Seconds since the system began; of a container, since that did."""
    began = int(processes.stat_of(1)[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began


def _load() -> bool:
    """Load what children need, so that none of them does; whether this is the master."""
    # Ganeti's commands run from this directory, which therefore comes first.
    sys.path.insert(0, os.path.realpath(GANETI))
    master = this_node.is_master()
    if master:
        from ganeti_gluster.cmdlib import cluster_config, restricted, services_sync  # noqa: F401
    else:
        # Whoever is the master later has to ask the others what happened meanwhile.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(constants.SERVICES_MASTER)
    return master


def _end(number: int, frame: FrameType | None) -> None:
    raise Ended(0)


def main() -> int:
    """What the unit runs; the exit status."""
    if not this_node.in_cluster():
        return 0
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    try:
        with private.locked(constants.AGENT_LOCK, seconds=0) as lock:
            resident = Resident(_load(), lock=lock)
            gc.collect()
            gc.freeze()  # what all children share
            try:
                resident.run()
            finally:
                resident.end()
    except Ended as ended:
        return int(ended.args[0])
    except BlockingIOError:
        print("the agent runs already", file=sys.stderr)
        return 1
