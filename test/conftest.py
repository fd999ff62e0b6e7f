"""The frame of all tests: which ganeti_gluster they import, and what they may do.

Tests use the source tree as it is: `ganeti_gluster` is lib/, with constants/ in
it, and nothing has to be built.  With GANETI_GLUSTER_INSTALLED=1 in the
environment they use the installed package, as on a node of the testbed.

A unit test starts no process.  Those under test/integration and test/cluster
may, and so may one marked `allow_process`.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent
REAL_PARTS = ("integration", "cluster")


def _register_source_tree() -> None:
    """Make `import ganeti_gluster` mean lib/, and constants/ its subpackage."""
    spec = importlib.util.spec_from_file_location(
        "ganeti_gluster",
        ROOT / "lib" / "__init__.py",
        submodule_search_locations=[str(ROOT / "lib"), str(ROOT)],
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ganeti_gluster"] = module
    spec.loader.exec_module(module)


if os.environ.get("GANETI_GLUSTER_INSTALLED") != "1":
    _register_source_tree()

# testbedlib, through which tests reach the testbed
sys.path.insert(0, str(ROOT / "qa"))
# what stands for real parts in several folders' tests
sys.path.insert(0, str(ROOT / "test" / "fakes"))


def _may_start_processes(request: pytest.FixtureRequest) -> bool:
    if request.node.get_closest_marker("allow_process"):
        return True
    parts = request.path.relative_to(ROOT / "test").parts
    return parts[0] in REAL_PARTS


def _refuse(what: str) -> Callable[..., NoReturn]:
    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        pytest.fail("a unit test called %s%r" % (what, args))

    return refuse


def _refuse_popen(self: Any, args: Any, *_args: Any, **_kwargs: Any) -> NoReturn:
    self.args, self.returncode = args, None  # for its own repr
    pytest.fail("a unit test called subprocess.Popen(%r)" % (args,))


@pytest.fixture(autouse=True)
def no_processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a unit test that starts a process."""
    if _may_start_processes(request):
        return
    # The method, not the class: a module may hold its own reference to Popen.
    monkeypatch.setattr(subprocess.Popen, "__init__", _refuse_popen)
    for name in ("fork", "forkpty", "posix_spawn", "posix_spawnp", "system"):
        monkeypatch.setattr(os, name, _refuse("os.%s" % name))
