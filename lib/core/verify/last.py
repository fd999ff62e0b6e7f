"""The findings of the last verification of the whole cluster; the master stores them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ganeti_gluster import constants
from ganeti_gluster.core.verify.finding import Finding
from ganeti_gluster.tools import decode, private
from ganeti_gluster.tools.decode import Moment, NotUnderstood

PATH = constants.STATE_DIR + "/findings.json"


@dataclass(frozen=True)
class _Kept:
    """What is in the file."""

    time: Moment
    findings: tuple[Finding, ...]


def save(findings: Sequence[Finding], *, now: float, path: str = PATH) -> None:
    """Keep what was found at `now`, in seconds since the epoch."""
    private.write_json(path, decode.as_data(_Kept(now, tuple(findings))))


def load(path: str = PATH) -> tuple[float | None, tuple[Finding, ...]]:
    """When it was, and what was found; None and nothing if it never was."""
    try:
        with open(path, encoding="utf-8") as stream:
            kept = decode.build(_Kept, json.load(stream))
    except (OSError, ValueError, NotUnderstood):
        return None, ()
    return kept.time, kept.findings
