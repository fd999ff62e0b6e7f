"""The text of the page: words, signs and tones of statuses, sizes and ages.

A tone is a colour and never stands alone: each status has its own word and sign.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from ganeti_gluster.core.pool.state import Condition
from ganeti_gluster.core.services.control import UNCHANGED, Outcome
from ganeti_gluster.core.services.model import ServiceStatus
from ganeti_gluster.core.verify.codes import ERROR, WARNING, Severity
from ganeti_gluster.web.facts import SWIFT as SWIFT
from ganeti_gluster.web.facts import ShownCommand, ShownNode


@dataclass(frozen=True)
class Word:
    """How a status is shown: its word, the tone of its colour, the name of its sign."""

    text: str
    tone: str
    sign: str


#: The tones of statuses, the worst first.
TONES = ("bad", "warn", "off", "good")
_TONES = {"green": "good", "red": "bad", "amber": "warn", "grey": "off"}
_SIGNS = {
    ServiceStatus.RUNNING: "check",
    ServiceStatus.STOPPED: "cross",
    ServiceStatus.PARTIALLY_UP: "half",
    ServiceStatus.NOT_INSTALLED: "dash",
    ServiceStatus.UNKNOWN: "question",
}
_STATUS_WORDS = {
    status.value: Word(status.word, _TONES[status.colour], _SIGNS[status])
    for status in ServiceStatus
}

NOTHING_WRONG = Word("Nothing wrong", "good", "check")
NOTHING_WAS_WRONG = Word("Nothing was wrong then", "off", "question")
#: Seconds after which a verification says nothing of the present any more.
VERIFIED = 86400.0
_VERDICTS = {
    Condition.HEALTHY: Word("Healthy", "good", "check"),
    Condition.UNKNOWN: Word("Unknown", "off", "question"),
    Condition.DEGRADED: Word("Degraded", "warn", "half"),
    Condition.BROKEN: Word("Out of service", "bad", "cross"),
}
HEALTHY = _VERDICTS[Condition.HEALTHY]
DEGRADED = _VERDICTS[Condition.DEGRADED]
NOT_KNOWN = _VERDICTS[Condition.UNKNOWN]
ONLINE = Word("Online", "good", "check")
SILENT = Word("Does not answer", "bad", "cross")
SET_OFFLINE = Word("Marked offline", "off", "dash")

_SEVERITIES = {
    ERROR: Word("Error", "bad", "cross"),
    WARNING: Word("Warning", "warn", "half"),
}
ACTION_STATES = {
    "running": Word("In progress", "off", "half"),
    "done": Word("Done", "good", "check"),
    "partly": Word("Partly done", "warn", "half"),
    "failed": Word("Failed", "bad", "cross"),
}
#: The states of commands (`facts.ShownCommand`).
COMMAND_STATES = {
    "running": Word("In progress", "off", "half"),
    "done": Word("Done", "good", "check"),
    "shown": Word("Nothing changed yet", "off", "question"),
    "failed": Word("Failed", "bad", "cross"),
    "killed": Word("Interrupted", "bad", "cross"),
}
ERRORS_FOUND = Word("Errors found", "bad", "cross")
ACTION_WORDS = {"start": "Start", "stop": "Stop", "restart": "Restart"}

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def status_word(status: ServiceStatus | str) -> Word:
    """The word of a service's status; of anything else, Unknown's."""
    return _STATUS_WORDS.get(str(status), _STATUS_WORDS[ServiceStatus.UNKNOWN.value])


def severity_word(severity: Severity) -> Word:
    """The word of a finding's severity."""
    return _SEVERITIES[severity]


def verdict_word(verdict: Condition) -> Word:
    """The word of a volume's verdict, or the pool's."""
    return _VERDICTS[verdict]


def command_word(command: ShownCommand) -> Word:
    """How far a command is, or how it ended."""
    # Its exit status says what it found, unless it says that it failed.
    last = command.lines[-1] if command.lines else "Failure:"
    if command.order.kind == "verify" and command.status == 1:
        return COMMAND_STATES["failed"] if last.startswith("Failure:") else ERRORS_FOUND
    return COMMAND_STATES[command.state]


def outcome(one: Outcome) -> str:
    """The text about the outcome for a service."""
    return one.message or ("already done" if one.result == UNCHANGED else "")


def node_word(node: ShownNode) -> Word:
    """Whether Ganeti uses a node, and it answers."""
    if node.offline:
        return SET_OFFLINE
    return SILENT if node.silent else ONLINE


def brick_word(online: bool | None) -> Word:
    """Whether a brick is running."""
    if online is None:
        return status_word(ServiceStatus.UNKNOWN)
    return status_word(ServiceStatus.RUNNING if online else ServiceStatus.STOPPED)


def verified_word(age: float | None) -> Word:
    """That a verification found nothing, so many seconds ago."""
    return NOTHING_WRONG if age is not None and age <= VERIFIED else NOTHING_WAS_WRONG


def size(value: int | float | None) -> str:
    """Bytes for people.

    >>> size(1536)
    '1.5 KiB'
    """
    if value is None:
        return "?"
    number = float(value)
    for unit in _UNITS:
        if abs(number) < 1024 or unit == _UNITS[-1]:
            text = "%d" % number if unit == "B" or number >= 100 else "%.1f" % number
            return "%s %s" % (text, unit)
        number /= 1024
    raise AssertionError("not reached")


def duration(seconds: float | None) -> str:
    """A time in its largest unit.

    >>> duration(150)
    '2 min'
    """
    if seconds is None:
        return "never"
    if seconds < 60:
        return "%d s" % seconds
    if seconds < 3600:
        return "%d min" % (seconds // 60)
    if seconds < 2 * 86400:
        return "%d h" % (seconds // 3600)
    return "%d days" % (seconds // 86400)


def isotime(at: float) -> str:
    """A time in UTC.

    >>> isotime(0)
    '1970-01-01 00:00:00Z'
    """
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at))
