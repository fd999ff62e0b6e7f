"""A volume less one brick."""

from __future__ import annotations

from pathlib import Path

import pytest

from ganeti_gluster.tools.gfapi import topology, without

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("number", [0, 1, 2])
def test_one_brick_is_looked_for_where_there_is_none(number: int) -> None:
    graph = (DATA / "glusterfs-11.1-arbiter.vol").read_text()
    bricks = topology.parse(graph).bricks
    gone = bricks[number]
    changed = without.hide(graph, "%s:%s" % (gone.host, gone.path))
    expected = [brick if brick is not gone else gone.__class__(
        gone.name, gone.host, "/nowhere", gone.arbiter) for brick in bricks]  # fmt: skip
    assert list(topology.parse(changed).bricks) == expected
    assert without.hide(graph, "node9:/b") == graph
