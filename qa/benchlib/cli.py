"""The command line of `qa/bench`: the only place that makes text and exit codes."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from testbedlib import TestbedError, layout

from . import bench, catalogue
from .figures import table_lines, to_json

BUILD = layout.PROJECT / "build"
RESULT = BUILD / "bench.json"
LOCK = BUILD / ".bench.lock"
VERSION_FILE = layout.PROJECT / "lib/__init__.py"

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


def say(line: str) -> None:
    """One line of progress."""
    print(line, flush=True)


def build_parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="qa/bench",
        description="Measure ours and stock Ganeti's gluster class side by side, on a testbed of"
        " its own: a table, and %s." % RESULT.relative_to(layout.PROJECT),
        epilog="SUITE in the environment is the nodes' Debian: %s.  QEMU=backports makes"
        " trixie+backports of trixie." % ", ".join(layout.SUITES),
    )
    parser.add_argument("--quick", action="store_true", help="a few runs each, as a smoke test")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        choices=catalogue.names(),
        help="measure these alone, of: %s" % ", ".join(catalogue.names()),
    )
    parser.add_argument("--keep", action="store_true", help="leave the testbed up in the end")
    return parser


def testbed_name() -> str:
    """TESTBED_NAME, else one of this checkout alone: nobody else's is ever taken down."""
    digest = hashlib.sha256(os.fsencode(layout.PROJECT)).hexdigest()
    return os.environ.get("TESTBED_NAME") or "bench-%s" % digest[:8]


def package() -> Path:
    """The package of this checkout's version; raises TestbedError if it is not built."""
    version = re.search(r'__version__ = "(.*)"', VERSION_FILE.read_text(encoding="utf-8"))
    assert version is not None
    pattern = "ganeti-gluster_%s_*.deb" % version.group(1)
    path = next(BUILD.glob(pattern), None)
    if path is None:
        raise TestbedError(
            "there is no package %s" % (BUILD / pattern), hint="build it with: make deb"
        )
    return path


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Hold this checkout's lock; raises TestbedError if another run has it."""
    LOCK.parent.mkdir(exist_ok=True)
    with open(LOCK, "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise TestbedError(
                "another qa/bench of this checkout is running", hint="wait for it to end"
            ) from err
        yield


def measure(args: argparse.Namespace) -> int:
    """Bring the testbed up, measure, show and save."""
    suite = layout.chosen_suite()
    with alone():
        deb = package()
        with bench.nodes(testbed_name(), suite, deb, keep=args.keep, say=say) as testbed:
            rows, failures = bench.run_all(testbed, args.only, quick=args.quick, say=say)
        say("")
        for line in table_lines(rows):
            say(line)
        _write(RESULT, to_json(rows))
    for failure in failures:
        print("bench: %s" % failure, file=sys.stderr)
    return EXIT_FAILED if failures else 0


def _write(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old or the new one, whole."""
    partial = path.with_suffix(".new")
    partial.write_text(text, encoding="ascii")
    os.replace(partial, path)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return the exit code."""
    args = build_parser().parse_args(argv)
    # A polite kill takes the testbed down, as an interrupt from the keyboard does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return measure(args)
    except (TestbedError, OSError) as err:
        print("bench: %s" % err, file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
