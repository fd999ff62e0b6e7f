"""Which volumes can be healed, and that a heal is waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ganeti_master import Master
from gluster_pool import GlusterPool, volume

from ganeti_gluster.core.pool import healing
from ganeti_gluster.core.pool.steps import run
from ganeti_gluster.errors import InvalidParameter

from .conftest import Part

THREE = ("node1", "node2", "node3")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": "gv1"}, "there is no volume gv0"),
        ({"replica": 1}, "volume gv0 keeps no copies"),
        ({"state": "Stopped"}, "volume gv0 is not started; gluster volume start gv0"),
    ],
)
def test_what_cannot_be_healed(
    part: Part, in_pool: Callable[[Any], Any], master: Master, fields: dict[str, Any], said: str
) -> None:
    pool = in_pool(GlusterPool(volume(*THREE, **fields)))
    with pytest.raises(InvalidParameter, match=said):
        part("pool_heal").steps("gv0", master, pool, lambda line: None)
    assert "volume heal gv0" not in pool.asked


def test_a_heal_is_started_and_waited_for(
    part: Part,
    in_pool: Callable[[Any], Any],
    master: Master,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    healed: list[str] = []
    monkeypatch.setattr(healing.Healer, "heal", lambda self, name: healed.append(name))
    pool = in_pool(GlusterPool(volume(*THREE)))
    said: list[str] = []
    run(part("pool_heal").steps("gv0", master, pool, said.append), said.append)
    assert said[-1].startswith("[1/1] volume gv0 healed: done")
    assert healed == ["gv0"]
