"""A volume's bricks one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from ganeti_gluster.tools.gfapi import brick, topology

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("path", sorted(DATA.glob("*.vol")), ids=lambda path: path.stem)
def test_every_brick_is_found_with_its_host(path: Path) -> None:
    text = path.read_text()
    found = [
        (host, client)
        for host, clients in brick.clients(text).items()
        for graph in clients
        for client in topology.translators(graph)
    ]
    expected = [(b.host, b.name, b.path) for b in topology.parse(text).bricks]
    assert sorted(
        (host, client.name, client.options["remote-subvolume"]) for host, client in found
    ) == sorted(expected)
