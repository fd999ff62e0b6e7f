"""Each fault in the middle of each operation, with a guest that writes (doc/faults.rst).

The full matrix takes hours: `make faults`.  With FAULT_TABLE in the environment the results
are kept in matrix/results.json, beside those of earlier runs, and that page is written;
FAULT_SEED repeats a cell's moments.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testbedlib import wait_for

from . import evidence
from .conftest import Cluster
from .matrix import checks, report
from .matrix.faults import FAULTS, STRUCK, Fault, Missed
from .matrix.operation import Operation
from .matrix.operations import OPERATIONS
from .matrix.world import GUEST, LIMIT, OTHER, Command, World

#: Cheap ones that tell much, which are run with all other tests.
SAMPLE = [
    ("server killed", "grow"),
    ("brick killed", "snapshot"),
    ("server killed", "migrate"),
    ("job killed", "create"),
]
#: How often a cell is begun whose operation ended before the fault came.
ATTEMPTS = 4
RESULTS = Path(__file__).with_name("matrix") / "results.json"


def cells() -> list[object]:
    """All cells that are not struck, those of an operation one after the other."""
    return [
        pytest.param(
            fault,
            operation,
            id="%s-%s" % (operation.replace(" ", "_"), fault.replace(" ", "_")),
            marks=[pytest.mark.one_suite]
            if (fault, operation) in SAMPLE
            else [pytest.mark.faults],
        )
        for operation in OPERATIONS
        for fault in FAULTS
        if (fault, operation) not in STRUCK
    ]


@pytest.fixture(scope="module")
def world(cluster: Cluster) -> Iterator[World]:
    seed = os.environ.get("FAULT_SEED") or "%08x" % random.getrandbits(32)
    found = World(cluster, seed)
    found.equip()
    found.spoiled = bool({GUEST, OTHER} & found.instances().keys())  # of a run that was ended
    yield found
    if found.spoiled:
        found.reset()
    found.release()
    if found.image:
        cluster.remove(GUEST)
    if "exported" in found.kept:
        cluster.run("gnt-backup", "remove", OTHER)


@pytest.fixture(scope="module")
def keep(cluster: Cluster) -> Iterator[Callable[[report.Cell, report.Result], None]]:
    """Keep a result; the page is written in the end, with those of earlier runs."""
    page = os.environ.get("FAULT_TABLE")

    def add(cell: report.Cell, result: report.Result) -> None:
        if page:
            report.add(RESULTS, cell, result)

    yield add
    if page:
        text = report.render(
            report.load(RESULTS),
            faults={name: fault.what for name, fault in FAULTS.items()},
            operations=list(OPERATIONS),
            struck=STRUCK,
            sample=SAMPLE,
            versions=versions(cluster),
        )
        Path(page).write_text(text, "utf-8")


def versions(cluster: Cluster) -> str:
    """What the results were seen with."""

    def said(*argv: str) -> str:
        return cluster.run(*argv).stdout.split("\n")[0]

    return "Seen with release %s of this package on Debian %s:\n%s, %s, %s." % (
        said("dpkg-query", "-f", "${Version}", "-W", "ganeti-gluster"),
        said("cat", "/etc/debian_version"),
        "Ganeti " + said("dpkg-query", "-f", "${Version}", "-W", "ganeti"),
        "GlusterFS " + said("dpkg-query", "-f", "${Version}", "-W", "glusterfs-server"),
        "QEMU " + said("dpkg-query", "-f", "${Version}", "-W", "qemu-system-x86"),
    )


@pytest.mark.parametrize(("fault", "operation"), cells())
def test_cell(
    world: World,
    keep: Callable[[report.Cell, report.Result], None],
    fault: str,
    operation: str,
) -> None:
    done, what = OPERATIONS[operation], FAULTS[fault]
    if len(world.cluster.nodes) < done.nodes:
        pytest.skip("it takes %d nodes; make faults has them" % done.nodes)
    world.random = random.Random("%s %s %s" % (world.seed, fault, operation))
    began = time.monotonic()
    result = report.Result(
        report.FAILED, 0, report.today(), seed=world.seed, why="it was interrupted"
    )
    world.say("%s / %s, seed %s" % (operation, fault, world.seed))
    try:
        result.first = run(world, what, done)
        result.outcome, result.why = report.PASSED, ""
    except Exception as err:
        missing = err.numbers if isinstance(err, evidence.RecordsMissing) else []
        where = evidence.keep(
            world.cluster,
            "%s %s" % (operation, fault),
            why="%s: %s\nseed %s" % (type(err).__name__, err, world.seed),
            boots=world.boots,
            image=world.image,
            records=missing[:4],
            base=checks.BASE,
        )
        err.add_note("seed %s; evidence: %s" % (world.seed, where))
        result.outcome, result.why = report.FAILED, str(err)[:400]
        world.spoiled = True
        raise
    finally:
        world.spoiled |= done.spoils
        result.seconds = round(time.monotonic() - began)
        result.notes = list(world.notes)
        keep((fault, operation), result)
        world.say("%s: %s / %s: %s" % (result.outcome, operation, fault, result))


def run(world: World, fault: Fault, operation: Operation) -> str:
    """One cell; returns how the command ended upon which the fault came."""
    spread = operation.spread
    for _ in range(ATTEMPTS):
        world.prepare(operation.home)
        operation.prepare(world)
        world.say("the guest runs on %s, %d records" % (world.home, world.known))
        try:
            first = struck_by(world, fault, operation, spread)
        except Missed as err:
            print("missed: %s" % err)
            world.revive()
            operation.undo(world)
            spread /= 3
            continue
        break
    else:
        raise AssertionError("the operation had always ended before the fault came")
    world.revive()
    world.goes_on()
    if first != "succeeded" and not operation.is_done(world):
        operation.check_failed(world)
        operation.tidy(world)
        checks.nothing_left(world, operation.images(world) | operation.residue(world))
        if not operation.is_done(world):
            again = Command(world.cluster, operation.argv(world)).ended()
            assert operation.succeeded(again), "not again: %s" % again.describe()
    elif first != "succeeded":
        operation.done_after_all(world)
    images = operation.check(world)
    world.goes_on()
    world.say("the operation is checked")
    checks.consoles(world)
    checks.copies(world)
    checks.records(world)
    world.say("the records are checked")
    checks.one_writer(world, images)
    checks.nothing_left(world, images)
    operation.undo(world)
    return first


def struck_by(world: World, fault: Fault, operation: Operation, spread: float) -> str:
    """Give the command, let the fault come and go, and say how the command ended."""
    if fault.early:
        fault.produce(world, operation)
    try:
        command = Command(world.cluster, operation.argv(world))
        wait_for(
            lambda: not command.is_alive() or operation.under_way(world), 120, "it is under way"
        )
        command.join(world.random.uniform(0, spread))
        if not fault.early:
            if not command.is_alive():
                raise Missed(command.ended().describe())
            fault.produce(world, operation)
        world.say("the fault is there")
        over = time.monotonic() + fault.hold
        command.join(fault.hold)
        if fault.whole:
            threading.Event().wait(max(0.0, over - time.monotonic()))
    finally:
        fault.undo(world, operation)
        world.say("the fault is undone")
    if command.is_alive() or world.jobs():
        operation.let_go_on(world)
    done = command.ended()
    world.say(done.describe())
    # A command may lose the master, while its job goes on.
    world.until(lambda: not world.jobs(), "its job has ended", LIMIT)
    return "succeeded" if operation.succeeded(done) else "failed"


def test_what_is_struck_and_what_is_sampled_is_in_the_matrix() -> None:
    all_cells = {(fault, operation) for fault in FAULTS for operation in OPERATIONS}
    assert set(STRUCK) <= all_cells
    assert set(SAMPLE) <= all_cells - set(STRUCK)


def test_the_page_tells_what_passed_failed_was_struck_and_not_run() -> None:
    page = report.render(
        {
            ("cut", "grow"): report.Result(report.PASSED, 31, "2026-01-02", first="failed"),
            ("cut", "copy"): report.Result(report.FAILED, 7, "2026-01-01", why="left: a unit"),
        },
        faults={"cut": "no network", "full": "no room"},
        operations=["grow", "copy"],
        struck={("full", "copy"): "nothing is written"},
        sample=[("cut", "grow")],
        versions="Seen.",
    )
    assert "cut  31r\\* FAILED\nfull .     [1]_\n" in page
    assert "The last cell was run on 2026-01-02." in page
    assert "Of 4 cells, 1 are struck; of the others 1 passed, 1 failed and 1 were not run." in page
    assert "- copy, cut: left: a unit\n" in page
    assert page.endswith(".. [1] nothing is written.\n")
