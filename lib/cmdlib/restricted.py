"""Run a restricted command on several nodes at once, each with a time limit.

By Ganeti's own node RPC, as a job's `OpRestrictedCommand` does, with the cluster's
certificates and the node daemon's log.  A job would wait for the locks of every
node, and for an hour for a node that has gone silent; here each node answers, or
fails, for itself.
"""

from __future__ import annotations

from collections.abc import Mapping

import ganeti.http.client
from ganeti import _generated_rpc
from ganeti.rpc import node as ganeti_rpc

from ganeti_gluster.services.answers import Answer, explain


class _Client(ganeti_rpc._RpcClientBase, _generated_rpc.RpcClientDefault):
    """Ganeti's RPC client without the configuration that only jobs have."""

    def __init__(self, addresses: Mapping[str, str], *, seconds: int) -> None:
        def process(requests: list[ganeti.http.client.HttpClientRequest], **rest: object) -> None:
            for request in requests:
                # Ganeti's own limit for this call is an hour.
                request.read_timeout = seconds
            ganeti.http.client.ProcessRequests(requests, **rest)

        ganeti_rpc._RpcClientBase.__init__(
            self,
            ganeti_rpc._StaticResolver(list(addresses.values())),
            lambda kind: None,
            _req_process_fn=process,
        )
        _generated_rpc.RpcClientDefault.__init__(self)


def run(command: str, addresses: Mapping[str, str], *, seconds: float) -> dict[str, Answer]:
    """Run `command` on the nodes with these `addresses`, by name; returns all answers.

    No node takes more than `seconds` (whole ones, at least 1); one that cannot be
    connected fails after 5.  Threads may call it side by side.
    """
    if not addresses:
        return {}
    limit = max(1, int(seconds))
    client = _Client(addresses, seconds=limit)
    results = client.call_restricted_command(list(addresses), command)
    return {node: _answer(result, limit) for node, result in results.items()}


def _answer(result: ganeti_rpc.RpcResult, seconds: int) -> Answer:
    if result.fail_msg:
        return Answer(reason=explain(str(result.fail_msg), seconds))
    return Answer(output=str(result.payload))
