"""One run: a testbed of its own, every benchmark in turn, the rows that come of it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from testbedlib import Testbed, TestbedError, UnexpectedExit, wait_for

from . import catalogue
from .catalogue import Benchmark, Measured
from .figures import SKIPPED, Row, row

PYTHON = "/usr/bin/python3"
SCRIPTS = "/src/qa/benchlib/node"
HEALED_SECONDS = 120

Speaker = Callable[[str], None]


@contextlib.contextmanager
def nodes(name: str, suite: str, deb: Path, *, keep: bool, say: Speaker) -> Iterator[Testbed]:
    """Three nodes with the package and the entry that stock's class wants.

    What an earlier run left is removed first.  Taken down in the end, however
    that comes, unless `keep`.
    """
    testbed = Testbed(name, say=say)
    if testbed.status()["stage"] != "absent":
        testbed.down()
    testbed.up(suite=suite)  # leaves nothing if it fails
    try:
        testbed.install([deb])
        testbed.allow_stock_gluster()
        yield testbed
    finally:
        if keep:
            say("the testbed stays; remove it with: qa/testbed --name %s down" % name)
        else:
            testbed.down()


def run_all(
    testbed: Testbed, only: Sequence[str], *, quick: bool, say: Speaker
) -> tuple[list[Row], list[TestbedError]]:
    """Measure what is wanted; a benchmark that fails does not keep others from running."""
    rows: list[Row] = []
    failures: list[TestbedError] = []
    for benchmark, measured in catalogue.wanted(only):
        runs = benchmark.quick if quick else benchmark.runs
        say("%s: %d runs" % (", ".join(part.row for part in measured), runs))
        try:
            found, skipped = _run(testbed, benchmark, measured, quick=quick)
        except TestbedError as err:
            failures.append(err)
            say("  failed")
            continue
        rows += found
        for line in skipped:
            say("  %s" % line)
        for part in found:
            say(
                "  %s: %g %s, %s: %g, ratio %g"
                % (part.name, part.ours, part.unit, part.peer_name, part.peer, part.ratio)
            )
    return rows, failures


def _run(
    testbed: Testbed, benchmark: Benchmark, measured: Sequence[Measured], *, quick: bool
) -> tuple[list[Row], list[str]]:
    """One benchmark on the master, and what it says of rows left out; raises TestbedError."""
    for arguments in benchmark.before:
        _call(testbed, benchmark.script, arguments)
    if benchmark.healed:
        _wait_healed(testbed)
    try:
        output = _call(testbed, benchmark.script, benchmark.argv(quick))
    finally:
        for arguments in benchmark.after:
            _call(testbed, benchmark.script, arguments)
    try:
        return rows_of(json.loads(output), measured)
    except (ValueError, KeyError) as err:
        raise TestbedError(
            "%s: its answer cannot be used: %s: %s" % (benchmark.script, err, output[-500:])
        ) from err


def rows_of(
    samples: Mapping[str, Any], measured: Sequence[Measured]
) -> tuple[list[Row], list[str]]:
    """The rows of a script's answer, and a line for each that it left out."""
    why = samples.get(SKIPPED, {})
    rows = [
        row(part.row, part.unit[0], part.unit[1], part.peer_name, samples[part.name])
        for part in measured
        if part.name not in why
    ]
    return rows, [
        "%s: not measured: %s" % (part.row, why[part.name])
        for part in measured
        if part.name in why
    ]


def _call(testbed: Testbed, script: str, arguments: Sequence[str]) -> str:
    argv = [PYTHON, "-B", os.path.join(SCRIPTS, script), *arguments]
    done = testbed.exec(testbed.master, argv, timeout=catalogue.SCRIPT_SECONDS)
    if done.exit_code:
        raise UnexpectedExit(done, hint="look at the node itself with: qa/bench --keep")
    return done.stdout


def _wait_healed(testbed: Testbed) -> None:
    """Wait until the volume has nothing to heal: a client works otherwise meanwhile."""
    argv = ["gluster", "--mode=script", "volume", "heal", catalogue.VOLUME, "info", "summary"]

    def healed() -> bool:
        lines = testbed.exec(testbed.master, argv, timeout=60, check=True).stdout.splitlines()
        totals = [line.rpartition(":")[2] for line in lines if line.startswith("Total ")]
        return bool(totals) and all(total.strip() == "0" for total in totals)

    try:
        wait_for(healed, HEALED_SECONDS, "volume %s is healed" % catalogue.VOLUME)
    except AssertionError as err:
        raise TestbedError(
            str(err), hint="see: gluster volume heal %s info" % catalogue.VOLUME
        ) from err
