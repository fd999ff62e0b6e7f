"""`gnt-gluster monitor`, through its own entry point."""

from __future__ import annotations

import errno
import json

from ganeti_gluster.errors import GanetiGlusterError

from .conftest import Entry, raiser, refused


def test_files_are_written_in_both_formats(check: Entry) -> None:
    said = "--write cannot be used with --json: it writes both formats"
    check("monitor --write --json", 1, err=refused(said))


def test_files_are_written_and_nothing_is_said(check: Entry) -> None:
    written: list[bool] = []
    check.replace("monitoring.agent", write=lambda: written.append(True))
    check("monitor --write", 0)
    assert written == [True]


def test_files_that_cannot_be_written(check: Entry) -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "/var/lib/x")
    check.replace("monitoring.agent", write=raiser(error))
    check("monitor --write", 1, err="Failure: /var/lib/x: No space left on device\n")


def test_what_cannot_be_collected(check: Entry) -> None:
    check.replace("monitoring.agent", collect=raiser(GanetiGlusterError("no gluster")))
    check("monitor", 1, err="Failure: no gluster\n")


def test_one_format_is_printed(check: Entry) -> None:
    check.replace("monitoring.agent", collect=lambda: None)
    check.replace("monitoring.metrics", families=lambda seen: [], exposition=lambda all: "up 1\n")
    check.replace("monitoring.report", report=lambda seen: {"name": "gluster"})
    assert check("monitor", 0, out="up 1\n") == "up 1\n"
    assert json.loads(check("monitor --json", 0, out=None)) == {"name": "gluster"}
