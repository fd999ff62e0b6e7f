"""`gnt-gluster status`: pool, volumes, bricks, heals, space, disks and exports at a glance."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ganeti import cli, errors, utils

from ganeti_gluster.client.options import JSON_OPT
from ganeti_gluster.cmdlib import overview, verify
from ganeti_gluster.constants import MIB

#: Seconds between two looks with --watch, and the least of them: each is a job.
WATCH_SECONDS = 15
LEAST_SECONDS, MOST_SECONDS = 5, 86400
#: Instances shown in a terminal, the bad ones first, without --all.
SHOWN = 20

_GOOD, _BAD, _AMBER, _PLAIN = "\033[32m", "\033[31m", "\033[33m", "\033[0m"
_COLOURS = {
    **dict.fromkeys(("healthy", "online", "running", "started", "ganeti-gluster"), _GOOD),
    **dict.fromkeys(("missing", "split-brain", "down", "silent", "stopped", "stock"), _BAD),
    **dict.fromkeys(("degraded", "unknown", "offline"), _AMBER),
    "ERROR": _BAD,
    "WARNING": _AMBER,
}

WATCH_OPT = cli.cli_option(
    "--watch",
    dest="watch",
    default=False,
    action="store_true",
    help="Refresh the output until interrupted",
)
INTERVAL_OPT = cli.cli_option(
    "--interval",
    dest="interval",
    type="int",
    default=WATCH_SECONDS,
    metavar="SECONDS",
    help="Seconds between updates with --watch (default: %d)" % WATCH_SECONDS,
)
ALL_OPT = cli.cli_option(
    "--all",
    dest="all",
    default=False,
    action="store_true",
    help="Show all instances, not only the first %d" % SHOWN,
)

# Title, key of the rows, and the columns: the field and, where it is another word, the header.
_TABLES = (
    ("Nodes", "nodes", "node glusterd peers_text:Peers template glusterfs:GlusterFS reaches"),
    (
        "Volumes",
        "volumes",
        "volume state shape bricks_text:Bricks size free images allocated behind:ToHeal"
        " split_brain:SplitBrain",
    ),
    ("Bricks", "bricks", "brick state size free behind:ToHeal"),
    ("Instances", "instances", "instance node:Primary disks size allocated state"),
    ("Exports", "exports", "node instance disk export state"),
)
_SIZES = {"size", "free", "allocated"}
_NUMBERS = {*_SIZES, "images", "behind", "split_brain", "disks", "disk"}


def ShowStatus(opts: Any, args: list[str]) -> int:
    """Print the page once, or with --watch until interrupted; 1 if something is an ERROR."""
    if opts.watch and opts.json:
        raise errors.OpPrereqError("--watch cannot be used with --json", errors.ECODE_INVAL)
    if not LEAST_SECONDS <= opts.interval <= MOST_SECONDS:
        raise errors.OpPrereqError(
            "--interval must be %d to %d seconds" % (LEAST_SECONDS, MOST_SECONDS),
            errors.ECODE_INVAL,
        )
    result = 0
    try:
        while True:
            seen = verify.look_at_cluster()
            data = overview.describe(seen, verify.check_cluster(seen))
            bad = any(finding["severity"] == "ERROR" for finding in data["findings"])
            result = 1 if bad else 0
            if opts.json:
                cli.ToStdout("%s", json.dumps(data, indent=2, sort_keys=True))
            else:
                page = "\n".join(render(data, opts, colours=use_colours(opts)))
                cli.ToStdout("%s", "\033[H\033[2J" + page if opts.watch else page)
            if not opts.watch:
                return result
            time.sleep(opts.interval)
    except KeyboardInterrupt:
        return result


def use_colours(opts: Any) -> bool:
    """Whether people read it: on a terminal, unless columns are separated for programs."""
    return sys.stdout.isatty() and opts.separator is None


def render(data: Mapping[str, Any], opts: Any, *, colours: bool) -> list[str]:
    """The page's lines."""
    paint = _painter(colours)
    count = {"ERROR": 0, "WARNING": 0}
    for finding in data["findings"]:
        count[finding["severity"]] += 1
    state = "ERROR" if count["ERROR"] else "WARNING" if count["WARNING"] else "healthy"
    lines = [
        "%s: %s, %d of %d nodes with glusterd, %s"
        % (
            data["cluster"],
            paint(state),
            overview.running_nodes(data["nodes"]),
            len(data["nodes"]),
            time.strftime("%Y-%m-%d %H:%M:%S"),
        )
    ]
    rows = {**data, "instances": overview.by_instance(data["disks"])}
    hidden = 0
    if not opts.all:
        worst = sorted(rows["instances"], key=lambda row: -overview.ORDER.index(row["state"]))
        hidden = max(0, len(worst) - SHOWN)
        rows["instances"] = worst[:SHOWN]
    for title, key, columns in _TABLES:
        if rows[key]:
            lines += ["", title, *_table(rows[key], columns, opts, paint)]
        if key == "instances" and hidden:
            lines.append("… and %d more (--all)" % hidden)
    if data["findings"]:
        lines += ["", "Findings"]
        for each in data["findings"]:
            lines.append(
                "%s: %s: %s: %s; %s"
                % (
                    paint(each["severity"]),
                    each["code"],
                    each["object"],
                    each["text"],
                    each["remedy"],
                )
            )
    return lines


