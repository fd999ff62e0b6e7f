"""The cached root trees: each built once, then only ever read.

A tree is keyed by its suite and a digest of everything that shaped it, built
under a temporary name and renamed, so that an interrupted build is never used.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from . import command, layout, recipe
from .errors import TestbedError, tail
from .state import exclusive

PROGRESS_SECONDS = 5
BUILD_SECONDS = 1200


def tree_path(suite: str) -> Path:
    """Where the tree of this suite is, or will be."""
    return layout.cache_dir() / (
        "%s-%s" % (suite, recipe.digest(not os.path.exists(recipe.SYSRQ)))
    )


def ensure(suite: str, used: set[str], say: Callable[[str], None]) -> Path:
    """The root tree of `suite`, built now if it is not cached.

    A new tree replaces the older ones of its suite that are not in `used`.
    """
    final = tree_path(suite)
    if final.is_dir():
        return final
    lock = layout.cache_dir() / (".%s.lock" % suite)
    with exclusive(
        lock, lambda: say("waiting for another command that builds the %s tree" % suite)
    ):
        if final.is_dir():  # another process built it while we waited
            return final
        building = final.with_name(final.name + ".building")
        say("building the %s tree, once (about a minute): %s" % (suite, final))
        started = time.monotonic()
        _remove_others(suite, used)
        _bootstrap(suite, building, say)
        recipe.prepare(building)
        building.rename(final)
        say("the %s tree is built: %.0f s" % (suite, time.monotonic() - started))
    return final


def remove_unused(used: set[str], say: Callable[[str], None]) -> None:
    """Remove all trees but those in `used` and those that are being built."""

    def busy() -> None:
        raise TestbedError("another command builds a tree")

    for suite in layout.SUITES:
        lock = layout.cache_dir() / (".%s.lock" % suite)
        try:
            with exclusive(lock, busy):
                for tree in _remove_others(suite, used):
                    say("removed %s" % tree)
                lock.unlink()
        except TestbedError as err:
            say("the %s trees stay: %s" % (suite, err))
    with contextlib.suppress(OSError):
        layout.cache_dir().rmdir()


def _remove_others(suite: str, used: set[str]) -> list[Path]:
    """Remove the trees of a suite, finished or not, that are not in `used`."""
    others = [path for path in layout.cache_dir().glob("%s-*" % suite) if str(path) not in used]
    for path in others:
        if path.is_dir():
            remove_tree(path)
        else:
            path.unlink()
    return others


def _bootstrap(suite: str, directory: Path, say: Callable[[str], None]) -> None:
    """Run mmdebstrap, saying every few seconds how far it is."""
    argv = recipe.build_argv(suite, directory)
    log = directory.with_name(directory.name + ".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    command.trace(argv)
    started = time.monotonic()
    with open(log, "wb") as out:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=command.environment(recipe.BUILD_ENVIRONMENT),
            start_new_session=True,
        )
        try:
            while True:
                try:
                    process.wait(PROGRESS_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    seconds = time.monotonic() - started
                    if seconds > BUILD_SECONDS:
                        raise TestbedError(
                            "mmdebstrap %s took more than %d s" % (suite, BUILD_SECONDS),
                            hint="see %s" % log,
                        ) from None
                    say("  %3.0f s: %s" % (seconds, progress(log.read_text("utf-8", "replace"))))
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if process.returncode:
        raise TestbedError(
            "mmdebstrap %s failed (exit code %d): %s"
            % (suite, process.returncode, tail(log.read_text("utf-8", "replace"), 600)),
            hint="see %s" % log,
        )
    log.unlink()


def progress(log: str) -> str:
    """What mmdebstrap is doing, from its log so far."""
    lines = [line for line in log.splitlines() if line.strip()]
    stages = [line for line in lines if line.startswith("I: ") and line.endswith("...")]
    unpacked = sum(line.startswith("Unpacking ") for line in lines)
    set_up = sum(line.startswith("Setting up ") for line in lines)
    counts = "; %d packages unpacked, %d set up" % (unpacked, set_up) if unpacked else ""
    return (stages[-1][3:] if stages else "starting").rstrip(".")[:60] + counts


def remove_tree(directory: Path) -> None:
    """Remove a tree, unless something is mounted in it."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if (point + "/").startswith(str(directory) + "/"):
            command.run(["umount", "--lazy", point], timeout=20)
    shutil.rmtree(directory)
