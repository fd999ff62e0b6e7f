"""The rules by which systemd's signals of units arrive; the bus itself is a node's."""

from __future__ import annotations

import pytest

from ganeti_gluster.tools import unit_signals


@pytest.mark.parametrize(
    ("unit", "path"),
    [
        # as systemd 257 has them
        ("glusterd.service", "/unit/glusterd_2eservice"),
        ("swift-proxy.service", "/unit/swift_2dproxy_2eservice"),
        ("9p_x@a:b.service", "/unit/_39p_5fx_40a_3ab_2eservice"),
    ],
)
def test_the_path_of_a_unit(unit: str, path: str) -> None:
    assert unit_signals.object_path(unit) == path


def test_each_unit_has_a_rule_and_the_manager_two() -> None:
    found = unit_signals.matches(["glusterd.service"])
    assert [rule.rpartition(",")[2] for rule in found] == [
        "member='UnitFilesChanged'",
        "member='Reloading'",
        "path='/org/freedesktop/systemd1/unit/glusterd_2eservice'",
    ]
