"""How a server is told where its image has data."""

from __future__ import annotations

from pathlib import Path

import pytest

from ganeti_gluster.core.copy.interface import Extent
from ganeti_gluster.core.serve import extents, files
from ganeti_gluster.core.serve.files import Wanted
from ganeti_gluster.core.volume import VolumeSpec


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], "h8192"),
        ([(4096, 8192)], "d8192"),
        ([(0, 1 << 20)], "d8192"),
        ([(4096, 512)], "d512 h7680"),
        ([(8192, 512), (12032, 256)], "h4096 d512 h3328 d256"),
        ([(4096, 1024), (4608, 1024)], "d1024 d512 h6656"),  # two pieces that overlap
        ([(0, 4096), (12288, 4096)], "h8192"),  # beside what was asked for
    ],
)
def test_data_and_holes_cover_what_was_asked_for(
    found: list[tuple[int, int]], expected: str
) -> None:
    told = extents.describe([Extent(*pair) for pair in found], 4096, 8192)
    assert told == expected
    assert sum(int(word[1:]) for word in told.split()) == 8192


def test_the_helper_reads_what_the_server_was_told(directory: Path) -> None:
    spec = VolumeSpec.from_params({"volume": "gv0", "host": "node2:24008,[2001:db8::1],node1"})
    files.write("k", Wanted(spec, "ganeti/a b.0", 7, "abc"))
    assert files.configured("k") == (spec, "ganeti/a b.0")
