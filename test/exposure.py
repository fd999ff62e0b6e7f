"""The units that doc/security.rst has, and how much of the system is open to each."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_ROW = re.compile(r"^``(?P<unit>\S+\.service)``(?P<kind> \(\w+\))? +(?P<exposure>\d+\.\d)$")


def documented() -> dict[str, float]:
    """The exposure of each unit, as `systemd-analyze security` tells it."""
    lines = (ROOT / "doc" / "security.rst").read_text().splitlines()
    rows = [row for line in lines if (row := _ROW.match(line))]
    found = {row["unit"] + (row["kind"] or ""): float(row["exposure"]) for row in rows}
    assert len(found) == len(rows), "a unit is there twice"
    return found
