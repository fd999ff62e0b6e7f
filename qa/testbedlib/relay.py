"""Run a command in a node with its output passed through as it comes."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import time
from collections.abc import Sequence

from . import cgroup, command
from .node import ENVIRONMENT, Node, leave

CHUNK = 65536
POLL_SECONDS = 0.05


def run_in(node: Node, argv: Sequence[str], timeout: float) -> int:
    """Run `argv`; return its exit code, 124 if it was killed when its time was over.

    A child that it leaves in the background does not keep us, even if it
    holds the output open.
    """
    entered, group = node.enter(argv)
    command.trace(argv, node.name)
    end = time.monotonic() + timeout
    try:
        process = subprocess.Popen(
            entered,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            start_new_session=True,
            preexec_fn=lambda: cgroup.join(group),
        )
        try:
            _pass_through(process, end)
            code = process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            print(
                "testbed: %s: killed after %g s: %s" % (node.name, timeout, " ".join(argv)),
                file=sys.stderr,
            )
            code = command.TIMED_OUT
        finally:
            if process.poll() is None:
                cgroup.send_kill(group)
                process.wait()
    finally:
        leave(group)
    return code if code >= 0 else 128 - code


def _pass_through(process: subprocess.Popen[bytes], end: float) -> None:
    """Copy the output until the process has ended and what it wrote is read."""
    assert process.stdout and process.stderr
    sinks = {process.stdout: sys.stdout.buffer, process.stderr: sys.stderr.buffer}
    with selectors.DefaultSelector() as selector:
        selector.register(os.pidfd_open(process.pid), selectors.EVENT_READ)
        for stream in sinks:
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ)
        open_streams = set(sinks)
        while open_streams:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(process.args, 0)
            ended = process.poll() is not None
            ready = selector.select(0 if ended else min(1.0, max(0.0, end - time.monotonic())))
            streams = [key.fileobj for key, _ in ready if key.fileobj in sinks]
            for stream in streams:
                data = os.read(stream.fileno(), CHUNK)
                if data:
                    sinks[stream].write(data)
                    sinks[stream].flush()
                else:
                    selector.unregister(stream)
                    open_streams.discard(stream)
            if ended and not streams:
                return
