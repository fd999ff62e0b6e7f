"""`gnt-gluster disk remove-orphans`: remove images that belong to no instance."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Sequence
from typing import Any

from ganeti import cli, utils

from ganeti_gluster.client.options import JSON_OPT, confirm
from ganeti_gluster.cmdlib import cluster_config, orphans
from ganeti_gluster.cmdlib.orphans import Candidate
from ganeti_gluster.constants import MIB
from ganeti_gluster.core.verify.volume_checks import duration
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError, in_words
from ganeti_gluster.tools import decode, names

_HEADERS = {
    "volume": "Volume",
    "path": "Image",
    "size": "Size",
    "allocated": "Allocated",
    "age": "LastWritten",
    "kind": "Kind",
    "origin": "Origin",
}


def RemoveOrphans(opts: Any, args: list[str]) -> int:
    """Show the images, ask, remove them; 1 if one could not be removed."""
    config = cluster_config.load()
    candidates, kept = orphans.find(config)
    rows = [_row(candidate) for candidate in candidates]
    if opts.json:
        cli.ToStdout("%s", json.dumps(rows, indent=2, sort_keys=True))
    elif rows:
        _print_table(opts, rows)
    if kept:
        cli.ToStderr(
            "%d more belong to no instance, but are less than a day old, newer than an"
            " unfinished job, or named after an instance that exists",
            kept,
        )
    if not candidates or opts.dry_run:
        if not (candidates or opts.json):
            cli.ToStdout("There is nothing to remove.")
        return 0
    confirm(
        opts,
        "Remove these %d images? They include any images that another cluster has on the volume."
        % len(candidates),
        otherwise="No image was removed",
    )
    # Somebody may have taken hours to answer, and an image may be an instance's by now.
    now, _ = orphans.find(cluster_config.load())
    return _remove(candidates, {(candidate.spec, candidate.image.path) for candidate in now})


def _remove(candidates: Sequence[Candidate], still: Collection[tuple[VolumeSpec, str]]) -> int:
    result = 0
    for candidate in candidates:
        path = decode.printable(candidate.image.path, longest=names.PATH_BYTES)
        name = "%s of volume %s" % (path, candidate.spec.name)
        try:
            if (candidate.spec, candidate.image.path) in still and orphans.remove(candidate):
                cli.ToStderr("Removed %s", name)
            else:
                cli.ToStderr("Did not remove %s: it has changed since, or is in use", name)
        except (GanetiGlusterError, OSError) as err:
            cli.ToStderr("Could not remove %s: %s", name, in_words(err))
            result = 1
    return result


def _row(candidate: Candidate) -> dict[str, Any]:
    info = candidate.image
    return {
        "volume": candidate.spec.name,
        "path": info.path,
        "size": info.size,
        "allocated": info.allocated,
        "last_written": info.mtime,
        "kind": "leftover" if candidate.leftover else "orphan",
        "origin": candidate.origin,
    }


def _print_table(opts: Any, rows: Sequence[dict[str, Any]]) -> None:
    now = time.time()
    data = [
        {
            **row,
            # The name was chosen by the process that created the image.
            "path": decode.printable(row["path"], longest=names.PATH_BYTES),
            "size": utils.FormatUnit(row["size"] / MIB, "h"),
            "allocated": utils.FormatUnit(row["allocated"] / MIB, "h"),
            "age": duration(now - row["last_written"]),
            "origin": decode.printable(row["origin"]) or "-",
        }
        for row in rows
    ]
    for line in cli.GenerateTable(
        headers=None if opts.no_headers else _HEADERS,
        fields=list(_HEADERS),
        separator=opts.separator,
        data=[[str(row[field]) for field in _HEADERS] for row in data],
    ):
        cli.ToStdout("%s", line)


COMMANDS = {
    "disk remove-orphans": (
        RemoveOrphans,
        cli.ARGS_NONE,
        [JSON_OPT, cli.CONFIRM_OPT, cli.FORCE_OPT, cli.DRY_RUN_OPT, cli.NOHDR_OPT, cli.SEP_OPT],
        "[--yes] [--dry-run]",
        "Show images that belong to no instance, and remove them after confirmation",
    ),
}
