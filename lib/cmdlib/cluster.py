"""The cluster's nodes, and the ways to contact them, each with a time limit.

Nodes are queried through Ganeti's restricted commands, which have no arguments, and changed
through its SSH.  The master daemon runs jobs and knows the nodes.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ganeti import cli, constants, errors, ssconf, ssh

from ganeti_gluster.core.services.answers import NodeAnswer
from ganeti_gluster.core.services.model import ServiceNode
from ganeti_gluster.core.verify.bounded import look
from ganeti_gluster.tools import command, decode

#: Seconds for a job, which may wait for what another one has locked.
JOB_SECONDS = 24 * 3600.0
#: Bytes that a node may answer: as many as the answer may have characters.
LONGEST_ANSWER = decode.LONGEST
_SSH_PORT = 22


@dataclass(frozen=True)
class ClusterNode(ServiceNode):
    """A node as Ganeti has it; `role` is a letter of `ganeti.constants.NR_ALL`."""

    group: str = ""
    vm_capable: bool = True
    role: str = ""
    secondary: str = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its primary and its secondary address, which may be the same."""
        return tuple(dict.fromkeys(each for each in (self.address, self.secondary) if each))

    def is_called(self, name: str) -> bool:
        """Whether that is its name, whole or shortened."""
        return self.name == name or self.name.startswith(name + ".")


_FIELDS = (
    *("name", "tags", "offline", "pip", "master_candidate", "group", "vm_capable", "role"),
    "sip",
)


def nodes(client: Any = None) -> list[ClusterNode]:
    """All nodes of the cluster, by name; asks the master daemon."""
    rows = (client or cli.GetClient()).QueryNodes([], list(_FIELDS), False)
    members = (ClusterNode(name, frozenset(tags), *rest) for name, tags, *rest in rows)
    return sorted(members, key=lambda node: node.name)


def free_memory(client: Any) -> dict[str, int]:
    """The free memory of each node in MiB, 0 where it does not tell."""
    return {name: free or 0 for name, free in client.QueryNodes([], ["name", "mfree"], False)}


def choose(nodes: Sequence[ClusterNode], names: Sequence[str]) -> list[ClusterNode]:
    """Those of `nodes` that are called `names`, all for none.

    A short name will do if it is the beginning of one node's.  Raises
    OpPrereqError, also for a node that is named twice.
    """
    if not names:
        return list(nodes)
    chosen: dict[str, ClusterNode] = {}
    for name in names:
        node = find(nodes, name)
        if node.name in chosen:
            raise errors.OpPrereqError(
                "node %s is named more than once" % node.name, errors.ECODE_INVAL
            )
        chosen[node.name] = node
    return [chosen[name] for name in sorted(chosen)]


def find(nodes: Sequence[ClusterNode], name: str) -> ClusterNode:
    """The one of `nodes` that is called `name`, whole or shortened; raises OpPrereqError."""
    matching = [node for node in nodes if node.name == name] or [
        node for node in nodes if node.is_called(name)
    ]
    if len(matching) != 1:
        raise errors.OpPrereqError("Node '%s' not known" % name, errors.ECODE_NOENT)
    return matching[0]


def job(op: Any, client: Any = None, *, seconds: float = JOB_SECONDS) -> Any:
    """Submit an opcode to the master daemon, and return its result.

    Its messages are shown as by Ganeti's own commands.  Raises their errors.
    """
    client = client or cli.GetClient()
    end = time.monotonic() + seconds
    number = cli.SendJob([op], cl=client)
    (result,) = cli.PollJob(number, cl=client, cancel_fn=lambda: time.monotonic() > end)
    return result


def ask(
    name: str,
    addresses: Mapping[str, str],
    *,
    seconds: float | Mapping[str, float],
    longest: int = LONGEST_ANSWER,
    known: Container[str] = (),
) -> dict[str, NodeAnswer]:
    """Run a restricted command on the nodes with these `addresses`, by name, all at once.

    No node takes more than `seconds` (whole ones, at least 1), or than its own of these; one
    that cannot be connected fails after 5.  None gives more than `longest` bytes.  Those that
    are `known` have answered before.  Threads may call it side by side.
    """
    if not addresses:
        return {}
    from ganeti_gluster.cmdlib import restricted  # late: Ganeti's RPC takes its time to load

    each = seconds if isinstance(seconds, Mapping) else dict.fromkeys(addresses, seconds)
    limits = {node: max(1, int(each[node])) for node in addresses}
    return restricted.run(name, addresses, seconds=limits, longest=longest, known=known)


class SshChannel:
    """Runs commands on nodes by Ganeti's SSH, and on this one without."""

    def __init__(self) -> None:
        store = ssconf.SimpleStore()
        self._runner = ssh.SshRunner(cluster_name=store.GetClusterName())
        self._own_name = ssconf.GetMasterAndMyself(ss=store)[1]
        self._ports = store.GetSshPortMap()

    def __call__(self, node: str, argv: Sequence[str], *, timeout: float) -> command.CommandResult:
        """Run `argv` on a node, whatever its exit status (255: not reached).

        A node that answers more than `LONGEST_ANSWER` raises `CommandFailed`.
        """
        argv = self.argv(node, argv, quiet=False)
        return command.run(argv, timeout=timeout, check=False, longest=LONGEST_ANSWER)

    def argv(self, node: str, argv: Sequence[str], *, quiet: bool = True) -> list[str]:
        """The command that runs `argv` on a node; `quiet`: SSH itself says nothing."""
        if node == self._own_name:
            return list(argv)
        words: list[str] = self._runner.BuildCmd(
            node,
            constants.SSH_LOGIN_USER,
            shlex.join(argv),
            port=self._ports.get(node),
            quiet=quiet,
        )
        return words

    def copy(self, path: str, nodes: Iterable[str], *, seconds: float) -> list[str]:
        """Give other nodes a file, which has the same path there; returns who has not got it."""

        def work(node: str) -> bool:
            return bool(self._runner.CopyFileToNode(node, self._ports.get(node, _SSH_PORT), path))

        others = [node for node in nodes if node != self._own_name]
        done = look({node: partial(work, node) for node in others}, seconds=seconds)
        return [node for node in others if not done[node].value]
