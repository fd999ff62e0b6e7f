"""Run `gluster` and judge its answer by what is in it, not by its exit status.

`gluster` exits with 0 for much that failed (opRet -1 in the XML), and says "success" for
some changes that did not happen.  So after each change the state is read back.
"""

from __future__ import annotations

import re
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import command, decode
from ganeti_gluster.tools.command import CommandResult
from ganeti_gluster.tools.gluster_cli import heal, peers, profile, status, volumes
from ganeti_gluster.tools.gluster_cli.volumes import VolumeInfo

#: Seconds a command may take. The gluster command itself gives up after 120
#: (`gluster --timeout`), and glusterd goes on with what it was asked all the same.
TIMEOUT = 130.0
#: Seconds for questions that one glusterd answers by itself.
LOCAL_TIMEOUT = 20.0
#: Seconds to go on asking a glusterd that is busy with another transaction.
PATIENCE = 60.0
#: Seconds between two attempts.
PAUSE = 0.5

#: `execute(argv, timeout)` runs a command somewhere, whatever its exit status.
Execute = Callable[[Sequence[str], float], CommandResult]

# "Another transaction is in progress for gv0. Please try again after some time.",
# "Locking failed on node2. Please check log file for details." (of a peer that is
# locked), "Another transaction could be in progress. Please try again …".
_BUSY = re.compile(
    r"another transaction|locking failed|failed to acquire .*lock|operation now in progress",
    re.IGNORECASE,
)
# Digits of 64 bits, and a sign.
_LONGEST_NUMBER = 21
#: opErrno for it (EG_ANOTRANS), which not all of them carry.
_BUSY_NUMBER = 30802
_NO_GLUSTERD = "Please check if gluster daemon is operational"


class GlusterFailed(GanetiGlusterError):
    """`gluster` answered that it did not do it.

    `words` is the command without `gluster` and its options, `reason` what
    glusterd said, `number` its opErrno (0 if it gave none).
    """

    def __init__(
        self, words: Sequence[str], reason: str, *, number: int = 0, hint: str = ""
    ) -> None:
        super().__init__("gluster %s: %s" % (" ".join(words), reason), hint=hint)
        self.words = tuple(words)
        self.reason = reason
        self.number = number


class GlusterBusy(GlusterFailed):
    """glusterd was busy with another transaction for as long as we were patient."""


class GlusterdDown(GlusterFailed):
    """There is no glusterd that answers where the command ran."""


def argv(words: Sequence[str]) -> list[str]:
    """The command line of `gluster WORDS` that asks nothing and answers in XML."""
    return ["gluster", "--mode=script", "--xml", *words]


def parse(words: Sequence[str], stdout: str, stderr: str = "") -> ET.Element:
    """The answer's root element; raises `GlusterFailed` if it says failure.

    Whatever follows the answer, or text that is none, is the reason.  The answer may be
    another node's: each text in it can be printed, and each number be read.
    """
    try:
        answer = ET.fromstring(stdout.strip())
    except (ET.ParseError, UnicodeError):
        _refuse(words, (stdout.strip() or stderr.strip() or "no answer")[:500])
    for element in answer.iter():
        text = (element.text or "").strip()
        if len(text) > _LONGEST_NUMBER and text.lstrip("-").isdecimal():
            _refuse(words, "the answer is not understood: a number that is out of range")
        if not text.isprintable():
            element.text = decode.printable(text, longest=len(text))
    if answer.findtext("opRet", "-1") == "0":
        return answer
    number = answer.findtext("opErrno", "0")
    _refuse(
        words,
        answer.findtext("opErrstr")
        or answer.findtext("output")
        or "failed without giving a reason",
        number=int(number) if number.removeprefix("-").isdecimal() else 0,
    )


def _refuse(words: Sequence[str], reason: str, *, number: int = 0) -> NoReturn:
    reason = decode.printable(" ".join(reason.split())).rstrip(".")
    if _NO_GLUSTERD in reason:
        raise GlusterdDown(
            words, "no glusterd answers", hint="start it with: systemctl start glusterd"
        )
    if number == _BUSY_NUMBER or _BUSY.search(reason):
        raise GlusterBusy(words, reason, number=number, hint="try again later")
    raise GlusterFailed(words, reason, number=number)


