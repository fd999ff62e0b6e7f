"""Commands that change the pool in steps: shown first, asked for, and taken one by one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ganeti import cli

from ganeti_gluster.client import invocation, plans
from ganeti_gluster.client.options import confirm
from ganeti_gluster.cmdlib import pool_nodes
from ganeti_gluster.core.pool import steps


def carry_out(
    opts: Any, plan: Callable[[], list[steps.Step]], question: str, *, done: str = ""
) -> int:
    """Show the steps, ask, and take them if they are still the same then."""
    with pool_nodes.exclusive():
        todo = plan()
        done_before = _show(todo)
        shown_steps = list(zip([step.text for step in todo], done_before, strict=True))
        if opts.dry_run:
            plans.show(*shown_steps)
            return 0
        if not plans.is_agreed(opts, *shown_steps) and confirm(
            opts, question, otherwise="Nothing was changed"
        ):
            # The answer may have taken hours: what is refused is looked for once more.
            shown, todo = todo, plan()
            steps.check_same(shown, todo)
            steps.check_done(done_before, todo)
        log_caller()
        steps.run(todo, Say)
        if done:
            cli.ToStdout("%s", done)
    return 0


def log_caller() -> None:
    """Have the log of the pool say who has begun this command."""
    pool_nodes.logger().info("%s, by %s", " ".join(sys.argv), invocation.caller())


def _show(todo: list[steps.Step]) -> list[bool]:
    """Print the steps, and which of them are done already; returns the latter."""
    cli.ToStdout("Steps:")
    found = []
    for step in todo:
        found.append(step.done())
        cli.ToStdout("  [%s] %s", "done" if found[-1] else "    ", step.text)
    return found


def Say(line: str) -> None:
    """A line of progress, for the terminal and for the log."""
    cli.ToStdout("%s", line)
    pool_nodes.logger().info("%s", line.strip())
