"""How the demonstration fails, as data; the command line makes the text."""

from __future__ import annotations

from testbedlib import TestbedError


class DemoFailed(TestbedError):
    """What was seen is not what a step is to show.

    `evidence` is what was seen; `line` the line of the guest's console, counted
    from 0, where it went wrong, if that is known.
    """

    def __init__(self, message: str, *, evidence: str = "", line: int | None = None) -> None:
        super().__init__(message)
        self.evidence = evidence
        self.line = line
