"""How long a command knows itself to have been running."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from ganeti_gluster.client import invocation

PROGRAM = """
import runpy, sys
running_for = runpy.run_path(sys.argv[1])["running_for"]
print("ready", flush=True)
input()
print(running_for())
"""


@pytest.mark.allow_process
def test_the_start_of_the_interpreter_counts() -> None:
    begin = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, invocation.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    least = time.monotonic() - begin
    output, _ = process.communicate("\n", timeout=60)
    # The kernel counts in hundredths of a second.
    assert least - 0.02 < float(output) < time.monotonic() - begin + 0.02
