"""What setup.py, debian/ and the sources must agree on."""

from __future__ import annotations

import re
import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest
import setuptools

import ganeti_gluster

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    """What setup.py says to setuptools."""
    said: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", said.update)
        runpy.run_path(str(ROOT / "setup.py"))
    return said


def _control_field(name: str) -> list[str]:
    text = (ROOT / "debian" / "control").read_text()
    package = text.split("\n\n", 1)[1]
    found = re.search(r"^%s:((?:\n .*|.+)+)$" % name, package, re.MULTILINE)
    assert found is not None
    return [part.strip() for part in found.group(1).split(",") if part.strip()]


def test_one_version_everywhere(described: dict[str, Any]) -> None:
    changelog = (ROOT / "debian" / "changelog").read_text()
    newest = re.match(r"ganeti-gluster \(([^)]+)\) ", changelog)

    assert newest is not None
    assert newest.group(1) == ganeti_gluster.__version__
    assert described["version"] == ganeti_gluster.__version__


def test_one_gfapi_version_everywhere(described: dict[str, Any]) -> None:
    (wanted,) = (line for line in described["install_requires"] if line.startswith("gfapi"))
    bundled = (ROOT / "debian" / "gfapi.txt").read_text()
    tools = (ROOT / "requirements-dev.txt").read_text()

    assert "\n%s --hash=sha256:" % wanted in bundled
    assert wanted in tools.splitlines()
    assert "gfapi-%s-" % wanted.split("==")[1] in (ROOT / "Makefile").read_text()


def test_every_package_folder_is_installed(described: dict[str, Any]) -> None:
    folders = {
        ".".join(["ganeti_gluster", *init.parent.relative_to(ROOT / "lib").parts])
        for init in (ROOT / "lib").rglob("__init__.py")
    } | {
        ".".join(["ganeti_gluster", *init.parent.relative_to(ROOT).parts])
        for init in (ROOT / "constants").rglob("__init__.py")
    }

    assert set(described["packages"]) == folders


def test_every_module_lies_in_a_package() -> None:
    for top in ("lib", "constants"):
        for module in (ROOT / top).rglob("*.py"):
            assert (module.parent / "__init__.py").exists(), module


def test_debian_has_what_pip_would_fetch(described: dict[str, Any]) -> None:
    depends = _control_field("Depends")

    for requirement in described["install_requires"]:
        name = re.split(r"[=<>]", requirement)[0]
        assert name == "gfapi" or "python3-%s" % name in depends


@pytest.mark.allow_process
def test_no_other_target_is_made_for_the_package() -> None:
    """`doc` is a folder of sources, and the target that builds the manual."""
    commands = subprocess.run(
        ["make", "--dry-run", "--always-make", "deb"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "build-deb" in commands
    assert "sphinx" not in commands


def test_an_unknown_ganeti_may_be_installed_beside_it() -> None:
    # It is met by leaving stock Ganeti in place, not by refusing the package.
    assert [part for part in _control_field("Depends") if "ganeti " in part] == ["ganeti (>= 3.0)"]


def test_the_pth_file_is_one_line_that_cannot_fail_a_python_process() -> None:
    lines = (ROOT / "lib" / "ganeti-gluster.pth").read_text().splitlines()

    assert len(lines) == 1
    assert lines[0].startswith(("import ", "#"))


HOOKS = sorted(path for path in (ROOT / "hooks").rglob("*") if path.is_file())


@pytest.mark.parametrize("path", HOOKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_ganeti_would_run_the_hook(path: Path) -> None:
    if "__pycache__" in path.parts:
        pytest.skip("not a source")
    assert re.match(r"^[a-zA-Z0-9_-]+$", path.name)  # Ganeti's EXT_PLUGIN_MASK
    assert path.stat().st_mode & 0o111 == 0o111
    assert path.read_text().startswith(("#!/usr/bin/python3\n", "#!/bin/sh\n"))
    assert path.parent.name == "restricted-commands" or path.parent.suffix == ".d"
