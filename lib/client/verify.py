"""`gnt-gluster verify`: what is wrong with the cluster's Gluster storage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ganeti import cli, errors

from ganeti_gluster.client.options import JSON_OPT, LOCAL_OPT
from ganeti_gluster.cmdlib import cluster_config, node_verify, verify
from ganeti_gluster.core.verify.finding import Finding, has_errors
from ganeti_gluster.tools.decode import as_data

NODE_OPT = cli.cli_option(
    "-n",
    "--node",
    dest="node",
    default=None,
    help="Only show the findings on this node",
    completion_suggest=cli.OPT_COMPL_ONE_NODE,
)


def Verify(opts: Any, args: list[str]) -> int:
    """Print what is wrong; 0 if none of it is an ERROR."""
    if opts.local:
        if opts.node:
            raise errors.OpPrereqError(
                "--local is for this node only; do not use --node with it", errors.ECODE_INVAL
            )
        findings = node_verify.local_findings(node_verify.local_facts())
    else:
        config = cluster_config.load(otherwise=", or with --local for this node alone")
        if opts.node and opts.node not in {node.name for node in config.nodes}:
            raise errors.OpPrereqError(
                "The cluster has no node %s" % opts.node, errors.ECODE_NOENT
            )
        findings = verify.check_cluster(verify.look_at_cluster(config))
        if opts.node:
            findings = [each for each in findings if each.concerns(opts.node)]
    _show(opts, findings)
    return 1 if has_errors(findings) else 0


def _show(opts: Any, findings: Sequence[Finding]) -> None:
    if opts.json:
        data = [as_data(finding) for finding in findings]
        cli.ToStdout("%s", json.dumps(data, indent=2, sort_keys=True))
        return
    for finding in findings:
        cli.ToStdout("%s", finding)


COMMANDS = {
    "verify": (
        Verify,
        cli.ARGS_NONE,
        [JSON_OPT, LOCAL_OPT, NODE_OPT],
        "",
        "Verify nodes, pool, volumes and images, and print only the problems",
    ),
}
