"""The table of the matrix's results, as reStructuredText."""

from __future__ import annotations

import datetime
import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

PASSED, FAILED = "passed", "failed"
Cell = tuple[str, str]

_HEAD = """\
================
The fault matrix
================

Each row is a fault, each column what is under way on the volume while it comes, with a guest
that writes numbered records all the while.  ``make faults`` runs all of it, in some hours, and
writes this page; ``make check`` runs the cells that are marked with a star.

What is done in a cell: the command is given, and once one sees that it is under way (its job
runs, its copy is on a brick, the guest is on its way), and a random moment later, the fault
comes.  It stays for a while, or until the command has ended, and is undone.  Then these have
to be true, whether the command succeeded or failed:

- no record is missing that the guest was told is written: each of the bricks is read, past
  GlusterFS, once all is healed; and the guest goes on;
- by the word of each brick the guest's node, and no other, has the guest's image;
- the same command succeeds if it had failed; what the documentation demands before that
  (``migrate --cleanup``, ``disk remove-snapshot``, ``disk remove-orphans`` a day later) is done;
- what it made has the bytes that it should have, on all bricks;
- nothing is left: no image, piece or holder's word, no unit, process or export, no job, no
  lock of Ganeti's.

GlusterFS 11.1 leaves four things that an administrator has to end, by the advice of
``gnt-gluster verify``; the cells do so, and go on:

- glusterd that ends while it stores a volume, with its node or by itself, may lack a file of it
  then and does not start again (``GLUSTERD_FILES``, doc/pool.rst);
- glusterd may start a brick twice when its node was cut off, and know the port of neither
  (``BRICK_NO_PORT``);
- a self-heal daemon may try an old port of a brick for ever, and then no order to heal that is
  given succeeds (``HEAL_DAEMON_DISCONNECTED``).  For release 11 resets the port that glusterd has
  named only once a connection has succeeded (``rpc_clnt_notify``), where release 10 reset it
  with each that ended.  The node's monitoring agent restarts such a daemon after two minutes
  (doc/pool.rst); the cells do not wait for that;
- a guest that writes all the while keeps the lock of its image's attributes, which a heal
  wants at once or not at all (``HEAL_BACKLOG``; ``cluster.post-op-delay-secs`` below).

The faults
==========

%(faults)s

The results
===========

%(versions)s

The last cell was run on %(date)s.  A number is the seconds that a cell took which passed, the
guest's start and all checks among them; with an ``r`` the command had failed, and succeeded when
it was given again.  ``.`` is a cell that was not run yet, and a footnote says why one makes no
sense.

%(table)s

%(counts)s

%(failures)s%(done)s%(notes)s
"""


@dataclass
class Result:
    """What came of a cell; `first` is how the command ended that the fault came upon."""

    outcome: str
    seconds: int
    date: str
    first: str = ""
    notes: list[str] = field(default_factory=list)
    seed: str = ""
    why: str = ""


def load(path: Path) -> dict[Cell, Result]:
    """The results kept in a file, none if there is no such file."""
    if not path.exists():
        return {}
    rows = json.loads(path.read_text("utf-8"))
    return {(row["fault"], row["operation"]): Result(**row["result"]) for row in rows}


def add(path: Path, cell: Cell, result: Result) -> None:
    """Keep a result with those that are in the file, a line each."""
    results = {**load(path), cell: result}
    rows = [
        {"fault": fault, "operation": operation, "result": asdict(each)}
        for (fault, operation), each in sorted(results.items())
    ]
    new = path.with_suffix(".new")
    new.write_text("[\n%s\n]\n" % ",\n".join(json.dumps(row) for row in rows), "utf-8")
    new.replace(path)


def today() -> str:
    return datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d")


def render(
    results: Mapping[Cell, Result],
    *,
    faults: Mapping[str, str],
    operations: Sequence[str],
    struck: Mapping[Cell, str],
    sample: Sequence[Cell],
    versions: str,
) -> str:
    """The page."""
    reasons = list(dict.fromkeys(struck.values()))

    def text(cell: Cell) -> str:
        if cell in struck:
            return "[%d]_" % (reasons.index(struck[cell]) + 1)
        star = r"\*" if cell in sample else ""
        if cell not in results:
            return "." + star
        result = results[cell]
        if result.outcome != PASSED:
            return "FAILED" + star
        again = "r" if result.first == "failed" else ""
        return "%d%s%s" % (result.seconds, again, star)

    rows = [["", *operations]]
    rows += [[fault, *(text((fault, each)) for each in operations)] for fault in faults]
    cells = [(fault, each) for fault in faults for each in operations]
    open_cells = [cell for cell in cells if cell not in struck]
    run = [results[cell] for cell in open_cells if cell in results]
    failed = sum(result.outcome != PASSED for result in run)
    counts = (
        "Of %d cells, %d are struck; of the others %d passed, %d failed and %d were not run."
        % (
            len(cells),
            len(cells) - len(open_cells),
            len(run) - failed,
            failed,
            len(open_cells) - len(run),
        )
    )
    failures = [
        textwrap.fill(
            "- %s, %s: %s" % (operation, fault, results[fault, operation].why),
            97,
            subsequent_indent="  ",
        )
        for fault, operation in open_cells
        if (fault, operation) in results and results[fault, operation].outcome != PASSED
    ]
    notes = [".. [%d] %s." % pair for pair in enumerate(reasons, start=1)]
    return _HEAD % {
        "faults": "\n".join(_described(faults)),
        "versions": versions,
        "date": max((result.date for result in run), default="(none)"),
        "table": _simple_table(rows),
        "counts": counts,
        "failures": "".join(
            line + "\n" for line in ["What failed:", "", *failures, ""] if failures
        ),
        "done": _what_was_done([cell for cell in open_cells if cell in results], results),
        "notes": "\n".join(notes),
    }


def _what_was_done(cells: Sequence[Cell], results: Mapping[Cell, Result]) -> str:
    """What the cells did beside giving the command again, and which."""
    where: dict[str, list[str]] = {}
    for fault, operation in cells:
        for note in dict.fromkeys(results[fault, operation].notes):
            where.setdefault(note, []).append("%s/%s" % (operation, fault))
    if not where:
        return ""
    lines = [
        textwrap.fill(
            "- ``%s``: %s" % (note, ", ".join(found)),
            97,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for note, found in sorted(where.items())
    ]
    return "What was done before the command was given again, or to heal:\n\n%s\n\n" % "\n".join(
        lines
    )


def _described(faults: Mapping[str, str]) -> list[str]:
    rows = [["fault", "what is done"], *([name, what] for name, what in faults.items())]
    return _simple_table(rows).splitlines()


def _simple_table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rule = " ".join("=" * width for width in widths)
    lines = [
        " ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    # A simple table's row begins with text, but for one that continues the row before it.
    lines[0] = lines[0] if rows[0][0] else r"\ " + lines[0][2:]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])
