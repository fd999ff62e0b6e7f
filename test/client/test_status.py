"""`gnt-gluster status`, through its own entry point."""

from __future__ import annotations

import json

import pytest

from ganeti_gluster.errors import GanetiGlusterError

from .conftest import Entry, raiser, refused


@pytest.fixture
def findings(check: Entry) -> list[dict[str, str]]:
    """What is wrong with a cluster of nothing, for the master."""
    wrong: list[dict[str, str]] = []
    tables = ("nodes", "volumes", "bricks", "disks", "instances", "exports")
    data = {**{name: [] for name in tables}, "cluster": "c", "findings": wrong}
    check.replace("cmdlib.verify", look_at_cluster=lambda: None, check_cluster=lambda seen: [])
    check.replace("cmdlib.overview", describe=lambda seen, found: data)
    return wrong


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--watch --json", "--watch cannot be used with --json"),
        ("--interval=4", "--interval must be 5 to 86400 seconds"),
        ("--watch --interval=-1", "--interval must be 5 to 86400 seconds"),
        ("--watch --interval=99999999999", "--interval must be 5 to 86400 seconds"),
    ],
)
def test_options_that_do_not_go_together(check: Entry, options: str, said: str) -> None:
    check("status %s" % options, 1, err=refused(said))


@pytest.mark.parametrize(("severity", "status"), [("ERROR", 1), ("WARNING", 0)])
def test_the_exit_status_tells_of_errors(
    check: Entry, findings: list[dict[str, str]], severity: str, status: int
) -> None:
    check("status", 0, out="c: healthy, 0 of 0 nodes with glusterd, ")
    findings.append({"severity": severity, "object": "gv0", "text": "gone", "remedy": ""})
    findings[0]["code"] = "VOLUME_MISSING"
    check("status", status, out="c: %s, " % severity)
    assert json.loads(check("status --json", status, out=None))["findings"] == findings


def test_watching_ends_with_an_interrupt(check: Entry, findings: list[dict[str, str]]) -> None:
    check.replace_in(check.part("client.status").time, sleep=raiser(KeyboardInterrupt()))
    check("status --watch", 0, out="\033[H\033[2Jc: healthy, ")


def test_what_cannot_be_looked_at(check: Entry, findings: list[dict[str, str]]) -> None:
    check.replace("cmdlib.verify", look_at_cluster=raiser(GanetiGlusterError("no answer")))
    check("status", 1, err="Failure: no answer\n")