def execute_here(argv: Sequence[str], timeout: float) -> CommandResult:
    """Run on this node."""
    return command.run(argv, timeout=timeout, check=False)


@dataclass(frozen=True)
class Gluster:
    """The gluster command of one node, by default this one.

    `patience`: how many seconds to repeat the command while glusterd is busy.  Only commands that
    can be repeated without harm are used here: a busy glusterd has done nothing.
    """

    execute: Execute = execute_here
    patience: float = PATIENCE

    def ask(self, *words: str, timeout: float = TIMEOUT) -> ET.Element:
        """Run `gluster WORDS` and return its answer.

        Raises `GlusterFailed` and its kinds, or `CommandFailed` where the command
        cannot be run or does not end in `timeout` seconds.
        """
        end = time.monotonic() + self.patience
        while True:
            done = self.execute(argv(words), timeout)
            try:
                return parse(words, done.stdout, done.stderr)
            except GlusterBusy:
                if time.monotonic() + PAUSE > end:
                    raise
            time.sleep(PAUSE)

    def peers(self) -> list[peers.Peer]:
        """The other members of the pool, as this glusterd sees them."""
        return peers.parse(self.ask(*peers.STATUS, timeout=LOCAL_TIMEOUT))

    def own_uuid(self) -> str:
        """This glusterd's UUID."""
        return peers.own_uuid(self.ask(*peers.LIST, timeout=LOCAL_TIMEOUT))

    def volumes(self) -> list[VolumeInfo]:
        """All volumes of the pool, whatever their state."""
        return volumes.parse(self.ask(*volumes.INFO, timeout=LOCAL_TIMEOUT))

    def volume(self, name: str) -> VolumeInfo | None:
        """One volume, None if the pool has none of this name."""
        return next((info for info in self.volumes() if info.name == name), None)

    def options(self, name: str) -> dict[str, str]:
        """Every option of a volume with its value in force, defaults too."""
        return volumes.parse_options(self.ask(*volumes.get_words(name)))

    def op_versions(self) -> tuple[int, int]:
        """The pool's op-version, and the highest that all of its members can; 0 if not told."""
        told = self.options("all")
        now, most = told.get("cluster.op-version", ""), told.get("cluster.max-op-version", "")
        return int(now) if now.isdecimal() else 0, int(most) if most.isdecimal() else 0

    def status(self, name: str) -> status.VolumeStatus:
        """The processes of a started volume, without those of servers that are not connected."""
        answer = self.ask(*status.words(name))
        return status.parse(answer, name)

    def heal_counts(self, name: str, *, timeout: float = TIMEOUT) -> list[heal.BrickHeal]:
        """How much each brick knows to be behind; slow on a large backlog."""
        return heal.parse_summary(self.ask(*heal.summary_words(name), timeout=timeout))

    def split_brains(self, name: str, *, timeout: float = TIMEOUT) -> list[heal.HealEntries]:
        """Which files each brick knows to be in split-brain."""
        return heal.parse_entries(self.ask(*heal.split_brain_words(name), timeout=timeout))

    def start_heal(self, name: str, *, full: bool = False) -> str:
        """Start a heal now; returns the reason if glusterd refuses.

        glusterd has no XML for it, and refuses if a brick of the volume is down, although the
        others are healed then.  The self-heal daemon starts what glusterd does not.
        """
        words = ["gluster", "--mode=script", "volume", "heal", name, *(["full"] if full else [])]
        done = self.execute(words, TIMEOUT)
        if done.exit_code == 0:
            return ""
        return decode.printable(" ".join((done.stdout or done.stderr).split()))

    def profile(self, name: str) -> list[profile.BrickProfile] | None:
        """What each brick was asked since profiling began, None if it is off."""
        try:
            return profile.parse(self.ask(*profile.words(name)))
        except GlusterFailed as err:
            if profile.is_off(err.reason):
                return None
            raise
