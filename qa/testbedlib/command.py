"""Run one command: an argv list, no shell, no stdin, always a time limit.

Output goes to unnamed files, not to pipes, so that a child left behind in the
background can never keep the caller waiting.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .errors import CommandTimeout, UnexpectedExit, tail

TIMED_OUT = 124  # as timeout(1) does

verbose = False


@dataclass(frozen=True)
class CompletedCommand:
    """What a command did; `node` is None for one on this machine."""

    argv: tuple[str, ...]
    stdout: str
    stderr: str
    exit_code: int
    seconds: float
    node: str | None = None

    def describe(self) -> str:
        """The node, command, exit code and end of output, for an error."""
        what = "timed out" if self.exit_code == TIMED_OUT else "exit code %d" % self.exit_code
        lines = [
            "%s: %s: %s after %.1f s"
            % (self.node or "here", shlex.join(self.argv), what, self.seconds)
        ]
        lines += [
            "%s: %s" % (name, tail(text))
            for name, text in (("stderr", self.stderr), ("stdout", self.stdout))
            if text.strip()
        ]
        return "\n  ".join(lines)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment in the C locale, without Python's own settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "LC_", "LANG"))
    }
    return {**kept, "LC_ALL": "C", **(extra or {})}


def trace(argv: Sequence[str], node: str | None = None) -> None:
    """Show the command about to run, when asked to."""
    if verbose:
        print(
            "+ %s%s" % ("%s: " % node if node else "", shlex.join(argv)),
            file=sys.stderr,
            flush=True,
        )


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    check: bool = True,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    node: str | None = None,
    shown: Sequence[str] | None = None,
    prepare: Callable[[], None] | None = None,
    kill: Callable[[], None] | None = None,
) -> CompletedCommand:
    """Run `argv` to its end and return what it did.

    `shown` is the command as the user knows it, where `argv` wraps it.
    `prepare` runs in the child before exec, `kill` replaces the killing of the
    process group when the time is over.  Raises `CommandTimeout`, and
    `UnexpectedExit` on a non-zero exit code if `check`.
    """
    shown = tuple(shown or argv)
    trace(shown, node)
    started = time.monotonic()
    with (
        tempfile.TemporaryFile() as fin,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        fin.write(stdin)
        fin.seek(0)
        process = subprocess.Popen(
            list(argv),
            stdin=fin if stdin else subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=dict(env) if env is not None else environment(),
            start_new_session=True,
            preexec_fn=prepare,
        )
        late = False
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            if process.poll() is None:
                if kill:
                    kill()
                else:
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode("utf-8", "replace"))
    code = TIMED_OUT if late else process.returncode
    if code < 0:
        code = 128 - code
    completed = CompletedCommand(shown, texts[0], texts[1], code, time.monotonic() - started, node)
    if late:
        raise CommandTimeout(completed)
    if check and code:
        raise UnexpectedExit(completed)
    return completed
