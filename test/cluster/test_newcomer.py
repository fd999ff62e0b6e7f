"""A newcomer's way through README.rst: its commands, as they stand there, on plain nodes."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

import pytest

from testbedlib import Testbed, layout
from testbedlib import cluster as ganeti

from .conftest import OS_DIRECTORY, ROOT, Cluster, package
from .terminal import terminal

pytestmark = pytest.mark.slow

QUESTION = "y/[n]/?: "
# The nodes have no network, and no Debian to install from it.  README.rst says what to use
# instead, which is what the tests use.
NOT_HERE = "ganeti-instance-debootstrap"
OS_OF_DEBIAN, OS_OF_TESTS = "debootstrap+default", "guest+default"


def section(text: str, title: str) -> str:
    """A section of README.rst, without those below it."""
    _, _, rest = text.partition("\n%s\n%s\n" % (title, "=" * len(title)))
    assert rest, "README.rst has no section %r" % title
    return re.split(r"\n[^\n]+\n(?:==+|--+)\n", rest)[0]


def steps(text: str) -> list[list[str]]:
    """The commands of each numbered step."""
    found = []
    for step in re.split(r"\n(?=\d+\. )", text)[1:]:
        commands: list[str] = []
        for block in re.findall(r"::\n\n((?: {7,}.*\n?|\n(?= {7}))+)", step):
            commands += textwrap.dedent(block).replace("\\\n", " ").strip().splitlines()
        found.append([command for command in commands if command])
    return found


@pytest.fixture
def nodes() -> Iterator[Cluster]:
    """Where README.rst begins: a Ganeti cluster, and an empty disk in each node."""
    testbed = Testbed("%s-n" % Testbed().layout.name[:18])
    testbed.up(nodes=3, bare=True)
    try:
        ganeti.create([testbed.node(name) for name in testbed.nodes])
        cluster = Cluster(testbed)
        for name in testbed.nodes:
            cluster.run("ln", "-s", testbed.add_device(name), "/dev/vdb", node=name)
        yield cluster
    finally:
        testbed.down()


def type_in(cluster: Cluster, command: str) -> str:
    """Type a command on the master, say yes if it asks; what it shows, if it succeeds."""
    with terminal(cluster.testbed.node("node1"), ["sh", "-c", command], TERM="xterm") as typed:
        if command.startswith("gnt-gluster pool create"):
            typed.until(QUESTION, 240)
            typed.type("y\n")
        status = typed.end(600)
    assert status == 0, "%s: exit status %d\n%s" % (command, status, typed.text)
    return typed.text


def test_what_the_readme_says_works_in_its_order(nodes: Cluster) -> None:
    text = (ROOT / "README.rst").read_text(encoding="utf-8")
    build, install, pool, os, instance, verify = steps(section(text, "Install it on a cluster"))
    # The package under test was built so, and where README.rst says.
    assert build == ["make deb"]
    assert "``build/%s``" % package().name in text
    nodes.testbed.push("node1", package(), "/root/%s" % package().name)
    assert any("/root/%s" % package().name in command for command in install)

    shown = [type_in(nodes, command) for command in install]
    assert install[-1] == "gnt-gluster plugin status"
    for name in nodes.nodes:
        assert re.search(r"%s +ganeti-gluster" % name, shown[-1]), shown[-1]

    shown = [type_in(nodes, command) for command in pool]
    assert "Volume gv0 is ready." in shown[0]
    assert "gv0" in shown[-1]

    assert NOT_HERE in os[0]
    assert OS_OF_TESTS in text
    for name in nodes.nodes:
        nodes.run("mkdir", "-p", OS_DIRECTORY, node=name)
        nodes.run("cp", "-r", "/src/qa/os/guest", OS_DIRECTORY, node=name)
        # As a name server would.
        line = "%s web1" % (layout.PREFIX + "77")
        nodes.run("sh", "-c", "echo %s >>/etc/hosts" % line, node=name)
    for command in os[1:]:
        assert OS_OF_TESTS in type_in(nodes, command)

    assert OS_OF_DEBIAN in instance[0]
    shown = [type_in(nodes, each.replace(OS_OF_DEBIAN, OS_OF_TESTS)) for each in instance]
    assert "web1" in shown[-1]

    shown = [type_in(nodes, command) for command in verify]
    assert verify[-1] == "gnt-gluster verify"
    assert shown[-1] == ""  # it prints only problems