def _painter(colours: bool) -> Callable[[str], str]:
    def paint(text: str) -> str:
        word = text.strip()
        if not colours or word not in _COLOURS:
            return text
        return text.replace(word, _COLOURS[word] + word + _PLAIN)

    return paint


def _table(
    rows: Sequence[Mapping[str, Any]],
    columns: str,
    opts: Any,
    paint: Callable[[str], str],
) -> list[str]:
    """The lines of a table by Ganeti's own function, coloured afterwards: it counts letters."""
    words = [column.partition(":") for column in columns.split()]
    headers = {field: header or field.capitalize() for field, _, header in words}
    texts = [[_text(_derived(row), field, opts) for field in headers] for row in rows]
    lines: list[str] = cli.GenerateTable(
        headers=None if opts.no_headers else headers,
        fields=list(headers),
        separator=opts.separator,
        data=texts,
        numfields=[field for field in headers if field in _NUMBERS],
    )
    head = 0 if opts.no_headers else 1
    for number, shown in enumerate(texts, head):
        for word in dict.fromkeys(shown):
            if word in _COLOURS:
                lines[number] = lines[number].replace(word, paint(word), 1)
    return lines


def _derived(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with what is made of several of its fields."""
    more: dict[str, Any] = {}
    if "peers" in row:
        more["peers_text"] = "%d/%d" % (row["peers_connected"], row["peers"])
        more["reaches"] = ", ".join(
            [*row["reached"], *("not %s" % name for name in row["unreachable"])]
        )
    if "bricks" in row:
        more["bricks_text"] = "%d/%d" % (row["bricks_online"], row["bricks"])
    if "running" in row:
        more["state"] = "running" if row["running"] else "down"
    return {**row, **more}


def _text(row: Mapping[str, Any], field: str, opts: Any) -> str:
    value = row.get(field)
    if value is None or value == "":
        return "-"
    if field in _SIZES:
        # As Ganeti's tables: for people or, with a separator, in MiB.
        units = opts.units or ("h" if opts.separator is None else "m")
        return str(utils.FormatUnit(value / MIB, units))
    return str(value)


COMMANDS = {
    "status": (
        ShowStatus,
        cli.ARGS_NONE,
        [JSON_OPT, WATCH_OPT, INTERVAL_OPT, ALL_OPT, cli.NOHDR_OPT, cli.SEP_OPT, cli.USEUNITS_OPT],
        "[--watch] [--json]",
        "Show pool, volumes, bricks, heals, space, disks and exports",
    ),
}
