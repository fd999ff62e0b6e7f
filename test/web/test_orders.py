"""Orders from the process that serves: what is done, and what is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ganeti_gluster.core.services.control import Outcome
from ganeti_gluster.core.services.model import ServiceStatus
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.web import orders
from ganeti_gluster.web.actions import Order
from ganeti_gluster.web.commands import CommandOrder
from ganeti_gluster.web.orders import OrderFailed, Orders, obey

OUTCOME = Outcome("node1", "GLUSTER_SWIFT", "proxy", "done", ServiceStatus.STOPPED)


def refuse(order: CommandOrder) -> int:
    raise AssertionError("begun")


def pair(
    carry_out: Callable[[Order, Any], None], begin: Callable[[CommandOrder], int] = refuse
) -> Orders:
    """Both sides, without the pipe between them."""

    def send(line: bytes) -> None:
        obey(
            line,
            carry_out,
            lambda line: both.hear(json.loads(line)),
            begin=begin,
            known_nodes=lambda: ["node1", "node2"],
            known_services=lambda type: ["object", "proxy"],
        )

    both = Orders(send)
    return both


def test_an_order_is_carried_out_and_told_of() -> None:
    done: list[Order] = []

    def carry_out(order: Order, report: Callable[[list[Outcome]], None]) -> None:
        done.append(order)
        report([OUTCOME])
        report([OUTCOME, OUTCOME])

    told: list[Outcome] = []
    pair(carry_out)(Order("stop", ("node1",), ("proxy",)), told.append)

    assert done == [Order("stop", ("node1",), ("proxy",))]
    assert told == [OUTCOME] * 3


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (GanetiGlusterError("no", hint="try"), "no; try"),
        (OSError(5, "Input/output error"), "[Errno 5] Input/output error"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_whoever_waits_is_told_of_a_failure(error: Exception, said: str) -> None:
    def carry_out(order: Order, report: Any) -> None:
        raise error

    with pytest.raises(OrderFailed) as caught:
        pair(carry_out)(Order("stop", ("node1",)), lambda outcome: None)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    "order",
    [
        Order("reboot", ("node1",)),
        Order("stop", ("node3",)),
        Order("stop", ()),
        Order("stop", ("node1",), ("sshd",)),
    ],
)
def test_what_is_not_known_here_is_not_done_whoever_asks(order: Order) -> None:
    def carry_out(order: Order, report: Any) -> None:
        raise AssertionError("done")

    with pytest.raises(OrderFailed) as caught:
        pair(carry_out)(order, lambda outcome: None)
    assert "done" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"x",
        b"[]",
        b"{}",
        b'{"id": 1, "verb": ["stop"], "nodes": ["node1"], "services": []}',
        b'{"id": 1, "verb": "stop", "nodes": [["node1"]], "services": []}',
        b'{"id": "x", "verb": "stop", "nodes": [], "services": []}',
        b"\xff",
        b'{"id": 1e999, "verb": "stop", "nodes": ["node1"], "services": []}',
        b'{"id": -1, "verb": "stop", "nodes": ["node1"], "services": []}',
        b'{"id": 1.5, "verb": "stop", "nodes": ["node1"], "services": []}',
        b'{"id": %s, "verb": "stop", "nodes": ["node1"], "services": []}' % (b"9" * 5000),
        b'{"id": NaN, "verb": "stop", "nodes": ["node1"], "services": []}',
        b'{"id": 1, "verb": "stop", "nodes": {"node1": 1}, "services": []}',
        b'{"id": 1, "verb": "stop", "nodes": "node1", "services": []}',
        b'{"id": 1, "verb": "\\u001b[2J", "nodes": ["node1"], "services": []}',
        b"[" * 20000,
        b'{"id": ' * 8000,
        b'{"id": 1, "command": "verify"}',
        b'{"id": 1, "command": {"kind": ["verify"]}}',
        b'{"id": 1, "command": {"kind": "heal", "volume": "\\u001b[2J"}}',
        b'{"id": 1, "command": {"kind": "evacuate", "node": "node1", "dry_run": 1}}',
    ],
)
def test_a_line_that_is_no_order_is_answered_and_nothing_is_done(line: bytes) -> None:
    def carry_out(order: Order, report: Any) -> None:
        raise AssertionError("done")

    answers: list[dict[str, Any]] = []
    obey(
        line,
        carry_out,
        lambda line: answers.append(json.loads(line)),
        begin=refuse,
        known_nodes=lambda: ["node1"],
        known_services=lambda type: [],
    )
    assert [(one["end"], one["error"]) for one in answers] == [(True, "not an order")]


def test_a_command_is_begun_and_its_number_told() -> None:
    begun: list[CommandOrder] = []
    order = CommandOrder("heal", volume="gv0", user="root")
    both = pair(lambda order, report: None, lambda order: begun.append(order) or 7)
    assert both.begin(order) == 7
    assert begun == [order]


def test_why_a_command_is_not_begun() -> None:
    def begin(order: CommandOrder) -> int:
        raise GanetiGlusterError("it has already begun", hint="wait")

    with pytest.raises(OrderFailed, match="it has already begun; wait"):
        pair(lambda order, report: None, begin).begin(CommandOrder("verify"))


def test_a_command_of_which_nobody_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "BEGIN_SECONDS", 0.01)
    with pytest.raises(OrderFailed, match="no answer within"):
        Orders(lambda line: None).begin(CommandOrder("verify"))


def test_services_are_those_of_their_type() -> None:
    done: list[Order] = []
    order = Order("stop", ("node1",), ("proxy",), type="GLUSTER")
    pair(lambda order, report: done.append(order)).__call__(order, lambda outcome: None)
    assert done == [order]
