"""The command line: the only place that makes text and exit codes."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from . import cgroup, command, layout, relay, requirements
from .errors import TestbedError
from .testbed import EXEC_SECONDS, Testbed

Handler = Callable[[Testbed, argparse.Namespace], int]

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


def say(line: str) -> None:
    """One line of progress."""
    print(line, flush=True)


def cmd_up(testbed: Testbed, args: argparse.Namespace) -> int:
    suite = layout.chosen_suite(args.suite, args.qemu)
    testbed.up(nodes=args.nodes, suite=suite, bare=args.bare, brick_gib=args.brick_gib)
    return 0


def cmd_check(testbed: Testbed, args: argparse.Namespace) -> int:
    packages = requirements.missing_packages()
    problem = requirements.look().problem(packages)
    if problem:
        raise problem
    say(
        "this machine can run a testbed%s"
        % ("; up will install: %s" % " ".join(packages) if packages else "")
    )
    return 0


def cmd_down(testbed: Testbed, args: argparse.Namespace) -> int:
    testbed.down()
    return 0


def cmd_reset(testbed: Testbed, args: argparse.Namespace) -> int:
    testbed.reset()
    return 0


def cmd_clean(testbed: Testbed, args: argparse.Namespace) -> int:
    testbed.clean()
    return 0


def status_lines(status: dict[str, Any]) -> list[str]:
    """The status as a person reads it."""
    if status["stage"] == "absent":
        return ["testbed %s: there is none" % status["name"]]
    lines = [
        "testbed %s: %s, %s%s, network namespace %s"
        % (
            status["name"],
            status["stage"],
            status["suite"],
            ", bare" if status["bare"] else "",
            status["network_namespace"],
        )
    ]
    for node in status["nodes"]:
        lines.append(
            "  %-6s %-12s %s%s"
            % (
                node["name"],
                node["address"],
                "running" if node["running"] else "powered off",
                ", cable pulled" if node["cut"] else "",
            )
        )
    return lines


def cmd_status(testbed: Testbed, args: argparse.Namespace) -> int:
    status = testbed.status()
    say(json.dumps(status, indent=2) if args.json else "\n".join(status_lines(status)))
    return 0 if status["stage"] == "ready" else EXIT_FAILED


def cmd_exec(testbed: Testbed, args: argparse.Namespace) -> int:
    if not args.command:
        raise TestbedError(
            "no command to run on %s" % args.node,
            hint="give it after --: qa/testbed exec %s -- CMD" % args.node,
        )
    return relay.run_in(testbed.node(args.node), args.command, args.timeout)


def cmd_shell(testbed: Testbed, args: argparse.Namespace) -> int:
    argv, group = testbed.node(args.node).enter(["/bin/bash", "-l"])
    try:
        env = {**os.environ, "HOME": "/root", "LC_ALL": "C"}
        return subprocess.call(argv, env=env, preexec_fn=lambda: cgroup.join(group))
    finally:
        cgroup.destroy(group)


def cmd_install(testbed: Testbed, args: argparse.Namespace) -> int:
    testbed.install(args.deb)
    return 0


def cmd_fault(testbed: Testbed, args: argparse.Namespace) -> int:
    getattr(testbed, args.action)(args.node)
    return 0


def cmd_volume(testbed: Testbed, args: argparse.Namespace) -> int:
    testbed.make_volume(args.volume, args.servers or None, args.replica)
    return 0


def add_suite_options(parser: argparse.ArgumentParser) -> None:
    """The options that `layout.chosen_suite` takes."""
    parser.add_argument(
        "--suite",
        choices=layout.SUITES,
        default=None,
        help="the nodes' Debian (default: $SUITE, else %s)" % layout.DEFAULT_SUITE,
    )
    parser.add_argument(
        "--qemu",
        choices=layout.QEMUS,
        default=None,
        help="where the nodes' QEMU is from (default: $QEMU, else the suite itself);"
        " --suite trixie+backports is the same",
    )


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; the options of all are taken before or after a command."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--name",
        default=argparse.SUPPRESS,
        metavar="NAME",
        help="which testbed (default: $TESTBED_NAME, else %s)" % layout.DEFAULT_NAME,
    )
    shared.add_argument(
        "--verbose",
        action="store_true",
        default=argparse.SUPPRESS,
        help="show each command that is run",
    )
    parser = argparse.ArgumentParser(
        prog="qa/testbed",
        parents=[shared],
        description="Real Debian nodes with Ganeti and Gluster, as containers on this machine.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, function: Handler, text: str, **defaults: Any) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name, parents=[shared], help=text, description=text[0].upper() + text[1:] + "."
        )
        made.set_defaults(function=function, **defaults)
        return made

    up = add("up", cmd_up, "make the testbed, or say that it is there")
    up.add_argument(
        "--nodes",
        type=int,
        default=layout.DEFAULT_NODES,
        metavar="N",
        help="how many nodes, 1 to %d (default: %%(default)s)" % layout.MAX_NODES,
    )
    add_suite_options(up)
    up.add_argument(
        "--bare", action="store_true", help="booted nodes only: no Ganeti cluster, no Gluster pool"
    )
    up.add_argument(
        "--brick-gib",
        type=int,
        default=layout.DEFAULT_BRICK_GIB,
        metavar="GIB",
        help="size of a node's brick, sparse (default: %(default)s)",
    )
    add("check", cmd_check, "say whether this machine can run a testbed; changes nothing")
    add("down", cmd_down, "remove the testbed with everything of it")
    add("reset", cmd_reset, "fresh nodes, as `up` made them")
    add("clean", cmd_clean, "down, and remove the cached root trees")
    status = add("status", cmd_status, "show the nodes; exit code 0 if the testbed is ready")
    status.add_argument("--json", action="store_true", help="as JSON")
    run = add("exec", cmd_exec, "run a command on a node; its output and exit code are ours")
    run.add_argument(
        "--timeout",
        type=float,
        default=EXEC_SECONDS,
        metavar="S",
        help="kill it after S seconds, exit code %d (default: %%(default)s)" % command.TIMED_OUT,
    )
    run.add_argument("node")
    run.set_defaults(command=[])
    add("shell", cmd_shell, "an interactive shell on a node").add_argument("node")
    install = add("install", cmd_install, "install package files on every node with apt-get")
    install.add_argument("deb", nargs="+")
    for action, text in (
        ("cut", "pull a node's network cable"),
        ("heal", "plug a node's network cable back in"),
        ("kill", "power loss: stop all of a node at one instant"),
        ("boot", "power a node on and wait until it has booted"),
    ):
        add(action, cmd_fault, text, action=action).add_argument("node")
    volume = add("volume", cmd_volume, "make and start a further Gluster volume")
    volume.add_argument("volume", metavar="VOLUME")
    volume.add_argument(
        "servers",
        nargs="*",
        metavar="NODE",
        help="one brick each (default: the first three nodes)",
    )
    volume.add_argument(
        "--replica",
        type=int,
        default=None,
        metavar="N",
        help="copies of each file (default: the number of nodes given)",
    )
    return parser


def split_command(argv: list[str]) -> tuple[list[str], list[str]]:
    """What stands before and after the first `--`."""
    if "--" in argv:
        at = argv.index("--")
        return argv[:at], argv[at + 1 :]
    return argv, []


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return the exit code."""
    own, after = split_command(list(sys.argv[1:] if argv is None else argv))
    parser = build_parser()
    args = parser.parse_args(own)
    if after:
        if args.function is not cmd_exec:
            parser.error("only exec takes a command after --")
        args.command = after
    command.verbose = getattr(args, "verbose", False)
    # A polite kill undoes what was begun, as an interrupt from the keyboard does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        function: Handler = args.function
        return function(Testbed(getattr(args, "name", None), say=say), args)
    except TestbedError as err:
        print("testbed: %s" % err, file=sys.stderr)
        return EXIT_FAILED
    except BrokenPipeError:  # nobody reads on, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as err:
        print("testbed: %s" % err, file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("testbed: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
