"""What an agent has ready counts as long as it is sure to be true; the command itself runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganeti_gluster import constants
from ganeti_gluster.core.services import node as on_node
from ganeti_gluster.core.services import prepared
from ganeti_gluster.core.services.config import ServicesConfig
from ganeti_gluster.core.services.model import ServiceStatus
from ganeti_gluster.core.services.systemd import UnitState

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "hooks" / "restricted-commands" / prepared.COMMAND
LIVE = "looked at now"
pytestmark = pytest.mark.allow_process


def answer(
    status: ServiceStatus = ServiceStatus.RUNNING, transition: str = ""
) -> dict[str, object]:
    class Manager:
        def read(self, units: list[str]) -> dict[str, UnitState]:
            return {unit: UnitState(unit, True, status, transition=transition) for unit in units}

    return on_node.status(ServicesConfig(), Manager(), master="node1")  # type: ignore[arg-type]


class Node:
    """A node's files in a directory, and its command that looks."""

    def __init__(self, root: Path) -> None:
        self.prepared, self.conf, self.master = root / "prepared", root / "conf", root / "master"
        self.uptime = root / "uptime"
        self.command = root / prepared.COMMAND
        text = SCRIPT.read_text()
        for path, own in (
            (constants.SERVICES_PREPARED, self.prepared),
            (constants.SERVICES_CONF, self.conf),
            (constants.GANETI_MASTER_NODE, self.master),
            ("/proc/uptime", self.uptime),
        ):
            assert path in text
            text = text.replace(path, str(own))
        self.command.write_text(text)
        (root / "gluster-services-status").write_text("#!/bin/sh\necho %s\n" % LIVE)
        for each in (self.command, root / "gluster-services-status"):
            each.chmod(0o755)
        self.master.write_text("node1\n")
        self.uptime.write_text(Path("/proc/uptime").read_text())

    def ask(self) -> str:
        done = subprocess.run([self.command], capture_output=True, text=True, env={}, check=True)
        assert done.stderr == ""
        return done.stdout.strip()


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    node = Node(tmp_path)
    monkeypatch.setattr(constants, "SERVICES_CONF", str(node.conf))
    return node


@pytest.fixture
def other() -> Iterator[subprocess.Popen[bytes]]:
    """Another process, which waits."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_what_is_ready_is_printed_as_it_is(node: Node) -> None:
    assert node.ask() == LIVE
    prepared.write(answer(), str(node.prepared))
    assert json.loads(node.ask()) == answer()
    prepared.take_away(str(node.prepared))
    prepared.take_away(str(node.prepared))
    assert node.ask() == LIVE


def test_it_does_not_count_once_it_is_old(node: Node) -> None:
    prepared.write(answer(), str(node.prepared))
    seconds = float(node.uptime.read_text().split()[0])
    node.uptime.write_text("%.2f 1.0\n" % (seconds + prepared.FRESH - 2))
    assert node.ask() != LIVE
    node.uptime.write_text("%.2f 1.0\n" % (seconds + prepared.FRESH + 1))
    assert node.ask() == LIVE


def test_it_does_not_count_without_the_agent_that_wrote_it(
    node: Node, other: subprocess.Popen[bytes]
) -> None:
    words = prepared.head(answer(), other.pid, has_configuration=False)
    node.prepared.write_text("%s\n{}\n" % " ".join(words))
    assert node.ask() == "{}"
    os.kill(other.pid, 19)
    os.waitpid(other.pid, os.WUNTRACED)
    assert node.ask() == LIVE  # it stands still
    os.kill(other.pid, 18)
    other.kill()
    other.wait()
    assert node.ask() == LIVE
    # Its number is that of another process by now.
    own = prepared.head(answer(), os.getpid(), has_configuration=False)
    node.prepared.write_text("%s\n{}\n" % " ".join([own[0], words[1], *own[2:]]))
    assert (node.ask() == LIVE) is (own[1] != words[1])


def test_it_does_not_count_for_another_configuration_or_master(node: Node) -> None:
    prepared.write(answer(), str(node.prepared))
    node.conf.write_text("[GLUSTER]\nnodes = none\n")
    assert node.ask() == LIVE
    os.utime(node.conf, (1, 1))
    prepared.write(answer(), str(node.prepared))
    assert node.ask() != LIVE
    os.utime(node.conf)
    os.utime(node.prepared, (2, 2))
    assert node.ask() == LIVE
    node.conf.unlink()
    assert node.ask() == LIVE
    prepared.write(answer(), str(node.prepared))
    assert node.ask() != LIVE
    node.master.write_text("node2\n")
    assert node.ask() == LIVE


@pytest.mark.parametrize(
    "text", ["", "\n", "1 2\n{}\n", "x y z a b\n{}\n", "0 0 0 no node1\n{}\n"]
)
def test_a_file_that_is_none_does_not_count(node: Node, text: str) -> None:
    node.prepared.write_text(text)
    assert node.ask() == LIVE


def test_the_numbers_are_the_same_on_both_sides() -> None:
    assert "-lt %d ]" % prepared.FRESH in SCRIPT.read_text()


def test_only_what_holds_until_it_changes_is_ready() -> None:
    assert prepared.settled(answer())
    assert prepared.settled(answer(ServiceStatus.STOPPED))
    assert not prepared.settled(answer(ServiceStatus.STOPPED, "activating"))
    assert not prepared.settled(answer(ServiceStatus.UNKNOWN))


def test_it_depends_on_the_units_of_all_types() -> None:
    wanted = {"swift-proxy.service", "openstack-swift-proxy.service", "glusterd.service"}
    assert wanted < set(prepared.units(ServicesConfig()))
