"""`gnt-gluster verify`: find problems of the cluster's Gluster storage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ganeti import cli, errors

from ganeti_gluster.client.options import JSON_OPT, LOCAL_OPT, NODE_OPT
from ganeti_gluster.cmdlib import cluster, cluster_config, node_verify, verify
from ganeti_gluster.core.verify.finding import Finding, has_errors
from ganeti_gluster.tools.decode import as_data


def Verify(opts: Any, args: list[str]) -> int:
    """Print what is wrong; 0 if none of it is an ERROR."""
    if opts.local:
        if opts.nodes:
            raise errors.OpPrereqError(
                "--local is for this node only; do not use --node with it", errors.ECODE_INVAL
            )
        findings = node_verify.local_findings(node_verify.local_facts())
    else:
        config = cluster_config.load()
        chosen = cluster.choose(config.nodes, opts.nodes)
        findings = verify.check_cluster(verify.look_at_cluster(config))
        if opts.nodes:
            findings = [
                each for each in findings if any(each.concerns(node.name) for node in chosen)
            ]
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
