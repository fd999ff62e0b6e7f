"""The pool's agents on the nodes, independent of the transport."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from ganeti_gluster.core.pool import agent
from ganeti_gluster.core.pool.facts import CandidateFacts, PlaceFacts
from ganeti_gluster.core.pool.packages import PackageFacts
from ganeti_gluster.core.pool.tls import NodeTls
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.tools import decode
from ganeti_gluster.tools.command import CommandFailed, CommandResult
from ganeti_gluster.tools.decode import Count, Name, NotUnderstood, Sentence
from ganeti_gluster.tools.gluster_cli import Gluster

#: Seconds that a node has beyond the time that the work itself may take.
GRACE = 30.0

#: What each verb of the agent answers.
RESULTS: dict[str, Any] = {
    "look": CandidateFacts,
    "mounted": bool,
    "place": PlaceFacts,
    "ready": bool,
    "prepare": bool,
    "release": bool,
    "discard": bool,
    "count": dict[Name, Count],
    "behind": dict[str, Count],
    "versions": dict[Name, list[Count]],
    "unreadable": list[Sentence],
    "end-self-heal": int,
    "reach": Sentence,
    "end-connections": None,
    "start-glusterd": None,
    "tls": NodeTls,
    "request-certificate": list[Sentence],
    "install-certificate": None,
    "link-certificate": None,
    "restart-glusterd": None,
    "renew-clients": None,
    "packages": PackageFacts,
    "download": None,
    "upgrade": None,
    "try-volume": None,
}


class AgentFailed(GanetiGlusterError):
    """The agents of some nodes failed; `reasons` by node."""

    def __init__(self, what: str, reasons: Mapping[str, str], *, hint: str = "") -> None:
        said = "; ".join("%s: %s" % pair for pair in reasons.items())
        super().__init__("%s: %s" % (what, said), hint=hint)
        self.reasons = dict(reasons)


class Channel(Protocol):
    """A way to a node: runs a command there as root, whatever its exit status."""

    def __call__(
        self, node: str, argv: Sequence[str], *, timeout: float
    ) -> CommandResult: ...  # pragma: no cover


class Agents:
    """Runs a verb of the agent on nodes, on all of them at the same time."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def one(self, node: str, verb: str, *, timeout: float = 60, **arguments: Any) -> Any:
        """Have a node do something, and return its answer; raises `AgentFailed`."""
        return self.all(verb, {node: arguments}, timeout=timeout)[node]

    def all(
        self, verb: str, arguments: Mapping[str, Mapping[str, Any]], *, timeout: float = 60
    ) -> dict[str, Any]:
        """Have each node do it with its arguments; raises `AgentFailed` if one did not."""
        answers, errors = self.try_all(verb, arguments, timeout=timeout)
        if errors:
            raise AgentFailed("cannot %s" % verb, errors)
        return answers

    def try_all(
        self, verb: str, arguments: Mapping[str, Mapping[str, Any]], *, timeout: float = 60
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """The answers and the errors by node, each of which is in one of the two.

        An answer is what `RESULTS` has for the verb.
        """

        def work(node: str) -> Any:
            argv = agent.argv(verb, dict(arguments[node]))
            return parse(self._channel(node, argv, timeout=timeout + GRACE), RESULTS[verb])

        answers: dict[str, Any] = {}
        errors: dict[str, str] = {}
        with ThreadPoolExecutor(max(1, len(arguments))) as executor:
            futures = {node: executor.submit(work, node) for node in arguments}
        for node, future in futures.items():
            try:
                answers[node] = future.result()
            except GanetiGlusterError as err:
                errors[node] = str(err)
        return answers, errors

    def gluster(self, node: str) -> Gluster:
        """The gluster command of a node."""

        def execute(argv: Sequence[str], timeout: float) -> CommandResult:
            return self._channel(node, argv, timeout=timeout)

        return Gluster(execute)


def parse(done: CommandResult, hint: Any) -> Any:
    """The agent's answer, of this annotation.

    Raises `GanetiGlusterError` with its error, or for none.
    """
    try:
        answer = decode.plain(done.stdout.strip().rpartition("\n")[2])
    except NotUnderstood:
        answer = None
    if not isinstance(answer, dict):
        answer = {}
    if "result" in answer:
        return decode.value(hint, answer["result"], "result")
    if "error" in answer:
        raise GanetiGlusterError(decode.value(Sentence, answer["error"], "error"))
    if done.exit_code == 255:
        raise GanetiGlusterError(
            "SSH does not reach it: %s" % (decode.printable(done.stderr) or "no reason given")
        )
    said = decode.printable(done.stderr or done.stdout)
    if "No module named" in said:
        raise GanetiGlusterError("ganeti-gluster is not installed there")
    raise CommandFailed(
        ["agent"], "exit status %d" % done.exit_code, exit_code=done.exit_code, output=said
    )
