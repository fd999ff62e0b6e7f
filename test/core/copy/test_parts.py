"""What a copy is made of: pieces, zeroes, pace, progress and the checksum."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from ganeti_gluster.core.copy import PIECE, Extent, Progress, reflink
from ganeti_gluster.core.copy.interface import Piece
from ganeti_gluster.core.copy.pieces import HOLE, Checksum, pieces
from ganeti_gluster.core.copy.progress import EachLine, Meter, Pace, Terminal, duration, sentence
from ganeti_gluster.core.copy.zeroes import BLOCK, data_runs, is_zero

DATA = Path(__file__).parents[2] / "tools" / "gfapi" / "data"


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(
    ("size", "extents", "expected"),
    [
        (10, None, [Piece(0, 10, True)]),
        (PIECE + 1, None, [Piece(0, PIECE, True), Piece(PIECE, 1, True)]),
        (5, [], [Piece(0, 5, False)]),
        # two in one piece, and one across the grid
        (
            4 * PIECE,
            [Extent(7, 1), Extent(9, 1), Extent(2 * PIECE - 1, 2)],
            [Piece(0, PIECE, True), *(Piece(i * PIECE, PIECE, True) for i in (1, 2))]
            + [Piece(3 * PIECE, PIECE, False)],
        ),
        # data behind the end is not the image's
        (10, [Extent(20, 5)], [Piece(0, 10, False)]),
        (
            HOLE + PIECE + 2,
            [Extent(HOLE + PIECE + 1, 1)],
            [Piece(0, HOLE, False), Piece(HOLE, PIECE, False), Piece(HOLE + PIECE, 2, True)],
        ),
    ],
)
def test_pieces_are_the_whole_in_order(size, extents, expected):
    found = list(pieces(size, extents))
    assert found == expected
    assert sum(piece.length for piece in found) == size


def buffer(*parts):
    return memoryview(bytearray(b"".join(parts)))


def test_runs_of_data_leave_zeroes_out():
    zero, data = bytes(BLOCK), b"\0" * (BLOCK - 1) + b"x"
    assert list(data_runs(buffer(zero, data, data, zero, data[:-1] + b"y"))) == [
        Extent(BLOCK, 2 * BLOCK),
        Extent(4 * BLOCK, BLOCK),
    ]
    assert list(data_runs(buffer(zero, zero, b"\0"))) == []
    assert list(data_runs(buffer(zero, b"\0x"))) == [Extent(BLOCK, 2)]


@pytest.mark.parametrize("length", [0, 1, PIECE, 2 * PIECE + 3])
def test_zeroes_of_any_length_are_known(length):
    assert is_zero(buffer(bytes(length)))
    assert not is_zero(buffer(bytes(length), b"\1"))


def test_the_pace_is_kept_and_not_saved_up():
    clock = Clock()
    pace = Pace(100, clock)
    assert pace.delay(50) == 0.0
    assert pace.delay(50) == pytest.approx(0.4, abs=0.11)
    clock.now += 60
    pace.delay(100)
    assert pace.delay(1) == pytest.approx(0.9)
    assert Pace(None).delay(1 << 50) == 0.0


def test_the_rate_is_that_of_the_last_seconds_and_tells_the_time_left():
    clock = Clock()
    meter = Meter("copied", 1000, clock)
    clock.now += 100
    meter.measure(100, 100)
    clock.now += 10
    progress = meter.measure(500, 300)
    assert (progress.rate, progress.remaining) == (20.0, 12.5)
    assert (progress.elapsed, progress.done, progress.data) == (110.0, 500, 300)
    assert Meter("copied", None, clock).measure(5, 5).remaining is None


PROGRESS = Progress("copied", 512 << 20, 2 << 30, 0, 10.0, 52.4 * (1 << 20), 3672.0)


def test_progress_is_a_sentence():
    assert sentence(PROGRESS) == "copied 512 MiB of 2048 MiB, 25%, 52 MiB/s, 1:01:12 left"
    assert sentence(PROGRESS._replace(total=None, remaining=None)) == "copied 512 MiB, 52 MiB/s"
    assert duration(59.6) == "1:00"


def test_a_terminal_has_one_line_and_a_file_none():
    class Tty(io.StringIO):
        def isatty(self):
            return True

    for stream, expected in ((Tty(), "\r%s\n" % sentence(PROGRESS)), (io.StringIO(), "")):
        terminal = Terminal(stream)
        terminal(PROGRESS)
        terminal.end()
        assert stream.getvalue() == expected


def test_a_log_gets_a_line_now_and_then():
    clock, lines = Clock(), []
    log = EachLine(lines.append, 10.0, clock)
    for _ in range(25):
        log(PROGRESS)
        clock.now += 1
    assert lines == [sentence(PROGRESS)] * 2


def test_the_checksum_is_of_places_and_bytes_in_any_order():
    def of(*parts):
        checksum = Checksum()
        for offset, data in parts:
            checksum.add(offset, memoryview(data))
        return checksum.hexdigest()

    assert of((0, b"a"), (PIECE, b"b")) == of((PIECE, b"b"), (0, b"a"))
    assert len({of((0, b"a")), of((0, b"b")), of((PIECE, b"a")), of()}) == 4


@pytest.mark.parametrize("release", ["10.3", "11.1"])
@pytest.mark.parametrize(
    "shape", ["arbiter", "disperse", "distrep", "distribute", "replica3", "sharded"]
)
def test_blocks_are_shared_on_no_volume_of_several_bricks(release, shape):
    graph = (DATA / ("glusterfs-%s-%s.vol" % (release, shape))).read_text()
    assert not reflink.allowed(graph)


def test_blocks_are_shared_on_a_single_brick_unless_sharded():
    brick = "volume b\n type protocol/client\n option remote-host h\nend-volume\n"
    assert reflink.allowed(brick + "volume top\n type debug/io-stats\n subvolumes b\nend-volume\n")
    shard = "volume s\n type features/shard\n subvolumes b\nend-volume\n"
    assert not reflink.allowed(brick + shard)
    assert not reflink.allowed("nonsense")
