"""A sequence of steps that know whether they are done, so that it can be repeated."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ganeti_gluster.core.pool.agents import AgentFailed
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools.command import CommandFailed
from ganeti_gluster.tools.gluster_cli import GlusterFailed

#: Takes a line of progress.
Say = Callable[[str], None]

#: Seconds between two looks at something that is waited for.
PAUSE = 1.0


@dataclass(frozen=True)
class Step:
    """`done` looks whether there is nothing to do, `do` does it and may be repeated."""

    text: str
    done: Callable[[], bool]
    do: Callable[[], None]


class StepFailed(GanetiGlusterError):
    """A step of several failed; what was done before it stays, and is found again."""

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(
            "%s: %s" % (step, reason),
            hint="the steps before it are done; run the command again to continue",
        )


class Changed(GanetiGlusterError):
    """What is to be done is not what was shown any more."""


def check_same(shown: Sequence[Step], now: Sequence[Step]) -> None:
    """Raise `Changed` unless these steps are those that somebody has said yes to."""
    before, after = ([step.text for step in some] for some in (shown, now))
    if before != after:
        other = [text for text in after if text not in before] or ["fewer steps"]
        raise Changed(
            "nothing was changed: the required steps have changed since the question, and are"
            " now: %s" % "; ".join(other),
            hint="run the command again",
        )


def check_done(shown: Sequence[bool], now: Sequence[Step]) -> None:
    """Raise `Changed` if one of these steps was shown as done and is not."""
    undone = [step.text for done, step in zip(shown, now, strict=True) if done and not step.done()]
    if undone:
        raise Changed(
            "nothing was changed: shown as done, but not done now: %s" % "; ".join(undone),
            hint="run the command again",
        )


class NotInTime(GanetiGlusterError):
    """Something that was waited for did not come."""


def run(steps: Sequence[Step], say: Say) -> None:
    """Do those steps that are not done; raises `StepFailed` at the first that fails."""
    for number, step in enumerate(steps, 1):
        label = "[%d/%d] %s" % (number, len(steps), step.text)
        try:
            if step.done():
                say("%s: already done" % label)
                continue
            say("%s ..." % label)
            started = time.monotonic()
            step.do()
        except StepFailed:  # of a step that consists of steps
            raise
        except GanetiGlusterError as err:
            raise StepFailed(step.text, str(err)) from err
        say("%s: done (%.1f s)" % (label, time.monotonic() - started))


def wait(
    what: str, problem: Callable[[], str], *, seconds: float, say: Say = lambda line: None
) -> None:
    """Check until `problem` returns none; raises `NotInTime` with the last one.

    A missing answer is a problem like others.  Each change of the problem is shown.
    """
    end = time.monotonic() + seconds
    said = ""
    while True:
        try:
            last = problem()
        except (GlusterFailed, CommandFailed, AgentFailed) as err:
            last = str(err)
        if not last:
            return
        if last != said:
            say("  %s" % last)
            said = last
        if time.monotonic() + PAUSE > end:
            raise NotInTime("%s: not completed within %d s: %s" % (what, seconds, last))
        time.sleep(PAUSE)
