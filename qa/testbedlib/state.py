"""What a testbed was asked to be, kept in its directory; and its lock.

What is running is never written down: the kernel is asked.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import TestbedError
from .layout import Layout

FORMAT = 1
BUILDING = "building"
READY = "ready"


@dataclass(frozen=True)
class State:
    """The wish (`suite` to `brick_gib`), what it was made of, how far `up` came."""

    suite: str
    nodes: int
    bare: bool
    brick_gib: int
    tree: str
    project: str
    stage: str = BUILDING
    format: int = FORMAT

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def describe(self) -> str:
        return "%d %s %snodes" % (self.nodes, self.suite, "bare " if self.bare else "")


def parse(text: str) -> State:
    """The state in `text`; raises TestbedError for anything but this format."""
    try:
        data = json.loads(text)
        if data.get("format") != FORMAT:
            raise ValueError("format %r, not %d" % (data.get("format"), FORMAT))
        return State(**data)
    except (ValueError, TypeError, AttributeError) as err:
        raise TestbedError(
            "the testbed's state cannot be read: %s" % err, hint="remove it with: qa/testbed down"
        ) from err


def load(layout: Layout) -> State | None:
    """The state of this testbed, None if there is none."""
    try:
        return parse(layout.state_file.read_text())
    except FileNotFoundError:
        return None


def require(layout: Layout) -> State:
    """The state of this testbed; raises TestbedError if there is none."""
    found = load(layout)
    if found is None:
        raise TestbedError(
            "there is no testbed %r" % layout.name, hint="make one with: qa/testbed up"
        )
    return found


def save(layout: Layout, state: State) -> None:
    """Write the state so that a reader sees the old or the new one, whole."""
    layout.directory.mkdir(parents=True, exist_ok=True)
    temporary = layout.state_file.with_suffix(".new")
    temporary.write_text(state.to_json())
    os.replace(temporary, layout.state_file)


@contextlib.contextmanager
def exclusive(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file `path`; the kernel gives it back if we die.

    If another process holds it, `waiting` is called, which raises or says that
    it takes a while.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", encoding="ascii") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(lock, fcntl.LOCK_EX)
            # its last holder may have removed the file that we waited for
            if path.exists() and os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                yield
                return
