"""GlusterFS's packages on this node: what is installed, what apt would install, and the upgrade.

The upgrade is a program in a systemd unit of its own, so it comes to its end even if whoever asked
for it is gone.  glusterd and its bricks are stopped while files are replaced: a process loads some
parts of GlusterFS when it needs them, and must not find those of another release.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ganeti_gluster.core.pool import tls
from ganeti_gluster.core.serve.server import PROGRAM
from ganeti_gluster.errors import GanetiGlusterError, in_words
from ganeti_gluster.tools import command, systemd
from ganeti_gluster.tools.decode import Count, Name, Sentence
from ganeti_gluster.tools.processes import command_lines, uses_replaced

PYTHON = "/usr/bin/python3"
MODULE = "ganeti_gluster.core.pool.packages"
UNIT = "ganeti-gluster-upgrade.service"
#: Seconds for questions to dpkg and apt.
LOOK_SECONDS = 120.0
#: Seconds for apt and dpkg to change packages, with the download.
UPGRADE_SECONDS = 3600.0
#: Seconds to wait for another apt or dpkg to end.
LOCK_SECONDS = 300

#: A package of GlusterFS that each node has, since the image server is linked with it.
LIBRARY = "libgfapi0"
_SOURCE = "glusterfs"
_OURS = "ganeti-gluster"
_SERVER = PROGRAM.encode()
_BRICK = b"glusterfsd"
_MEMBER = "member"
#: The states of a unit of which nothing runs.
_ENDED = ("inactive", "failed")
_FORM = "${source:Package}\t${db:Status-Status}\t${Package}\t${Version}\n"
_HALFWAY = ("half-installed", "unpacked", "half-configured")
_UNFINISHED = (*_HALFWAY, "triggers-awaited", "triggers-pending")
_CANDIDATE = re.compile(r"^(\S+):\n.*\n  Candidate: (\S+)$", re.MULTILINE)
_CHANGED = re.compile(r"^(Inst|Remv) (\S+)", re.MULTILINE)
#: Nothing is asked, changed settings are kept, and needrestart restarts nothing.
_ENVIRONMENT = (
    "DEBIAN_FRONTEND=noninteractive",
    "APT_LISTCHANGES_FRONTEND=none",
    "NEEDRESTART_SUSPEND=1",
)
_KEEP_SETTINGS = ("confdef", "confold")
_PAUSE = 1.0


@dataclass(frozen=True)
class PackageFacts:
    """A node's packages of GlusterFS; versions are those of `LIBRARY`, "" if there is none.

    `wanted` are the packages that apt has to install, with their versions, and `along` others that
    it would install or upgrade with them.  `unfinished` are packages that dpkg has left halfway.
    `problem` is why apt could not upgrade them.  `busy`: an upgrade by us is in progress.
    `stale` is the number of image servers that run with a library that was replaced.  `serving`:
    bricks run here, be it without glusterd.
    """

    version: Name = ""
    candidate: Name = ""
    wanted: dict[Name, Name] = field(default_factory=dict)
    along: tuple[Name, ...] = ()
    unfinished: tuple[Name, ...] = ()
    problem: Sentence = ""
    busy: bool = False
    stale: Count = 0
    serving: bool = False

    @property
    def current(self) -> bool:
        """Whether nothing is left to do to the packages."""
        return bool(self.version) and not (self.wanted or self.unfinished or self.busy)


def look() -> PackageFacts:
    """What this node has."""
    return _look(busy=systemd.state(UNIT, timeout=LOOK_SECONDS) not in _ENDED)


def _look(*, busy: bool) -> PackageFacts:
    known = [line.split("\t") for line in _ask("dpkg-query", "-Wf", _FORM).splitlines()]
    installed = {
        name: version
        for source, state, name, version in known
        if source == _SOURCE and state in ("installed", *_UNFINISHED)
    }
    # Triggers of others, such as ldconfig's, are run with ours.
    unfinished = {
        name: source
        for source, state, name, _ in known
        if state in _HALFWAY or (state in _UNFINISHED and source in (_SOURCE, _OURS))
    }
    offered = _CANDIDATE.findall(_ask("apt-cache", "policy", *installed))
    candidates = {name: version for name, version in offered if version != "(none)"}
    wanted = {
        name: candidates[name]
        for name, version in installed.items()
        if name in candidates and (candidates[name] != version or name in unfinished)
    }
    along: tuple[str, ...] = ()
    problem = "" if busy else _foreign(unfinished)
    if wanted and not problem and not busy:
        along, problem = _try(wanted, installed)
    processes = list(command_lines())
    return PackageFacts(
        installed.get(LIBRARY, ""),
        candidates.get(LIBRARY, ""),
        wanted,
        along,
        tuple(unfinished),
        problem,
        busy,
        sum(words[0] == _SERVER and uses_replaced(pid, ".so") for pid, words in processes),
        any(os.path.basename(words[0]) == _BRICK for _, words in processes),
    )


def _ask(*argv: str) -> str:
    return command.run(argv, timeout=LOOK_SECONDS).stdout


def _foreign(unfinished: Mapping[str, str]) -> str:
    """Why packages that are installed halfway are not ours to finish, "" if they are."""
    names = [name for name, source in unfinished.items() if source not in (_SOURCE, _OURS)]
    if not names:
        return ""
    return "packages are not completely installed: %s; run dpkg --configure -a there" % (
        ", ".join(sorted(names))
    )


def _try(wanted: Mapping[str, str], own: Iterable[str]) -> tuple[tuple[str, ...], str]:
    """What else apt would install, and why it cannot or must not do it."""
    argv = _apt("--simulate", *_words(wanted))
    done = command.run(argv, timeout=LOOK_SECONDS, check=False)
    if done.exit_code:
        return (), _reason(done)
    changed = _CHANGED.findall(done.stdout)
    # A library that a newer release does not have may go.
    removed = sorted(name for what, name in changed if what == "Remv" and name not in own)
    along = tuple(sorted(name for what, name in changed if what == "Inst" and name not in own))
    return along, "apt would remove %s" % ", ".join(removed) if removed else ""


def _words(wanted: Mapping[str, str]) -> list[str]:
    return ["%s=%s" % pair for pair in sorted(wanted.items())]


def _apt(*words: str) -> list[str]:
    options = ["DPkg::Lock::Timeout=%d" % LOCK_SECONDS]
    options += ["Dpkg::Options::=--force-%s" % each for each in _KEEP_SETTINGS]
    return [
        *("env", *_ENVIRONMENT, "apt-get", "--quiet", "--yes"),
        *(word for option in options for word in ("--option", option)),
        *("install", *words),
    ]


def _reason(done: command.CommandResult) -> str:
    """What apt and dpkg said of an error, in one line."""
    said = [
        " ".join(line.split())
        for line in (done.stdout + "\n" + done.stderr).splitlines()
        if line.startswith(("E: ", "dpkg: error"))
    ]
    return "; ".join(dict.fromkeys(said)) or "exit status %d" % done.exit_code


def download() -> None:
    """Have apt download the packages, once an earlier upgrade has ended.

    No-op where dpkg has something to finish first: `upgrade` downloads them then.
    """
    _await_end()
    facts = _look(busy=False)
    if facts.problem:
        raise GanetiGlusterError(facts.problem)
    if facts.wanted and not facts.unfinished:
        _change(_apt("--download-only", *_words(facts.wanted)))


def upgrade(*, version: str, member: bool) -> None:
    """Have apt upgrade the packages to a version, in `UNIT`, once an earlier upgrade has ended.

    `member`: glusterd is to run here afterwards.
    """
    _await_end()
    program = [PYTHON, "-I", "-m", MODULE, version, *([_MEMBER] if member else [])]
    argv = systemd.run_argv(UNIT, "Upgrade of GlusterFS", program, options=["--wait"])
    done = command.run(argv, timeout=2 * UPGRADE_SECONDS, check=False)
    if done.exit_code:
        reason = systemd.last_words(UNIT, run=command.run) or done.stderr.strip()
        raise GanetiGlusterError(reason, hint="see /var/log/apt/term.log there")


def _await_end() -> None:
    while systemd.state(UNIT, timeout=LOOK_SECONDS) not in _ENDED:
        time.sleep(_PAUSE)


def check_candidate(facts: PackageFacts, version: str) -> None:
    """Raise `GanetiGlusterError` if apt would install another version than somebody agreed to."""
    if facts.candidate != version:
        raise GanetiGlusterError(
            "apt has GlusterFS %s by now, and not %s" % (facts.candidate, version)
        )


def install(version: str, *, member: bool) -> None:
    """Upgrade the packages, with glusterd stopped; it is started again even if that fails."""
    facts = _look(busy=False)
    if facts.unfinished and not facts.problem:
        # Those that need others of the new release are not configured until these are there.
        forced = ["--force-%s" % each for each in _KEEP_SETTINGS]
        argv = ["env", *_ENVIRONMENT, "dpkg", *forced, "--configure", "-a"]
        command.run(argv, timeout=UPGRADE_SECONDS, check=False)
        facts = _look(busy=False)
    if facts.problem:
        raise GanetiGlusterError(facts.problem)
    if facts.wanted:
        check_candidate(facts, version)
        words = _words(facts.wanted)
        _change(_apt("--download-only", *words))
        try:
            if member:
                tls.stop()
            _change(_apt(*words))
        except GanetiGlusterError:
            if member:
                with contextlib.suppress(GanetiGlusterError):
                    tls.start_unit()
            raise
    if member:
        tls.start_unit()


def _change(argv: Sequence[str]) -> None:
    done = command.run(argv, timeout=UPGRADE_SECONDS, check=False)
    if done.exit_code:
        raise GanetiGlusterError(_reason(done))


def main(arguments: Sequence[str]) -> int:
    """The program in the unit; its last line is the error."""
    try:
        install(arguments[0], member=list(arguments[1:]) == [_MEMBER])
    except (GanetiGlusterError, OSError) as err:
        sys.stderr.write("%s\n" % " ".join(in_words(err).split()))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
