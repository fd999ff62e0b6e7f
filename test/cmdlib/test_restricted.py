"""Answers of nodes to restricted commands, as Ganeti's RPC hands them over."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from ganeti_master import Master

from ganeti_gluster.core.services.answers import NodeAnswer

from .conftest import Part

ADDRESSES = {"node1": "192.0.2.1", "node2": "192.0.2.2"}
LONGEST = 1000


class Curl:
    """One transfer, as far as it is configured."""

    CAPATH, WRITEFUNCTION = "capath", "writefunction"

    def __init__(self) -> None:
        self.options: dict[str, Any] = {self.CAPATH: "/etc/ssl/certs"}

    def setopt(self, name: str, value: Any) -> None:
        self.options[name] = value

    def unsetopt(self, name: str) -> None:
        del self.options[name]


class Rpc:
    """Ganeti's RPC: each node sends what `sends` has for its address."""

    def __init__(self) -> None:
        self.sends: dict[str, Any] = dict.fromkeys(ADDRESSES.values(), json.dumps([True, "fine"]))
        self.status = dict.fromkeys(ADDRESSES.values(), 200)
        self.failures: dict[str, str] = {}
        self.requests: list[Any] = []
        self.commands: list[str] = []

    def start(self, client: Any, resolver: Any, encoder: Any, *, _req_process_fn: Any) -> None:
        client.process = _req_process_fn

    def call(self, client: Any, nodes: list[str], command: str) -> dict[str, Any]:
        self.commands.append(command)
        self.requests = [
            SimpleNamespace(
                host=ADDRESSES[name], curl_config_fn=lambda curl: None, success=None, error=None
            )
            for name in nodes
        ]
        client.process(self.requests)
        return {name: self.result(each) for name, each in zip(nodes, self.requests, strict=True)}

    def transfer(self, requests: list[Any], **rest: Any) -> None:
        for request in requests:
            curl = Curl()
            request.curl_config_fn(curl)
            assert Curl.CAPATH not in curl.options
            request.resp_status_code = self.status[request.host]
            data = self.sends[request.host]
            data = data.encode() if isinstance(data, str) else data
            taken = curl.options[Curl.WRITEFUNCTION](data)
            request.error = self.failures.get(request.host)
            if taken != len(data):
                request.error = "Error 23: Failed writing received data to disk/application"
            request.success = request.error is None
            request.completion_cb(request)

    @staticmethod
    def result(request: Any) -> Any:
        """What Ganeti makes of an answer: the command's output, or the reason of the failure."""
        if not request.success:
            return SimpleNamespace(fail_msg=request.error, payload=None)
        if request.resp_status_code != 200:
            return SimpleNamespace(fail_msg=request.resp_body, payload=None)
        success, payload = json.loads(request.resp_body)
        return SimpleNamespace(fail_msg=None if success else payload, payload=payload)


@pytest.fixture
def rpc(part: Part, master: Master, monkeypatch: pytest.MonkeyPatch) -> Rpc:
    found = Rpc()
    module = part("restricted")
    base, generated = module.ganeti_rpc._RpcClientBase, module._generated_rpc.RpcClientDefault
    monkeypatch.setattr(
        base, "__init__", lambda client, *args, **how: found.start(client, *args, **how)
    )
    monkeypatch.setattr(generated, "__init__", lambda client: None)
    monkeypatch.setattr(
        generated,
        "call_restricted_command",
        lambda client, nodes, command: found.call(client, nodes, command),
        raising=False,
    )
    http = importlib.import_module("ganeti.http.client")
    monkeypatch.setattr(http, "ProcessRequests", found.transfer)
    monkeypatch.setattr(http, "pycurl", Curl)
    return found


@pytest.fixture
def ask(rpc: Rpc, part: Part) -> Callable[..., dict[str, NodeAnswer]]:
    cluster = part("cluster")
    return lambda **how: cluster.ask(
        "gluster-verify-node", ADDRESSES, **{"seconds": 8.0, "longest": LONGEST, **how}
    )


def test_each_node_is_asked_and_its_output_returned(rpc: Rpc, ask: Any) -> None:
    found = ask()
    assert rpc.commands == ["gluster-verify-node"]
    assert {name: (each.output, each.reason) for name, each in found.items()} == {
        "node1": ("fine", ""),
        "node2": ("fine", ""),
    }
    assert all(each.seconds >= 0 for each in found.values())


def test_nobody_is_asked_where_there_is_no_node(rpc: Rpc, part: Part) -> None:
    assert part("cluster").ask("gluster-verify-node", {}, seconds=8.0) == {}
    assert rpc.commands == []


def test_each_node_has_its_own_time_limit_in_whole_seconds(rpc: Rpc, ask: Any) -> None:
    ask(seconds={"node1": 0.2, "node2": 30.7})
    assert [request.read_timeout for request in rpc.requests] == [1, 30]


def test_a_command_that_fails_leaves_the_other_answer(rpc: Rpc, ask: Any) -> None:
    rpc.sends["192.0.2.1"] = json.dumps([False, "Command 'x' failed: exit code 1"])
    found = ask()
    assert found["node1"].reason == "Command 'x' failed: exit code 1"
    assert found["node1"].output == ""
    assert found["node2"].output == "fine"


def test_a_node_that_cannot_be_reached(rpc: Rpc, ask: Any) -> None:
    rpc.failures["192.0.2.2"] = "Error 28: Operation timed out after 8001 milliseconds"
    assert ask()["node2"].reason == ("no answer within 8 s; is ganeti-gluster installed there?")
    assert ask(known={"node2"})["node2"].reason == "no answer within 8 s"
    rpc.failures["192.0.2.2"] = "Error 7: \x1b[31mFailed"
    found = ask()["node2"]
    assert "\x1b" not in found.error
    assert found.reason.startswith("no connection; ")


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"\xff\xfe", "it is not UTF-8"),
        ("not JSON", "it is not JSON"),
        ("[true]", "it is not an outcome and a string"),
        ('[1, "fine"]', "it is not an outcome and a string"),
        ('{"fine": true}', "it is not an outcome and a string"),
        (b"[" * LONGEST, ""),
        (json.dumps([True, "x" * LONGEST]), "it is too long"),
    ],
    ids=["bytes", "text", "no payload", "number", "object", "nested", "long"],
)
def test_an_answer_that_would_end_the_call_for_all_nodes(
    rpc: Rpc, ask: Any, sent: bytes | str, reason: str
) -> None:
    rpc.sends["192.0.2.1"] = sent
    found = ask()
    assert found["node1"].output == ""
    assert reason in found["node1"].reason
    assert found["node1"].reason
    assert found["node2"].output == "fine"


def test_the_complaint_of_a_node_daemon_is_printable(rpc: Rpc, ask: Any) -> None:
    rpc.status["192.0.2.1"] = 500
    rpc.sends["192.0.2.1"] = b"no\x1b[2J \xff"
    found = ask()
    assert found["node1"].reason.startswith("no")
    assert "\x1b" not in found["node1"].reason
    assert found["node2"].output == "fine"
