"""Queries sources repeatedly, each in its own thread, and passes on their answers.

A source that hangs does not delay the others; instead of an answer the page shows how long it has
been silent.  While nobody views the page, all are queried rarely, because glusterd blocks other
commands while it answers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.web.facts import Part, encode

#: Seconds after which a source that does not answer is reported.
SILENCE = 30.0
#: Seconds for which somebody who has asked for a page counts as looking at it.
ATTENTION = 120.0
#: Seconds between two questions while nobody looks.
IDLE = 300.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FactSource:
    """Something to ask every so many seconds while somebody looks.

    `ask` returns facts, or a Part where they are older than the question; `extra`
    makes a further part of the answer.
    """

    name: str
    ask: Callable[[], Any]
    every: float
    extra: Callable[[Any], tuple[str, Any] | None] | None = None


class Background:
    """Asks all `sources`; `send` gets each answer as a line (see facts.encode).

    `send` is called from several threads, one at a time.
    """

    def __init__(
        self,
        sources: list[FactSource],
        send: Callable[[bytes], None],
        *,
        silence: float = SILENCE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sources = sources
        self._send = send
        self._silence = silence
        self._clock = clock
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._wake = {source.name: threading.Event() for source in sources}
        self._looked = time.monotonic()
        #: One question at a time: a later answer is never replaced by an earlier one.
        self._turns = {source.name: threading.Lock() for source in sources}
        self._told: dict[str, Any] = {}
        self._since: dict[str, float] = {}

    def start(self) -> None:
        """Begin; returns at once."""
        for source in self._sources:
            threading.Thread(
                target=self._work, args=(source,), name="ask-%s" % source.name, daemon=True
            ).start()
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def stop(self) -> None:
        """Ask no more; does not wait for those that are being asked."""
        self._stop.set()
        self._wake_all()

    def look(self) -> None:
        """Somebody looks: ask as often as is due, and at once after a time of idleness."""
        idle = not self._looking()
        self._looked = time.monotonic()
        if idle:
            self._wake_all()

    def refresh(self, name: str) -> None:
        """Ask one source now, and pass its answer on before this returns."""
        self._ask_and_pass(next(one for one in self._sources if one.name == name))

    def wake(self) -> None:
        """Something has changed: ask all sources soon."""
        self._wake_all()

    def _looking(self) -> bool:
        return time.monotonic() - self._looked < ATTENTION

    def _wake_all(self) -> None:
        for event in self._wake.values():
            event.set()

    def _work(self, source: FactSource) -> None:
        wake = self._wake[source.name]
        while not self._stop.is_set():
            wake.clear()
            self._ask_and_pass(source)
            wake.wait(source.every if self._looking() else IDLE)

    def _ask_and_pass(self, source: FactSource) -> None:
        with self._turns[source.name]:
            self._since[source.name] = time.monotonic()
            part = self._ask(source)
            self._since.pop(source.name, None)
            self._pass(source.name, part)
            if source.extra and part.data is not None:
                more = source.extra(part.data)
                if more:
                    self._pass(more[0], Part(more[1], part.at))

    def _ask(self, source: FactSource) -> Part:
        started = self._clock()
        try:
            answer = source.ask()
            # The answer was true when it was requested, not when it arrived.
            return answer if isinstance(answer, Part) else Part(answer, started)
        except GanetiGlusterError as err:
            return Part(error=str(err))
        except Exception as err:  # the thread's edge: it goes on, and the page says why
            log.warning("%s: %s", source.name, err, exc_info=not _is_expected(err))
            return Part(error=str(err) or type(err).__name__)

    def _pass(self, name: str, part: Part) -> None:
        with self._lock:
            if self._stop.is_set():
                return
            # Unchanged facts are not sent again, only that they are still valid.
            same = part.data is not None and part.data == self._told.get(name)
            if part.data is not None:
                self._told[name] = part.data
            self._send(encode(name, part, same=same))

    def _watch(self) -> None:
        """Report sources that have been silent for long, and for how long."""
        while not self._stop.wait(min(5.0, self._silence)):
            for name, since in list(self._since.items()):
                silent = time.monotonic() - since
                if silent >= self._silence:
                    self._pass(name, Part(error="no answer for %d s" % silent))


def _is_expected(err: Exception) -> bool:
    """Whether a line is enough: Ganeti's daemons and the system say what they lack."""
    return isinstance(err, OSError) or type(err).__module__.startswith("ganeti.")
