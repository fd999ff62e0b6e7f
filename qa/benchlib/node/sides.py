"""What the scripts within a node share: both sides in turn, seconds, one answer."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

OURS = "ours"
PEER = "peer"
Samples = dict[str, list[float]]

# By how much a disk is grown.
GROWTH_MIB = 64
COMMAND_SECONDS = 120
POLL_SECONDS = 0.02


def in_turn(measure: Callable[[str], float], runs: int) -> Samples:
    """`runs` measurements of each side, which take turns at being first.

    So whatever else the machine does meets both alike.
    """
    samples: Samples = {OURS: [], PEER: []}
    for index in range(runs):
        for side in order(index):
            samples[side].append(measure(side))
    return samples


def order(index: int, sides: Sequence[str] = (OURS, PEER)) -> list[str]:
    """In which order the sides go in round `index`."""
    first = index % len(sides)
    return [*sides[first:], *sides[:first]]


def command_seconds(
    argv: Sequence[str], timeout: float = COMMAND_SECONDS, *, silent: bool = False
) -> float:
    """How long a command takes from start to end; it must succeed, `silent` say nothing."""
    started = time.perf_counter()
    done = subprocess.run(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        check=False,
    )
    seconds = time.perf_counter() - started
    if done.returncode != 0 or (silent and done.stdout):
        sys.exit("%s: exit code %d: %s" % (argv, done.returncode, done.stdout.decode()[-1000:]))
    return seconds


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until `condition` is true; ends the script after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit("not within %g s: %s" % (seconds, what))
        time.sleep(POLL_SECONDS)


def answer(samples: Mapping[str, object]) -> None:
    """Print the samples of each benchmark, by name, as this script's only output.

    Under `figures.SKIPPED` it may say, by name, why others were not measured.
    """
    json.dump(samples, sys.stdout)
