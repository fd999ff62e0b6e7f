"""The file of a point, and what it counts as changed."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganeti_gluster.core.changed.record import (
    LARGEST,
    LOST,
    OPEN,
    PIECE,
    Head,
    grown,
    parse,
    ranges,
)


def bits_of(pieces: set[int]) -> bytearray:
    bits = bytearray(16)
    for piece in pieces:
        bits[piece // 8] |= 1 << piece % 8
    return bits


def test_a_head_is_read_as_it_was_written() -> None:
    head = Head(OPEN, 1764313200.25, 4 << 30, 8192, "")
    assert parse(head.block()) == head
    assert len(head.block()) == 4096


@pytest.mark.parametrize(
    "block",
    [b"", b"\0" * 4096, b"#!/bin/sh\n", b"ganeti-gluster-changed=2\nstate=open\n", b"\xff" * 4096],
    ids=["empty", "zeroes", "another file", "cut", "garbage"],
)
def test_a_damaged_head_says_that_the_point_is_lost(block: bytes) -> None:
    assert parse(block) == Head(LOST, 0.0, 0, 0, "its record is damaged")


@given(st.sets(st.integers(0, 127)), st.integers(1, 128 * PIECE))
def test_ranges_cover_the_changed_pieces_and_nothing_else(pieces: set[int], size: int) -> None:
    found = list(ranges(bits_of(pieces), size))
    covered = set()
    end = -1
    for offset, length in found:
        assert offset > end  # in order, and what touches is one range
        end = offset + length
        assert length > 0
        assert end <= size
        covered |= set(range(offset // PIECE, -(-end // PIECE)))
    assert covered == {piece for piece in pieces if piece * PIECE < size}


def test_what_an_image_has_grown_by_counts_as_changed() -> None:
    bits = bits_of({1})
    grown(bits, 3 * PIECE + 512, 5 * PIECE + 512)
    assert list(ranges(bits, 5 * PIECE + 512)) == [
        (PIECE, PIECE),
        (3 * PIECE, 2 * PIECE + 512),
    ]
    grown(bits, 6 * PIECE, 6 * PIECE)
    assert bits == bits_of({1, 3, 4, 5})


def test_all_that_it_has_grown_by_counts_and_nothing_else() -> None:
    for before, now in itertools.product(range(25), repeat=2):
        bits = bits_of(set())
        grown(bits, before * PIECE + 512, now * PIECE + 512)
        new = range(before, now + 1) if now > before else range(0)
        assert bits == bits_of(set(new)), (before, now)


def test_a_very_large_growth_is_counted_at_once() -> None:
    bits = bytearray(LARGEST // PIECE // 8)
    grown(bits, PIECE, LARGEST)
    assert (bits[0], bits.count(b"\xff")) == (0xFE, len(bits) - 1)
