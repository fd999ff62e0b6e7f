"""What can go wrong in the testbed, as data; the command line makes the text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .command import CompletedCommand

TAIL_CHARACTERS = 2000


def tail(text: str, limit: int = TAIL_CHARACTERS) -> str:
    """The end of an output, which is where a command says why it failed."""
    text = text.strip()
    return text if len(text) <= limit else "…" + text[-limit:]


class TestbedError(Exception):
    """The thing and the cause in `message`, the next step in `hint`."""

    __test__ = False  # pytest takes classes named Test* for test cases

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return "%s; %s" % (self.message, self.hint) if self.hint else self.message


class UnexpectedExit(TestbedError):
    """A command ended with an exit code that was not asked for."""

    def __init__(self, completed: CompletedCommand, *, hint: str = "") -> None:
        super().__init__(completed.describe(), hint=hint)
        self.completed = completed


class CommandTimeout(UnexpectedExit):
    """A command was killed because its time was over."""
