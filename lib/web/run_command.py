"""The program of a command's unit, `python3 -m … NUMBER`: runs it, and keeps how it ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

from ganeti_gluster.client.invocation import FOR
from ganeti_gluster.tools import decode, private
from ganeti_gluster.web import run_files

#: No other exit status of a command is as that of one that was killed.
KILLED = 128


def main(argv: list[str], directory: str = run_files.DIRECTORY) -> int:
    """Run the command whose order is in the file of this number; returns its exit status."""
    number = int(argv[0])
    with open(run_files.path(number, run_files.ORDER, directory), encoding="utf-8") as stream:
        order = decode.build(run_files.CommandBegin, json.load(stream)).order
    with private.append(run_files.path(number, run_files.OUTPUT, directory)) as log:
        done = subprocess.run(
            order.argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, FOR: "%s (web page)" % order.user},
            check=False,
        )
    status = done.returncode if done.returncode >= 0 else KILLED - done.returncode
    ended = decode.as_data(run_files.CommandEnd(time.time(), status))
    private.write_json(run_files.path(number, run_files.END, directory), ended)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
