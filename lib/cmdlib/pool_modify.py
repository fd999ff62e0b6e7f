"""`pool modify`: change the settings of a volume's pool."""

from __future__ import annotations

from typing import Any

from ganeti_gluster.cmdlib import pool_state, pool_use
from ganeti_gluster.core.pool import settings
from ganeti_gluster.core.pool.agents import Agents
from ganeti_gluster.core.pool.settings import Settings
from ganeti_gluster.errors import GanetiGlusterError, InvalidParameter

_SHOWN = {"directory": "bricks in", "device": "on device", "node_add": "on node-add"}


def change(
    volume: str, client: Any, agents: Agents, opts: Any
) -> tuple[Settings | None, Settings]:
    """The settings that there are, None without any, and those that are asked for.

    Raises `GanetiGlusterError` if there is no such volume, or nothing is asked.
    """
    if not (opts.brick_dir or opts.brick_device or opts.on_node_add):
        raise InvalidParameter("give --on-node-add, --brick-dir or --brick-device")
    pool_state.find_volume(client, agents, volume).pool.volume(volume)
    kept = pool_use.read_settings(client).get(volume)
    if kept is None and not opts.brick_dir:
        reason = pool_use.refused_settings(client).get(volume)
        raise GanetiGlusterError(
            "there are no pool settings for volume %s%s"
            % (volume, ": %s" % reason if reason else ""),
            hint="give at least --brick-dir",
        )
    changed = Settings(
        volume=volume,
        directory=opts.brick_dir or (kept.directory if kept else ""),
        device=opts.brick_device or (kept.device if kept else ""),
        node_add=opts.on_node_add or (kept.node_add if kept else settings.JOIN),
        group=kept.group if kept else "",
    )
    changed.tags()
    return kept, changed


def describe(kept: Settings | None, changed: Settings) -> list[str]:
    """The settings a line each, with what is there now where that is another value."""
    lines = ["Volume %s, settings for nodes that are added:" % changed.volume]
    for name, shown in _SHOWN.items():
        new = getattr(changed, name) or "none"
        old = new if kept is None else getattr(kept, name) or "none"
        was = "" if old == new else " (was %s)" % old
        lines.append("  %-14s %s%s" % (shown + ":", new, was))
    return lines
