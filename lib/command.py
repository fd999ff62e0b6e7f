"""Run another program: argv in, its output out, one rich error when it fails."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from ganeti_gluster.errors import GanetiGlusterError

# How much of a failed program's output an error carries, in characters.
_OUTPUT_TAIL = 2000


@dataclass(frozen=True)
class CommandResult:
    """What a finished program left: its argv, exit status and decoded output."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str


class CommandFailed(GanetiGlusterError):
    """A program could not be started, took too long or exited with an error.

    `exit_code` is None where there is none.
    """

    def __init__(
        self, argv: Sequence[str], reason: str, *, exit_code: int | None = None, output: str = ""
    ) -> None:
        self.argv = tuple(argv)
        self.exit_code = exit_code
        self.output = output.strip()[-_OUTPUT_TAIL:]
        message = "%s: %s" % (" ".join(argv), reason)
        if self.output:
            message = "%s: %s" % (message, self.output)
        super().__init__(message)


def run(argv: Sequence[str], *, timeout: float, check: bool = True) -> CommandResult:
    """Run `argv` with closed standard input and LC_ALL=C, for `timeout` seconds at most.

    With `check`, an exit status other than 0 raises `CommandFailed`; a program
    that cannot be started or takes too long always does, and is then reaped.
    """
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
            encoding="utf-8",
            errors="replace",
        )
    except subprocess.TimeoutExpired as err:
        raise CommandFailed(argv, "no end after %g s" % timeout) from err
    except OSError as err:
        raise CommandFailed(argv, "cannot be started: %s" % err.strerror) from err
    if check and done.returncode != 0:
        raise CommandFailed(
            argv,
            "exit status %d" % done.returncode,
            exit_code=done.returncode,
            output=done.stderr or done.stdout,
        )
    return CommandResult(tuple(argv), done.returncode, done.stdout, done.stderr)
