"""The import hook: what every Python process of the system runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ganeti_gluster import hook

ROOT = Path(__file__).resolve().parent.parent
LINE = (ROOT / "lib" / "ganeti-gluster.pth").read_text()

# As `site` does with a line of a .pth file that begins with "import".
RUN_LINE = "import sys\nexec(%r)\n" % LINE


def run(code: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a new process that has read the .pth file, with `paths` to import from."""
    setup = "".join("sys.path.insert(0, %r)\n" % str(path) for path in reversed(paths))
    return subprocess.run(
        [sys.executable, "-S", "-c", "%s%s%s" % (RUN_LINE, setup, code)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd="/",
    )


def ganeti(folder: Path) -> Path:
    """A package `ganeti` with one module that the plugin knows."""
    package = folder / "ganeti"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "constants.py").write_text("loaded = True\n")
    return folder


def test_the_file_is_one_line_that_site_executes() -> None:
    assert LINE.startswith("import sys;")
    assert LINE.count("\n") == 1


@pytest.mark.allow_process
def test_a_process_that_is_not_ganetis_loads_nothing_of_ours() -> None:
    done = run("import json, sys\nprint([n for n in sys.modules if 'gluster' in n])")
    assert done.stdout == "[]\n"
    assert done.stderr == ""


@pytest.mark.allow_process
def test_ganeti_is_imported_as_ever_when_the_package_is_gone(tmp_path: Path) -> None:
    done = run("import ganeti.constants as c\nprint(c.loaded)", ganeti(tmp_path))
    assert done.stdout == "True\n"
    assert done.stderr == ""


@pytest.mark.allow_process
def test_ganeti_is_imported_as_ever_when_the_plugin_is_broken(tmp_path: Path) -> None:
    ours = tmp_path / "ganeti_gluster"
    ours.mkdir()
    (ours / "__init__.py").write_text("")
    (ours / "hook.py").write_text((ROOT / "lib" / "hook.py").read_text())
    (ours / "plugin.py").write_text("raise RuntimeError('half an upgrade')\n")
    done = run("import ganeti.constants as c\nprint(c.loaded)", ganeti(tmp_path))
    assert done.stdout == "True\n"
    assert done.stderr == ""


def test_installed_tells_whether_this_process_has_the_hook(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    assert not hook.installed()
    exec(LINE, {})  # noqa: S102 - as site does
    assert hook.installed()
