"""What the last verification of the whole cluster found; the master keeps it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ganeti_gluster import constants, private
from ganeti_gluster.verify.finding import Finding

PATH = constants.STATE_DIR + "/findings.json"


def save(findings: Sequence[Finding], *, now: float, path: str = PATH) -> None:
    """Keep what was found at `now`, in seconds since the epoch."""
    found = [each.to_dict() for each in findings]
    private.write_json(path, {"time": now, "findings": found})


def load(path: str = PATH) -> tuple[float | None, tuple[Mapping[str, Any], ...]]:
    """When it was, and what was found; None and nothing where it never was."""
    try:
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
        return float(data["time"]), tuple(data["findings"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, ()
