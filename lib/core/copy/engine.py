"""The copy itself: threads that each read a piece, look for zeroes and write.

Each thread has one buffer, so memory is threads times `PIECE` whatever the size.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ganeti_gluster.constants import MIB
from ganeti_gluster.core.copy.interface import PARTIAL, Source, Stream, Target
from ganeti_gluster.core.copy.pieces import Checksum
from ganeti_gluster.core.copy.pipeline import Pipeline, StillRunning
from ganeti_gluster.core.copy.progress import COPYING, VERIFYING, Callback, Pace
from ganeti_gluster.errors import (
    ChecksumMismatch,
    CopyFailed,
    GanetiGlusterError,
    IncompleteImage,
    before,
)

DEFAULT_THREADS = 8


@dataclass(frozen=True)
class Options:
    """How to copy.

    `threads` pieces are on their way at a time.  `limit` is in bytes a second.
    `progress` is called in the calling thread every `interval` seconds; what it
    raises ends the copy, which is then undone.  With `checksum` all is read back
    and compared before the target gets its name.  `confirm` is called right before
    that, and raises where the source may have changed.  A copy of which nothing moves for
    `patience` seconds is given up.
    """

    threads: int = DEFAULT_THREADS
    limit: int | None = None
    progress: Callback | None = None
    interval: float = 0.5
    checksum: bool = False
    confirm: Callable[[], None] | None = None
    patience: float | None = None


class CopyResult(NamedTuple):
    """A copy that is whole and synced.

    `size` is the target's, `data` the bytes that were written, `cloned` whether
    the bricks shared the blocks instead, `checksum` that of both if asked for.
    """

    size: int
    data: int
    seconds: float
    cloned: bool
    checksum: str | None


def copy(source: Source | Stream, target: Target, options: Options | None = None) -> CopyResult:
    """Copy all of `source` to `target`; it is synced when this returns.

    A failure, and an exception from a signal handler as well, removes what was
    made; an `OSError` becomes `CopyFailed`, or `ChecksumMismatch` where what was
    read back differs.  Raises `IncompleteImage` where something could not be
    removed.
    """
    options = options or Options()
    run = _Run(source, target, options)
    try:
        return run.whole()
    except BaseException as err:
        gone = _take_back(target, err)
        if isinstance(err, OSError):
            raise _failure(run, err, gone) from err
        raise


class _Run:
    def __init__(self, source: Source | Stream, target: Target, options: Options) -> None:
        self.source = source
        self.target = target
        self.done = 0
        self._options = options
        self._pace = Pace(options.limit)
        self._threads = 1 if options.limit and options.limit < MIB else options.threads

    def whole(self) -> CopyResult:
        source, target, start = self.source, self.target, time.monotonic()
        if isinstance(source, Stream):
            target.open(source.expected)
        else:
            target.open(source.size)
        sums: Checksum | None = Checksum() if self._options.checksum else None
        data, cloned = 0, target.clone(source)
        if not cloned:
            pipeline = self._move(COPYING, source, target, sums)
            size, data = pipeline.done, pipeline.written
        else:
            assert not isinstance(source, Stream)
            self.done = size = source.size
            if sums is not None:
                self._move(VERIFYING, source, None, sums)
        if isinstance(source, Stream) and source.expected not in (None, size):
            raise CopyFailed(
                "%s ended after %d of %d bytes" % (source.name, size, source.expected)
            )
        target.sync(size)
        if sums is not None:
            self._verify(sums)
        if self._options.confirm is not None:
            self._options.confirm()
        target.publish()
        digest = sums.hexdigest() if sums is not None else None
        return CopyResult(size, data, time.monotonic() - start, cloned, digest)

    def _verify(self, expected: Checksum) -> None:
        written = self.target.written()
        if written is None:
            raise CopyFailed("%s cannot be read back and compared" % self.target.name)
        actual = Checksum()
        self._move(VERIFYING, written, None, actual)
        if actual.hexdigest() != expected.hexdigest():
            raise ChecksumMismatch(
                "%s differs from %s, from which it was copied"
                % (self.target.name, self.source.name),
                hint="check the disks and the memory of its bricks' servers for errors",
            )

    def _move(
        self, phase: str, source: Source | Stream, target: Target | None, sums: Checksum | None
    ) -> Pipeline:
        options = self._options
        pipeline = Pipeline(source, target, sums, self._pace, self._threads)
        try:
            pipeline.run(phase, options.progress, options.interval, options.patience)
        finally:
            if target is not None:
                self.done = pipeline.done
        return pipeline


def _take_back(target: Target, cause: BaseException) -> bool:
    """Remove what was made; whether nothing is left of the copy."""
    if isinstance(cause, StillRunning):
        raise IncompleteImage(
            "%s%s is incomplete: a write to it has not finished"
            % (before(cause.__context__), target.name),
            path=target.name,
            hint="remove it when its storage is available again",
        ) from cause
    try:
        return target.abort()
    except IncompleteImage as err:
        raise IncompleteImage(before(cause) + err.message, path=err.path, hint=err.hint) from cause


def _failure(run: _Run, err: OSError, gone: bool) -> GanetiGlusterError:
    reason = err.strerror or str(err)
    file = str(err.filename or "").removesuffix(PARTIAL)
    if file not in run.source.name and file not in run.target.name:
        reason += " (%s)" % err.filename
    left = "the incomplete copy was removed" if gone else "%s is incomplete" % run.target.name
    full = err.errno in (errno.ENOSPC, errno.EDQUOT)
    return CopyFailed(
        "copying %s to %s failed after %d MiB: %s; %s"
        % (run.source.name, run.target.name, run.done >> 20, reason, left),
        hint="free some space there first" if full else "",
    )
