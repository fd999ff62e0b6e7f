"""Ganeti's node RPC for restricted commands on several nodes at once, for `cluster.ask`.

It uses Ganeti's own node RPC, like a job's `OpRestrictedCommand`, with the cluster's certificates
and the node daemon's log.  A job would wait for the locks of every node, and an hour for a silent
node; here each node answers or fails by itself.  Ganeti's RPC assumes that a node sends UTF-8,
JSON and not too much of it, and other data from one node would end the call for all nodes.  So
this module checks it first.
"""

from __future__ import annotations

import http
import time
from collections.abc import Container, Mapping
from typing import Any

import ganeti.http.client
from ganeti import _generated_rpc
from ganeti.rpc import node as ganeti_rpc

from ganeti_gluster.core.services.answers import Body, NodeAnswer, explain
from ganeti_gluster.tools import decode


class _Client(ganeti_rpc._RpcClientBase, _generated_rpc.RpcClientDefault):
    """Ganeti's RPC client without the configuration that only jobs have."""

    def __init__(self, addresses: Mapping[str, str], *, limits: Mapping[str, int], longest: int):
        #: When the request to each address ended, in seconds after all began.
        self.took: dict[str, float] = {}

        def process(requests: list[ganeti.http.client.HttpClientRequest], **rest: object) -> None:
            bodies = [Body(longest) for _ in requests]
            begin = time.monotonic()

            def done(request: ganeti.http.client.HttpClientRequest) -> None:
                self.took[request.host] = time.monotonic() - begin

            for request, body in zip(requests, bodies, strict=True):
                # Ganeti's own limit for this call is an hour.
                request.read_timeout = limits[request.host]
                request.completion_cb = done
                _take(request, body)
            ganeti.http.client.ProcessRequests(requests, **rest)
            for request, body in zip(requests, bodies, strict=True):
                _look(request, body)

        ganeti_rpc._RpcClientBase.__init__(
            self,
            ganeti_rpc._StaticResolver(list(addresses.values())),
            lambda kind: None,
            _req_process_fn=process,
        )
        _generated_rpc.RpcClientDefault.__init__(self)


def _take(request: Any, body: Body) -> None:
    """Have what a node sends in `body`, instead of the buffer that takes all there is."""
    usual = request.curl_config_fn

    def configure(curl: Any) -> None:
        usual(curl)
        # Ganeti trusts its own certificate alone.  libcurl, as Debian has it, reads those of the
        # whole world as well for each connection, which takes 40 ms of the processor.
        curl.unsetopt(ganeti.http.client.pycurl.CAPATH)
        curl.setopt(ganeti.http.client.pycurl.WRITEFUNCTION, body.take)

    request.curl_config_fn = configure


def _look(request: Any, body: Body) -> None:
    """Give a finished request what its node sent, or the reason why that is not it."""
    if not request.success:
        request.error = decode.printable(str(request.error))
    elif request.resp_status_code != http.HTTPStatus.OK:
        request.resp_body = body.complaint()
    else:
        try:
            request.resp_body = body.text()
        except decode.NotUnderstood as err:
            request.success, request.error = False, str(err)


def run(
    command: str,
    addresses: Mapping[str, str],
    *,
    seconds: Mapping[str, int],
    longest: int,
    known: Container[str],
) -> dict[str, NodeAnswer]:
    """See `cluster.ask`."""
    limits = {addresses[node]: limit for node, limit in seconds.items()}
    client = _Client(addresses, limits=limits, longest=longest)
    results = client.call_restricted_command(list(addresses), command)
    found = {}
    for node, result in results.items():
        took = client.took.get(addresses[node], 0.0)
        if result.fail_msg:
            error = str(result.fail_msg)
            reason = explain(error, seconds[node], known=node in known)
            found[node] = NodeAnswer(reason=reason, error=error, seconds=took)
        else:
            found[node] = NodeAnswer(output=str(result.payload), seconds=took)
    return found
