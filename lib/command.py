"""Run another program: argv in, its output out, one rich error when it fails."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from ganeti_gluster.errors import GanetiGlusterError

#: Where programs are, where the environment does not say: Ganeti's restricted commands
#: have none, and Python then looks into /bin and /usr/bin alone.
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

# How much of a failed program's output an error carries, in characters.
_OUTPUT_TAIL = 2000
# Seconds that a program has to end after it was killed.
_KILL_SECONDS = 2.0


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


def found(program: str) -> bool:
    """Whether `run` would find a program."""
    return shutil.which(program, path=os.environ.get("PATH", PATH)) is not None


def run(argv: Sequence[str], *, timeout: float, check: bool = True) -> CommandResult:
    """Run `argv` with closed standard input and LC_ALL=C, for `timeout` seconds at most.

    With `check`, an exit status other than 0 raises `CommandFailed`; a program
    that cannot be started or takes too long always does, and is killed.  One
    that waits in the kernel for a disk does not even end then: it is left to
    the system, so that what hangs is that program and not this one.
    """
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": PATH, **os.environ, "LC_ALL": "C"},
            encoding="utf-8",
            errors="replace",
        )
    except OSError as err:
        raise CommandFailed(argv, "cannot be started: %s" % err.strerror) from err
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except BaseException as err:
        _kill(process)
        if isinstance(err, subprocess.TimeoutExpired):
            raise CommandFailed(argv, "no end after %g s" % timeout) from err
        raise
    if check and process.returncode != 0:
        raise CommandFailed(
            argv,
            "exit status %d" % process.returncode,
            exit_code=process.returncode,
            output=stderr or stdout,
        )
    return CommandResult(tuple(argv), process.returncode, stdout, stderr)


def _kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_KILL_SECONDS)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
