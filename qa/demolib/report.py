"""What the demonstration says: a line for each step, and the running one's progress."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

TITLE_COLUMNS = 42
TICK_SECONDS = 0.25
BEGIN_LINE = "\r\033[K"

# How the testbed says that a part is done.
_TIMED = re.compile(r"(?P<what>.*): (?P<seconds>\d+(?:\.\d+)?) s\Z")


def step_line(title: str, seconds: float, seen: str = "") -> str:
    """One step that is done::

    add the instance                              4.6 s  on node1, 1024 MiB
    """
    return ("  %-*s %6.1f s  %s" % (TITLE_COLUMNS, title, seconds, seen)).rstrip()


def part_line(said: str) -> str:
    """A line of the testbed, in the columns of the steps if it has its seconds."""
    found = _TIMED.match(said.strip())
    if not found:
        return "    " + said.strip()
    return "    %-*s %6.1f s" % (TITLE_COLUMNS - 2, found["what"], float(found["seconds"]))


class DemoStep:
    """A step that is being done; `seen` is shown at its end, `progress` meanwhile."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.started = time.monotonic()
        self.seen = ""
        self.progress: Callable[[], str] = str

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


class DemoReport:
    """Writes to `stream`; on a terminal, with a line that shows the running step."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._lock = threading.Lock()
        self.running: DemoStep | None = None

    def say(self, line: str) -> None:
        """One line, for good."""
        with self._lock:
            self._write("%s%s\n" % (BEGIN_LINE if self._live else "", line))

    def part(self, said: str) -> None:
        """A line that the testbed says within a step."""
        if said.startswith("testbed "):  # of itself it speaks at the step's end
            return
        line = part_line(said)
        # How far the tree's packages are is of no interest later.
        if self._live and self.running and re.match(r"\s*\d+ s: ", said):
            progress = said.partition(": ")[2]
            self.running.progress = lambda: progress
        else:
            self.say(line)

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[DemoStep]:
        """Say the step with its seconds when it is done, or has failed."""
        step = self.running = DemoStep(title)
        done = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(step, done), daemon=True)
        if self._live:
            ticker.start()
        try:
            yield step
        except BaseException as err:
            failed = "FAILED" if isinstance(err, Exception) else "interrupted"
            self._finish(ticker, done, step_line(title, step.seconds, failed))
            raise
        self._finish(ticker, done, step_line(title, step.seconds, step.seen))
        self.running = None

    def _finish(self, ticker: threading.Thread, done: threading.Event, line: str) -> None:
        done.set()
        if ticker.is_alive():
            ticker.join(5)
        self.say(line)

    def _tick(self, step: DemoStep, done: threading.Event) -> None:
        while not done.wait(TICK_SECONDS):
            columns = shutil.get_terminal_size().columns
            line = step_line(step.title, step.seconds, step.progress())[: columns - 1]
            with self._lock:
                self._write(BEGIN_LINE + line)

    def _write(self, text: str) -> None:
        # Whoever listened may have gone; there is still something to take down.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()
