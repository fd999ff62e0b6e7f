"""Commands that were begun on the page: each runs in a systemd unit of its own.

It continues whatever becomes of the page.  Its order, its output and its end are in files, so that
a page that is started again shows it.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from ganeti_gluster.core import plans
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import command, decode, private, systemd
from ganeti_gluster.tools.decode import NotUnderstood
from ganeti_gluster.web.commands import KINDS, CommandOrder
from ganeti_gluster.web.facts import CommandsFacts, ShownCommand
from ganeti_gluster.web.run_files import (
    DIRECTORY,
    END,
    ORDER,
    OUTPUT,
    SUFFIXES,
    CommandBegin,
    CommandEnd,
    path,
)

UNIT = "ganeti-gluster-page-%d.service"
#: The program that the unit runs, to which the number is added.
PROGRAM = ("/usr/bin/python3", "-P", "-m", "ganeti_gluster.web.run_command")

#: Commands that are remembered, and those that may run at the same time.
MAX_COMMANDS = 50
MAX_RUNNING = 8
#: Commands that the page shows, and the lines that it shows of each.
SHOWN = 20
LINES = 200
_LONGEST_LOG = 64 * 1024
_SECONDS = 15


class CommandRefused(GanetiGlusterError):
    """The command is not begun."""


class Runs:
    """All commands; thread-safe.  `on_begin` and `on_end` are called when one has."""

    def __init__(
        self,
        *,
        run: command.Run = command.run,
        directory: str = DIRECTORY,
        clock: Callable[[], float] = time.time,
        on_begin: Callable[[], None] = lambda: None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._run = run
        self._directory = directory
        self._clock = clock
        self.on_begin = on_begin
        self.on_end = on_end
        self._lock = threading.Lock()
        self._running: set[int] = set()
        self._last = 0

    def begin(self, order: CommandOrder) -> int:
        """Start a command, and return its number at once.

        Raises `CommandRefused` while the same one runs, and while many do.
        """
        with self._lock:
            running = [one for one in self._all() if one.running]
            for one in running:
                if replace(one.order, user="") == replace(order, user=""):
                    raise CommandRefused(
                        "%s has already begun: %s" % (one.order.user, order.title),
                        hint="wait until it has finished",
                    )
            if len(running) >= MAX_RUNNING:
                raise CommandRefused(
                    "%d commands are running" % len(running), hint="wait until one has finished"
                )
            # No number is used twice: a unit that systemd was asked for may begin late.
            number = self._last = max(self._last, *self._numbers(), 0) + 1
            begun = decode.as_data(CommandBegin(order, self._clock()))
            private.write_json(path(number, ORDER, self._directory), begun)
            private.touch(path(number, OUTPUT, self._directory))
            argv = systemd.run_argv(
                UNIT % number,
                "%s, for %s (web page)" % (order.title, order.user),
                [*PROGRAM, str(number)],
                properties=systemd.PAGE_COMMAND,
            )
            try:
                self._run(argv, timeout=_SECONDS)
            except GanetiGlusterError:
                if not self._has_begun(number):
                    self._forget(number)
                    raise
            for old in sorted(self._numbers())[:-MAX_COMMANDS]:
                if old not in {one.number for one in running}:
                    self._forget(old)
        self.on_begin()
        return number

    def facts(self) -> CommandsFacts:
        """The latest commands, the newest first; calls `on_end` where one has ended since."""
        with self._lock:
            shown = list(self._all())
            running = {one.number for one in shown if one.running}
            ended = self._running - running
            self._running = running
        if ended:
            self.on_end()
        return CommandsFacts(tuple(shown))

    def _all(self) -> Iterator[ShownCommand]:
        """The latest ones, the newest first, and all that run."""
        for place, number in enumerate(sorted(self._numbers(), reverse=True)):
            # One of another release is not shown.
            with contextlib.suppress(FileNotFoundError, NotUnderstood):
                if place >= SHOWN and self._end(number) is not None:
                    continue
                shown = self._read(number)
                if shown.order.kind in KINDS:
                    yield shown

    def _read(self, number: int) -> ShownCommand:
        with open(path(number, ORDER, self._directory), encoding="utf-8") as stream:
            begun = decode.build(CommandBegin, json.load(stream))
        ended = self._end(number)
        lines = self._log(number)
        done = ended is not None and ended.status == 0
        return ShownCommand(
            number,
            begun.order,
            begun.started,
            ended=None if ended is None else ended.ended,
            status=None if ended is None else ended.status,
            lines=tuple(lines[-LINES:]),
            shows=plans.shown_in(lines) if done and begun.order.dry_run else "",
        )

    def _end(self, number: int) -> CommandEnd | None:
        """How it ended, None if it has not; without a status if nobody could say."""
        told = self._told(number)
        if told is None and not self._is_running(number):
            # It may have ended just now.
            last = os.path.getmtime(path(number, OUTPUT, self._directory))
            told = self._told(number) or CommandEnd(last, None)
        return told

    def _told(self, number: int) -> CommandEnd | None:
        try:
            with open(path(number, END, self._directory), encoding="utf-8") as stream:
                return decode.build(CommandEnd, json.load(stream))
        except FileNotFoundError:
            return None

    def _is_running(self, number: int) -> bool:
        state = systemd.state(UNIT % number, timeout=_SECONDS, run=self._run)
        return state not in ("inactive", "failed", "")

    def _has_begun(self, number: int) -> bool:
        """Whether it runs although systemd did not say so in time."""
        try:
            return self._is_running(number)
        except GanetiGlusterError:
            return False

    def _log(self, number: int) -> list[str]:
        with open(path(number, OUTPUT, self._directory), "rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _LONGEST_LOG))
            text = stream.read().decode("utf-8", "replace")
        return [decode.printable(line) for line in text.splitlines()]

    def _numbers(self) -> set[int]:
        try:
            names = os.listdir(self._directory)
        except FileNotFoundError:
            return set()
        stems = {name.removesuffix(ORDER) for name in names if name.endswith(ORDER)}
        return {int(stem) for stem in stems if stem.isdecimal()}

    def _forget(self, number: int) -> None:
        for suffix in SUFFIXES:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path(number, suffix, self._directory))
