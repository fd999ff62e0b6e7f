"""The collected data as a report of a data collector of Ganeti's monitoring daemon.

The format is that of Ganeti's design "monitoring agent": times in nanoseconds; kind 1 is a status
report, whose data has a status with a code and a message.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ganeti_gluster import __version__
from ganeti_gluster.core.verify.codes import ERROR
from ganeti_gluster.monitoring.collect import Collected
from ganeti_gluster.tools.decode import as_data

NAME = "gluster"
CATEGORY = "storage"
FORMAT_VERSION = 1
STATUS = 1

#: Status codes: all is well; temporary problem; unknown; somebody must act.
OK, TEMPORARY, UNKNOWN, BAD = 0, 1, 2, 4

# Findings that go by themselves once what causes them is over.
_MENDS_ITSELF = frozenset(("HEAL_BACKLOG",))


def report(seen: Collected) -> dict[str, Any]:
    """The report, as plain data for JSON."""
    code, message = status(seen)
    return {
        "name": NAME,
        "version": __version__,
        "format_version": FORMAT_VERSION,
        "timestamp": int(seen.time * 1e9),
        "category": CATEGORY,
        "kind": STATUS,
        "data": {
            "status": {"code": code, "message": message},
            "node": {
                name: value
                for name, value in seen.facts.to_dict().items()
                if name not in ("format", "told")
            },
            "bricks_up": dict(seen.bricks_up),
            "split_brain": dict(seen.split_brain),
            "profiles": {
                volume: [asdict(brick) for brick in bricks]
                for volume, bricks in seen.profiles.items()
            },
            "operations": [asdict(operation) for operation in seen.operations],
            "disks": [asdict(disk) for disk in seen.disks],
            "volumes": [asdict(volume) for volume in seen.volumes],
            "services": [as_data(service) for service in seen.services],
            "findings": [as_data(finding) for finding in seen.findings],
        },
    }


def status(seen: Collected) -> tuple[int, str]:
    """The node's status by what verification finds on it: code and message."""
    errors = [finding for finding in seen.findings if finding.severity is ERROR]
    if errors:
        return BAD, "; ".join(str(finding) for finding in errors)
    codes = {finding.code for finding in seen.findings}
    if "NOT_CHECKED" in codes:
        return UNKNOWN, "something could not be determined"
    if codes & _MENDS_ITSELF or any(brick.behind for brick in seen.facts.bricks):
        return TEMPORARY, "some copies need healing"
    return OK, ""
