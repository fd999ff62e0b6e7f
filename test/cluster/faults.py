"""Faults on a real cluster, and what `gnt-gluster verify` says of them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from testbedlib import wait_for

from .conftest import Cluster

#: Seconds for a fault to show, or for what a fault left behind to heal.
PATIENCE = 150

Found = set[tuple[str, str, str]]


class Fault(NamedTuple):
    """A fault: its commands and its repair's on a node, and what is then found."""

    node: str
    produce: str
    repair: str
    found: Found


def look(cluster: Cluster) -> list[dict[str, str]]:
    """What `gnt-gluster verify --json` says; its exit status is as it says."""
    done = cluster.testbed.exec("node1", ["gnt-gluster", "verify", "--json"], timeout=180)
    assert done.exit_code in (0, 1), done.describe()
    said: list[dict[str, str]] = json.loads(done.stdout)
    assert done.exit_code == any(each["severity"] == "ERROR" for each in said)
    return said


def expect(cluster: Cluster, wanted: Found) -> list[dict[str, str]]:
    """Wait until exactly that is found, and return it; some faults take a moment to show."""
    said: list[dict[str, str]] = []

    def seen() -> Found:
        return {(each["severity"], each["code"], each["object"]) for each in said}

    def exactly() -> bool:
        said[:] = look(cluster)
        return seen() == wanted

    try:
        wait_for(exactly, PATIENCE, "what is found is what was broken")
    except AssertionError:
        pytest.fail("missing: %s; beside them: %s" % (wanted - seen(), seen() - wanted))
    return said


def settle(cluster: Cluster, volume: str = "gv0") -> None:
    """Heal what was done before to the volume, until there is nothing to say."""
    cluster.run("gluster", "volume", "heal", volume)
    expect(cluster, set())


@contextlib.contextmanager
def broken(
    cluster: Cluster, faults: list[Fault], *, usual: Found = frozenset()
) -> Iterator[Found]:
    """The faults, all at once; repaired after the block, and then `usual` alone is found."""
    with contextlib.ExitStack() as stack:
        for fault in faults:
            stack.callback(cluster.run, "sh", "-ec", fault.repair, node=fault.node, max_seconds=60)
            cluster.run("sh", "-ec", fault.produce, node=fault.node, max_seconds=60)
        yield {*usual, *(each for fault in faults for each in fault.found)}
    expect(cluster, {*usual})
