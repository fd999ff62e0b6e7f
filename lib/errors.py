"""The exceptions of this package.

Everything that can go wrong on purpose derives from `GanetiGlusterError`, so
that an edge (a command, a hook, Ganeti's `BlockDev`) catches one class and
makes one sentence of it.  An answer of libgfapi is an `OSError` with its errno
and path, as from Python's own file functions.
"""

from __future__ import annotations


class GanetiGlusterError(Exception):
    """What went wrong, and what to do about it.

    `message` names the thing and the cause, `hint` the next step (or is empty).
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return "%s; %s" % (self.message, self.hint) if self.hint else self.message


class InvalidParameter(GanetiGlusterError):
    """A name, path, size or parameter that is refused before anything is touched."""
