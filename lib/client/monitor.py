"""`gnt-gluster monitor`: what this node's monitoring agent measures."""

from __future__ import annotations

import json
from typing import Any

from ganeti import cli, errors

from ganeti_gluster.client.options import JSON_OPT
from ganeti_gluster.monitoring import agent, metrics, report

WRITE_OPT = cli.cli_option(
    "--write",
    dest="write",
    default=False,
    action="store_true",
    help="Write the files instead of printing, as the agent does every minute",
)


def Monitor(opts: Any, args: list[str]) -> int:
    """Print the metrics for Prometheus, or the report for Ganeti's monitoring."""
    if opts.write:
        if opts.json:
            raise errors.OpPrereqError(
                "--write cannot be used with --json: it writes both formats", errors.ECODE_INVAL
            )
        agent.write()
        return 0
    seen = agent.collect()
    if opts.json:
        cli.ToStdout("%s", json.dumps(report.report(seen), indent=2, sort_keys=True))
    else:
        cli.ToStdout("%s", metrics.exposition(metrics.families(seen)).rstrip("\n"))
    return 0


COMMANDS = {
    "monitor": (
        Monitor,
        cli.ARGS_NONE,
        [JSON_OPT, WRITE_OPT],
        "[--json | --write]",
        "Show the metrics of this node, or its report for Ganeti's monitoring daemon",
    ),
}
