"""The threads of a copy, and what they share."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

from ganeti_gluster.core.copy import progress
from ganeti_gluster.core.copy.interface import (
    PIECE,
    Divided,
    Interruptible,
    Piece,
    Source,
    Stream,
    Target,
    WholePieces,
)
from ganeti_gluster.core.copy.pieces import Checksum, pieces
from ganeti_gluster.core.copy.progress import Pace
from ganeti_gluster.core.copy.zeroes import data_runs, is_zero
from ganeti_gluster.errors import CopyFailed, GanetiGlusterError

#: Seconds for threads to end when asked to.  A call to a volume that lost its bricks can take
#: its ping-timeout and a little more.
JOIN_SECONDS = 180.0

_ZEROES = memoryview(bytes(PIECE))


class StillRunning(GanetiGlusterError):
    """Threads did not end: what they write to cannot be removed safely."""


class Stalled(GanetiGlusterError):
    """Nothing was copied for too long."""


class Pipeline:
    """One pass over a source: to a target, to a checksum, or both."""

    def __init__(
        self,
        source: Source | Stream,
        target: Target | None,
        sums: Checksum | None,
        pace: Pace,
        threads: int,
    ) -> None:
        self.done = self.written = 0
        self._read = 0
        self._source = source
        self._target = target
        self._sums = sums
        self._pace = pace
        self._threads = [
            threading.Thread(target=self._work, name="copy-%d" % i, daemon=True)
            for i in range(threads)
        ]
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._feeding = threading.Lock()
        self._turn = threading.Condition()
        self._next_offset = 0
        self._error: BaseException | None = None
        self._pieces: Iterator[Piece] | None = None

    def run(
        self,
        phase: str,
        callback: progress.Callback | None,
        interval: float,
        patience: float | None = None,
    ) -> None:
        """Do it; raises the first error of a thread, when all have ended.

        Raises `Stalled` if nothing moves for `patience` seconds.
        """
        source = self._source
        if isinstance(source, Stream):
            total = source.expected
        else:
            total = source.size
            if isinstance(source, Divided):
                self._pieces = source.pieces()
            else:
                self._pieces = pieces(source.size, source.extents())
        meter = progress.Meter(phase, total)
        moved, moved_at = self._moved, time.monotonic()
        try:
            for thread in self._threads:
                thread.start()
            while waiting := [thread for thread in self._threads if thread.is_alive()]:
                waiting[0].join(interval)
                if self._moved != moved:
                    moved, moved_at = self._moved, time.monotonic()
                elif patience is not None and time.monotonic() - moved_at > patience:
                    raise Stalled("nothing was copied for %d s" % patience)
                if callback is not None and not self._stop.is_set():
                    callback(meter.measure(self.done, self._read))
        except BaseException:
            self._end()
            raise
        if self._error is not None:
            raise self._error
        if callback is not None:
            callback(meter.measure(self.done, self._read))

    @property
    def _moved(self) -> tuple[int, int]:
        return self.done, self.written

    def _end(self) -> None:
        """Stop the threads; raises `StillRunning`."""
        self._halt()
        deadline = time.monotonic() + JOIN_SECONDS
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            raise StillRunning("threads of the copy have not ended within %d s" % JOIN_SECONDS)

    def _halt(self) -> None:
        self._stop.set()
        if isinstance(self._source, Interruptible):
            self._source.stop()
        with self._turn:
            self._turn.notify_all()

    def _work(self) -> None:
        buffer = memoryview(bytearray(PIECE))
        try:
            while not self._stop.is_set():
                piece = self._take(buffer)
                if piece is None:
                    return
                self._deal_with(piece, buffer[: piece.length if piece.data else 0])
                with self._lock:
                    self.done += piece.length
                    self._read += piece.length if piece.data else 0
        except BaseException as err:
            with self._lock:
                if self._error is None:
                    self._error = err
            self._halt()

    def _take(self, buffer: memoryview) -> Piece | None:
        """The next piece, in `buffer` where it has data; None at the end."""
        source = self._source
        if isinstance(source, Stream):
            with self._feeding:
                offset = self._next_offset
                got = 0 if self._stop.is_set() else source.read_into(buffer)
                self._next_offset += got
            self._stop.wait(self._pace.delay(got))
            return Piece(offset, got, True) if got else None
        assert self._pieces is not None
        with self._feeding:
            piece = next(self._pieces, None)
        if piece is not None and piece.data:
            self._stop.wait(self._pace.delay(piece.length))
            got = source.pread_into(buffer[: piece.length], piece.offset)
            if got != piece.length:
                raise CopyFailed(
                    "%s ended at byte %d of %d" % (source.name, piece.offset + got, source.size)
                )
        return piece

    def _deal_with(self, piece: Piece, data: memoryview) -> None:
        if self._sums is not None and not is_zero(data):
            self._sums.add(piece.offset, data)
        target = self._target
        if target is None:
            return
        if isinstance(target, WholePieces):
            if piece.data:
                target.take(piece.offset, data)
                with self._lock:
                    self.written += piece.length
            return
        if target.ordered:
            self._write_in_turn(target, piece, data)
            return
        written, end = 0, 0
        for start, length in data_runs(data) if piece.data else ():
            if not target.zeroed and start > end:
                target.zero(piece.offset + end, start - end)
            target.pwrite(data[start : start + length], piece.offset + start)
            written, end = written + length, start + length
        if not target.zeroed and end < piece.length:
            target.zero(piece.offset + end, piece.length - end)
        with self._lock:
            self.written += written

    def _write_in_turn(self, target: Target, piece: Piece, data: memoryview) -> None:
        with self._turn:
            self._turn.wait_for(lambda: self._stop.is_set() or self._place == piece.offset)
        if self._stop.is_set():
            return
        if piece.data:
            target.pwrite(data, piece.offset)
        else:
            for offset in range(0, piece.length, PIECE):
                if self._stop.is_set():
                    return
                part = _ZEROES[: min(PIECE, piece.length - offset)]
                target.pwrite(part, piece.offset + offset)
        with self._turn:
            self._place += piece.length
            self._turn.notify_all()
        with self._lock:
            self.written += piece.length

    #: How far an ordered target has come.
    _place = 0
