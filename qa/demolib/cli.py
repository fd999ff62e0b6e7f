"""The command line: the only place that makes the texts of failures and exit codes."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import signal
import sys
import textwrap
import time
from collections.abc import Iterator

from testbedlib import Testbed, TestbedError, command, layout, requirements, state
from testbedlib.cli import add_suite_options

from .errors import DemoFailed
from .report import TITLE_COLUMNS, DemoReport, DemoStep
from .steps import Demo

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
PREFIX = "demo"


def own_name(project: str) -> str:
    """The testbed of a checkout's demonstration, which nothing else uses."""
    return "%s-%s" % (PREFIX, hashlib.sha256(project.encode() + b"\n").hexdigest()[:8])


def build_parser() -> argparse.ArgumentParser:
    name = own_name(str(layout.PROJECT))
    parser = argparse.ArgumentParser(
        prog="qa/demo",
        description="A virtual machine's whole life on a Gluster volume: a three-node cluster"
        " from nothing, the package, an instance that boots from its disk, live migration,"
        " failover, growth and removal.  Needs root; leaves nothing behind.",
    )
    add_suite_options(parser)
    parser.add_argument(
        "--keep", action="store_true", help="leave the cluster up, to try something on it"
    )
    parser.add_argument(
        "--down", action="store_true", help="only remove what --keep or a killed run left"
    )
    parser.add_argument(
        "--name",
        default=name,
        metavar="NAME",
        help="the testbed's name, which begins with %s (default: %%(default)s)" % PREFIX,
    )
    parser.add_argument("--verbose", action="store_true", help="show each command that is run")
    return parser


@contextlib.contextmanager
def only_one(name: str) -> Iterator[None]:
    """Refuse to run beside another demonstration on the same testbed."""
    path = layout.PROJECT / "build" / (".%s.lock" % name)
    path.parent.mkdir(exist_ok=True)
    with open(path, "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TestbedError(
                "another demo runs on testbed %r" % name, hint="wait for it to end"
            ) from None
        yield


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Let no signal interrupt what tidies up; all of it has time limits."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    old = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, old, strict=True):
            signal.signal(number, handler)


def take_down(testbed: Testbed, report: DemoReport, title: str) -> None:
    """Remove all there is of our testbed; says nothing if there is nothing."""
    home = testbed.layout
    if not (home.directory.exists() or home.netns_file.exists()):
        return
    found = None
    with contextlib.suppress(TestbedError):  # half-written by a killed run
        found = state.load(home)
    if found and found.project != str(layout.PROJECT):
        raise TestbedError(
            "testbed %r was made from %s" % (home.name, found.project), hint="use another --name"
        )
    with undisturbed(), report.step(title):
        Testbed(home.name).down()  # it has its seconds from the step


def failure_text(step: DemoStep | None, err: Exception, demo: Demo) -> str:
    """What failed: the step, the command with its output, and what else was seen."""
    parts = [str(err)]
    if isinstance(err, DemoFailed) and demo.last:
        parts.append(demo.last.describe())
    evidence = err.evidence if isinstance(err, DemoFailed) else ""
    if evidence:
        parts.append("what was seen:\n" + textwrap.indent(evidence, "  "))
    elif demo.boot and demo.boot.evidence():
        parts.append("the guest's console:\n" + textwrap.indent(demo.boot.evidence(), "  "))
    what = "demo: failed: %s" % step.title if step else "demo: failed"
    return "%s\n%s" % (what, textwrap.indent("\n".join(parts), "  "))


def keep_text(name: str) -> str:
    """How to get into a testbed that stays, and how to be rid of it."""
    return f"""\
the cluster stays up:
  qa/testbed --name {name} shell node1        a shell on the master: gnt-instance, gluster
  qa/testbed --name {name} status             its nodes
  qa/testbed --name {name} down               remove it"""


def demonstrate(testbed: Testbed, report: DemoReport, suite: str, keep: bool) -> int:
    """One run, from what an earlier one left to nothing; returns the exit code."""
    started = time.monotonic()
    demo = Demo(testbed, report, suite)
    code, failure = 0, ""
    try:
        take_down(testbed, report, "remove what an earlier run left")
        demo.run()
    except KeyboardInterrupt:
        code, failure, keep = EXIT_INTERRUPTED, "demo: interrupted", False
    except (TestbedError, OSError, AssertionError) as err:
        code, failure = EXIT_FAILED, failure_text(report.running, err, demo)
    finally:
        if not keep:
            take_down(testbed, report, "take the cluster down")
    report.say("  %-*s %6.1f s" % (TITLE_COLUMNS, "in all", time.monotonic() - started))
    if keep and testbed.layout.directory.exists():
        report.say(keep_text(testbed.layout.name))
    report.say(failure or "demo: ok")
    return code


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return the exit code."""
    parser = build_parser()
    args = parser.parse_args(argv)
    try:
        suite = layout.chosen_suite(args.suite, args.qemu)
    except TestbedError as err:
        parser.error(str(err))
    if not args.name.startswith(PREFIX):
        parser.error("a name that does not begin with %s may be somebody else's" % PREFIX)
    command.verbose = args.verbose
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    report = DemoReport(sys.stdout)
    testbed = Testbed(args.name, say=report.part)
    try:
        requirements.require(report.say)
        with only_one(args.name):
            if args.down:
                take_down(testbed, report, "remove what an earlier run left")
                return 0
            return demonstrate(testbed, report, suite, args.keep)
    except (TestbedError, OSError) as err:
        print("demo: %s" % err, file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
