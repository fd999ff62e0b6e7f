"""Run another program: argv in, its output out, one detailed error if it fails."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ganeti_gluster.errors import GanetiGlusterError

#: Where programs are, where the environment does not say: Ganeti's restricted commands
#: have none, and Python then looks into /bin and /usr/bin alone.
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"

#: Bytes that a program may write to its output, and to its standard error, where the
#: caller says nothing else: no honest answer of one on this node comes near.
LONGEST = 64 * 1024 * 1024

# How much of a failed program's output an error carries, in characters.
_OUTPUT_TAIL = 2000
# Seconds that a program has to end after it was killed.
_KILL_SECONDS = 2.0
_PIECE = 65536


@dataclass(frozen=True)
class CommandResult:
    """What a finished program left: its argv, exit status and decoded output."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str


#: What runs a command, as `run` does.
Run = Callable[..., CommandResult]


class CommandFailed(GanetiGlusterError):
    """A program could not be started, took too long, wrote too much or exited with an error.

    `exit_code` is None if there is none.
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


def is_installed(program: str) -> bool:
    """Whether `run` finds a program."""
    return shutil.which(program, path=os.environ.get("PATH", PATH)) is not None


def run(
    argv: Sequence[str], *, timeout: float, check: bool = True, longest: int = LONGEST
) -> CommandResult:
    """Run `argv` with closed standard input and LC_ALL=C, for `timeout` seconds at most.

    With `check`, an exit status other than 0 raises `CommandFailed`; a program
    that cannot be started, takes too long or writes more than `longest` bytes always
    does, and is killed.  One that waits in the kernel for a disk does not even end then:
    it is left to the system, so that what hangs is that program and not this one.
    """
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": PATH, **os.environ, "LC_ALL": "C"},
        )
    except OSError as err:
        raise CommandFailed(argv, "cannot be started: %s" % err.strerror) from err
    try:
        stdout, stderr = _outputs(process, time.monotonic() + timeout, longest)
    except BaseException as err:
        _kill(process)
        if isinstance(err, subprocess.TimeoutExpired):
            raise CommandFailed(argv, "did not end within %g s" % timeout) from err
        if isinstance(err, _TooMuch):
            raise CommandFailed(argv, "wrote more than %d bytes of output" % longest) from err
        raise
    if check and process.returncode != 0:
        raise CommandFailed(
            argv,
            "exit status %d" % process.returncode,
            exit_code=process.returncode,
            output=stderr or stdout,
        )
    return CommandResult(tuple(argv), process.returncode, stdout, stderr)


class _TooMuch(Exception):
    """A program writes more than it may."""


def _outputs(process: subprocess.Popen[bytes], deadline: float, longest: int) -> tuple[str, str]:
    """What a program writes until it ends, decoded; raises TimeoutExpired or `_TooMuch`."""
    taken = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for stream in taken:
            assert stream is not None
            selector.register(stream, selectors.EVENT_READ, taken[stream])
        while selector.get_map():
            ready = selector.select(_left(process, deadline))
            for key, _ in ready:
                piece = os.read(key.fd, _PIECE)
                if not piece:
                    selector.unregister(key.fileobj)
                key.data.extend(piece)
                if len(key.data) > longest:
                    raise _TooMuch
    process.wait(_left(process, deadline))
    for stream in taken:
        assert stream is not None
        stream.close()
    stdout, stderr = (_text(data) for data in taken.values())
    return stdout, stderr


def _left(process: subprocess.Popen[bytes], deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise subprocess.TimeoutExpired(process.args, left)
    return left


def _text(data: bytearray) -> str:
    """As Python's text files read it, with any end of a line."""
    text = data.decode("utf-8", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_KILL_SECONDS)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
