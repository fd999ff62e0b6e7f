"""Since when heals are pending: GlusterFS does not record this, so this node does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from ganeti_gluster import constants
from ganeti_gluster.tools import private
from ganeti_gluster.tools.gluster_cli import BrickHeal

PATH = constants.STATE_DIR + "/backlog.json"


def update(
    known: Mapping[str, float], bricks: Iterable[BrickHeal], *, now: float
) -> dict[str, float]:
    """The time at which each brick's backlog was first seen; `known` is the previous result.

    A brick that did not answer keeps its time.
    """
    since = dict(known)
    for brick in bricks:
        if brick.total is None:
            continue
        if brick.total > 0:
            since.setdefault(brick.brick, now)
        else:
            since.pop(brick.brick, None)
    return since


def load(path: str = PATH) -> dict[str, float]:
    """What was saved; nothing if there is none or it cannot be read."""
    try:
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
        return {str(name): float(since) for name, since in data.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def save(since: Mapping[str, float], path: str = PATH) -> None:
    """Keep it, whole or not at all."""
    private.write_json(path, since)
