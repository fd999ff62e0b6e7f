"""Run several checks at once, with a time limit.

A check that hangs (a frozen glusterd, a brick that does not answer) is left in a daemon thread,
and the process can end with it.  libgfapi and `subprocess` release the interpreter while they
wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LookResult:
    """What a look gave: its value, or the error, which is a TimeoutError after the time."""

    value: Any = None
    error: Exception | None = None


def look(jobs: Mapping[str, Callable[[], Any]], *, seconds: float) -> dict[str, LookResult]:
    """Call all of `jobs` at once and return what each gave after at most `seconds`."""
    answers: dict[str, LookResult] = {}

    def work(name: str, job: Callable[[], Any]) -> None:
        try:
            answers[name] = LookResult(job())
        except Exception as err:  # handed to the caller
            answers[name] = LookResult(error=err)

    threads = [
        threading.Thread(target=work, args=job, name="look %s" % job[0], daemon=True)
        for job in jobs.items()
    ]
    end = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    late = LookResult(error=TimeoutError("no answer after %g s" % seconds))
    done = dict(answers)
    return {name: done.get(name, late) for name in jobs}
