"""Ask nodes by Ganeti's restricted commands, for a bounded time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ganeti import cli, constants, errors, opcodes

#: Seconds between two looks at a job; the master daemon answers early if it changes.
_POLL = 2.0


def run(
    command: str, nodes: Sequence[str], *, seconds: float, client: Any = None
) -> dict[str, tuple[bool, str]]:
    """Run a restricted command on `nodes`: for each whether it succeeded, and its output.

    One job without locks, so that it also works while a verification holds them.
    A job that has not ended in `seconds` is cancelled if it did not begin, and its
    nodes did not succeed.
    """
    if not nodes:
        return {}
    client = client or cli.GetClient()
    op = opcodes.OpRestrictedCommand(nodes=list(nodes), command=command, use_locking=False)
    try:
        job = client.SubmitJob([op])
        status, result = _wait(client, job, seconds)
    except errors.GenericError as err:
        return dict.fromkeys(nodes, (False, str(err)))
    if status == constants.JOB_STATUS_SUCCESS:
        return {
            node: (bool(success), str(output))
            for node, (success, output) in zip(nodes, result[0], strict=True)
        }
    if status in constants.JOBS_FINALIZED:
        return dict.fromkeys(nodes, (False, "job %s: %s" % (job, status)))
    client.CancelJob(job)
    return dict.fromkeys(nodes, (False, "job %s has not ended after %g s" % (job, seconds)))


def _wait(client: Any, job: int, seconds: float) -> tuple[str, Any]:
    """The job's status and its opcodes' results, once it has ended or the time has."""
    end = time.monotonic() + seconds
    while True:
        ((status, result),) = client.QueryJobs([job], ["status", "opresult"])
        left = end - time.monotonic()
        if status in constants.JOBS_FINALIZED or left <= 0:
            return status, result
        client.WaitForJobChangeOnce(
            job, ["status"], None, None, timeout=max(1, int(min(left, _POLL)))
        )
