"""The progress of a remove-brick or a rebalance."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

COMPLETED = "completed"


@dataclass(frozen=True)
class TaskStatus:
    """All servers together: files and bytes moved, failures, and glusterd's word.

    `state` is "in progress", "completed", "failed", "stopped" or "not started".
    """

    state: str
    files: int
    size: int
    failures: int
    skipped: int

    @property
    def done(self) -> bool:
        """Whether all was moved, without a failure."""
        return self.state == COMPLETED and not self.failures


def parse(answer: ET.Element) -> TaskStatus:
    """The total of `remove-brick … status` or `rebalance … status`."""
    total = next(answer.iter("aggregate"), ET.Element("aggregate"))
    return TaskStatus(
        state=total.findtext("statusStr", "not started"),
        files=_number(total, "files"),
        size=_number(total, "size"),
        failures=_number(total, "failures"),
        skipped=_number(total, "skipped"),
    )


def _number(total: ET.Element, name: str) -> int:
    text = total.findtext(name, "0")
    return int(text) if text.isdecimal() else 0
