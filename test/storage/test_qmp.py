"""What a connection to QEMU's monitor does with silence."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.core.snapshot.live import MonitorFailed

REFUSED = "kvm: error executing the blockdev-del command: Node is in use (GenericError):"
UNKNOWN = "Instance does not support the 'block-export-del' QMP command."
SILENT = "Timeout while receiving a QMP message: timed out"


class Connection:
    """Ganeti's; `ends` are the ways in which its commands end, one after the other."""

    def __init__(self, *ends: Callable[[], Any]) -> None:
        self.ends = list(ends)
        self.sent: list[str] = []

    def execute_qmp(self, command: str, arguments: dict[str, Any]) -> Any:
        self.sent.append(command)
        return self.ends.pop(0)()

    def _AddFd(self, descriptor: int) -> int:
        self.sent.append("add-fd")
        return int(self.ends.pop(0)())


def raising(error: Exception) -> Callable[[], Any]:
    def end() -> Any:
        raise error

    return end


def answering(answer: Any) -> Callable[[], Any]:
    return lambda: answer


@pytest.fixture
def qmp(ganeti: SimpleNamespace) -> Any:
    return ganeti.load("qmp")


@pytest.mark.parametrize("text", [REFUSED, UNKNOWN])
def test_after_a_refusal_the_next_command_is_sent(
    qmp: Any, ganeti: SimpleNamespace, text: str
) -> None:
    error = ganeti.errors.HypervisorError(text)
    connection = Connection(raising(error), answering({"status": "running"}))
    monitor = qmp.QmpMonitor(connection)
    with pytest.raises(MonitorFailed, match=text[:20]):
        monitor.execute("blockdev-del")
    assert monitor.execute("query-status") == {"status": "running"}


@pytest.mark.parametrize("kind", ["silent", "broken", "closed"])
def test_after_silence_no_answer_is_taken_for_that_of_another_command(
    qmp: Any, ganeti: SimpleNamespace, kind: str
) -> None:
    error = {
        "silent": ganeti.errors.HypervisorError(SILENT),
        "broken": BrokenPipeError("Broken pipe"),
        "closed": TypeError("'NoneType' object is not subscriptable"),
    }[kind]
    # What comes next is the answer to the first command.
    connection = Connection(raising(error), answering({"running": False}))
    monitor = qmp.QmpMonitor(connection)
    with pytest.raises(MonitorFailed) as first:
        monitor.execute("nbd-server-stop")
    with pytest.raises(MonitorFailed) as second:
        monitor.execute("query-status")
    with pytest.raises(MonitorFailed):
        monitor.add_fd(3)
    assert connection.sent == ["nbd-server-stop"]
    assert str(second.value) == str(first.value)
    assert "NoneType" not in str(first.value)
