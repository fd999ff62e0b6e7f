"""What tests need: commands with a judgement, and waiting without sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from . import command
from .command import CompletedCommand
from .errors import CommandTimeout, TestbedError
from .testbed import Testbed

Result = TypeVar("Result")
POLL_SECONDS = 0.1


def assert_command(
    cmd: Sequence[str],
    *,
    node: str | None = None,
    fail: bool | int = False,
    max_seconds: float = 60,
    stdin: bytes = b"",
    testbed: Testbed | None = None,
) -> CompletedCommand:
    """Run `cmd` on a node (on this machine if None) and assert how it ends.

    `fail`: False, it must succeed; True, it must fail; a number, it must end
    with exactly that exit code.  Raises AssertionError, with the node, the
    command, the exit code and the end of its output, if it does not, or takes
    longer than `max_seconds`.
    """
    if isinstance(cmd, (str, bytes)):
        raise TypeError("a command is a list of arguments, not %r" % (cmd,))
    argv = [str(word) for word in cmd]
    try:
        if node is None:
            done = command.run(argv, timeout=max_seconds, check=False, stdin=stdin)
        else:
            done = (testbed or Testbed()).exec(node, argv, timeout=max_seconds, stdin=stdin)
    except CommandTimeout as err:
        raise AssertionError("not within %g s: %s" % (max_seconds, err)) from err
    if isinstance(fail, bool):
        good, wanted = bool(done.exit_code) == fail, "failure" if fail else "success"
    else:
        good, wanted = done.exit_code == fail, "exit code %d" % fail
    assert good, "expected %s of %s" % (wanted, done.describe())
    return done


def wait_for(condition: Callable[[], Result], seconds: float, what: str) -> Result:
    """Call `condition` until its result is true, and return that.

    A TestbedError or AssertionError counts as "not yet".  Raises AssertionError,
    with the last of them, after `seconds`.
    """
    end = time.monotonic() + seconds
    while True:
        last: object = "never true"
        try:
            result = condition()
            if result:
                return result
        except (TestbedError, AssertionError) as err:
            last = err
        if time.monotonic() >= end:
            raise AssertionError("not within %g s: %s (%s)" % (seconds, what, last))
        time.sleep(POLL_SECONDS)
