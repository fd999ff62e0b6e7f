"""The completion of the command line in bash, as the package installs it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Complete = Callable[[str], list[str]]
ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "debian" / "ganeti-gluster.bash-completion"
INSTANCES = "web\nweb2\nmail\n"
NODES = "node1\nnode2\n"


@pytest.mark.allow_process
def test_it_is_that_of_the_commands_tables() -> None:
    made = subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "completion"), "--print"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert FILE.read_text() == made, "run make completion"


@pytest.fixture
def complete(tmp_path: Path) -> Complete:
    """Completes a command line in bash, on a node with some instances, nodes and volumes."""
    (tmp_path / "ganeti").mkdir()
    (tmp_path / "ganeti" / "ssconf_instance_list").write_text(INSTANCES)
    (tmp_path / "ganeti" / "ssconf_node_list").write_text(NODES)
    (tmp_path / "ganeti" / "ssconf_nodegroups").write_text("a-uuid default\nb-uuid second\n")
    for volume in ("gv0", "other"):
        (tmp_path / "vols" / volume).mkdir(parents=True)
    (tmp_path / "dump.raw").touch()
    script = FILE.read_text()
    for was, now in (
        ("/var/lib/ganeti/", "%s/ganeti/" % tmp_path),
        ("/var/lib/glusterd/vols", "%s/vols" % tmp_path),
        # There is no line being edited here.
        ("compopt ", ": "),
    ):
        assert was in script
        script = script.replace(was, now)

    def run(line: str) -> list[str]:
        words = line.replace("=", " = ").split(" ")
        words = [word for word in words[:-1] if word] + [words[-1]]
        text = (
            "COMP_WORDS=(%s); COMP_CWORD=%d; _gnt_gluster; printf '%%s\\n' \"${COMPREPLY[@]}\""
            % (
                " ".join("'%s'" % word for word in words),
                len(words) - 1,
            )
        )
        done = subprocess.run(
            ["bash", "--norc", "-c", "%s\n%s" % (script, text)],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
        )
        assert done.stderr == ""
        return sorted(filter(None, done.stdout.split("\n")))

    return run


@pytest.mark.allow_process
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("gnt-gluster po", ["pool"]),
        ("gnt-gluster s", ["services", "status", "swift"]),
        ("gnt-gluster --v", ["--version"]),
        ("gnt-gluster disk sn", ["snapshot", "snapshots"]),
        ("gnt-gluster disk info we", ["web", "web2"]),
        ("gnt-gluster disk info web we", ["web", "web2"]),
        ("gnt-gluster disk clone --bandwidth-limit 5 ma", ["mail"]),
        ("gnt-gluster disk clone --bandwidth-limit=5 ma", ["mail"]),
        ("gnt-gluster disk evict web ", []),
        ("gnt-gluster disk clone ", ["mail", "web", "web2"]),
        ("gnt-gluster disk clone web ", []),
        ("gnt-gluster disk clone --vol", ["--volume"]),
        ("gnt-gluster disk clone --volume=", ["gv0", "other"]),
        ("gnt-gluster disk clone --volume o", ["other"]),
        ("gnt-gluster disk clone --disk ", []),
        ("gnt-gluster image copy gv0/a g", ["gv0/"]),
        ("gnt-gluster image import du", ["dump.raw"]),
        ("gnt-gluster pool replace node1 ", ["node1", "node2"]),
        ("gnt-gluster pool replace node1 node2 ", []),
        ("gnt-gluster pool create --on-node-add=j", ["join", "join+extend"]),
        ("gnt-gluster pool create --group ", ["default", "second"]),
        ("gnt-gluster pool status --js", ["--json"]),
        ("gnt-gluster verify -n node", ["node1", "node2"]),
        ("gnt-gluster verify --local ", []),
        ("gnt-gluster status --units=", ["g", "h", "m", "t"]),
        ("gnt-gluster no such ", []),
    ],
)
def test_what_is_offered(complete: Complete, line: str, expected: list[str]) -> None:
    assert complete(line) == expected


@pytest.mark.allow_process
def test_nothing_is_said_where_there_is_no_cluster(complete: Complete, tmp_path: Path) -> None:
    for path in (tmp_path / "ganeti").iterdir():
        path.unlink()
    assert complete("gnt-gluster disk info ") == []
