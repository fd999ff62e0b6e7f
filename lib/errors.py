"""The exceptions of this package.

Every expected error derives from `GanetiGlusterError`, so that an edge (a command, a hook,
Ganeti's `BlockDev`) catches one class and makes one sentence of it.  An error of libgfapi is an
`OSError` with its errno and path, as from Python's own file functions.
"""

from __future__ import annotations

from collections.abc import Sequence


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


def in_words(err: Exception) -> str:
    """What went wrong, for people: of an OSError its file and reason, without its number."""
    if not isinstance(err, OSError) or not err.strerror:
        return str(err)
    return "%s: %s" % (err.filename, err.strerror) if err.filename else err.strerror


def before(cause: BaseException | None) -> str:
    """The beginning of a sentence about an earlier error, "" if that has no text."""
    if isinstance(cause, GanetiGlusterError):
        return "%s; and " % cause.message
    return "%s; and " % in_words(cause) if isinstance(cause, OSError) else ""


class PatchRefused(Exception):
    """Why a module of Ganeti is left as it is; never raised to a caller of Ganeti's."""


class InvalidParameter(GanetiGlusterError):
    """A name, path, size or parameter that is refused before anything is touched."""


class LibraryMissing(GanetiGlusterError):
    """libgfapi, or the gfapi package that loads it, is not installed or too old."""


class ConnectError(GanetiGlusterError):
    """A volume could not be connected; the subclasses say why.

    `volume` is its name, `servers` the servers that were tried, each with what
    it answered.
    """

    def __init__(
        self,
        message: str,
        *,
        volume: str,
        servers: Sequence[tuple[str, str]] = (),
        hint: str = "",
    ) -> None:
        if servers:
            message += ": " + ", ".join("%s: %s" % pair for pair in servers)
        super().__init__(message, hint=hint)
        self.volume = volume
        self.servers = tuple(servers)


class VolumeUnreachable(ConnectError):
    """No server of the volume answered in time."""


class VolumeNotFound(ConnectError):
    """The servers answer, and know no volume of this name."""


class VolumeNotServing(ConnectError):
    """The volume exists, but too few of its bricks answer: stopped or no quorum."""


class ConnectionOfParent(GanetiGlusterError):
    """A connection of the parent process was used after a fork.

    libgfapi's threads do not survive a fork: the call would wait for ever.
    """


class NoSpace(GanetiGlusterError):
    """The volume has less free space than asked for; nothing was changed.

    `needed` and `free` are bytes.
    """

    def __init__(self, message: str, *, needed: int, free: int) -> None:
        super().__init__(message)
        self.needed = needed
        self.free = free


class TookTooLong(GanetiGlusterError):
    """Setting space aside took longer than Ganeti waits for it; it was undone."""


class IncompleteImage(GanetiGlusterError):
    """An operation failed, and what it had made could not be undone.

    `path` is the image that is left on the volume; the operation's own error is
    the cause (`__cause__`).
    """

    def __init__(self, message: str, *, path: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path


class CopyFailed(GanetiGlusterError):
    """A copy did not come to its end; what it had made is removed."""


class ChecksumMismatch(CopyFailed):
    """What a copy wrote reads back as something else; it is removed."""
