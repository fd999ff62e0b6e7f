"""The frame itself: the source tree is the package, and processes are refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import ganeti_gluster

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.skipif(
    os.environ.get("GANETI_GLUSTER_INSTALLED") == "1", reason="the package is installed"
)
def test_the_package_is_the_source_tree() -> None:
    assert ganeti_gluster.__file__ == str(ROOT / "lib" / "__init__.py")


def test_a_unit_test_may_not_run_a_command() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"subprocess\.Popen.*nothing"):
        subprocess.run(["nothing"], check=False)


@pytest.mark.parametrize("name", ["fork", "system", "posix_spawn"])
def test_a_unit_test_may_not_start_a_process(name: str) -> None:
    with pytest.raises(pytest.fail.Exception, match="os.%s" % name):
        getattr(os, name)("nothing")


@pytest.mark.allow_process  # this is what the marker is for
def test_a_marked_test_may() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "print(3)"], capture_output=True, check=True, timeout=30
    )
    assert done.stdout == b"3\n"
