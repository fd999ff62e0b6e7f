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
        _show(todo)
        texts = [step.text for step in todo]
        if opts.dry_run:
            plans.show(*texts)
            return 0
        if not plans.is_agreed(opts, *texts) and confirm(
            opts, question, otherwise="Nothing was changed"
        ):
            # The answer may have taken hours: what is refused is looked for once more.
            shown, todo = todo, plan()
            steps.check_same(shown, todo)
        pool_nodes.logger().info("%s, by %s", " ".join(sys.argv), invocation.caller())
        steps.run(todo, Say)
        if done:
            cli.ToStdout("%s", done)
    return 0


def _show(todo: list[steps.Step]) -> None:
    """Print the steps, and which of them are done already."""
    cli.ToStdout("Steps:")
    for step in todo:
        cli.ToStdout("  [%s] %s", "done" if step.done() else "    ", step.text)


def Say(line: str) -> None:
    """A line of progress, for the terminal and for the log."""
    cli.ToStdout("%s", line)
    pool_nodes.logger().info("%s", line.strip())
