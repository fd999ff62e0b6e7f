"""Which tests a change needs."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def changed() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "test" / "changed"))


def test_each_test_on_nodes_that_is_named_is_there(changed: dict[str, Any]) -> None:
    named = {test for tests in changed["NODES"].values() for test in tests.split()}
    assert [test for test in sorted(named) if not (ROOT / "test" / (test + ".py")).exists()] == []


def test_each_part_of_the_sources_has_tests_on_nodes(changed: dict[str, Any]) -> None:
    found = {str(path.parent.relative_to(ROOT)) for path in (ROOT / "lib").rglob("__init__.py")}
    wings = {"lib", "lib/core", "lib/tools"}
    assert found - wings - set(changed["NODES"]) == set()
    assert [part for part in changed["NODES"] if not (ROOT / part).is_dir()] == []


def test_a_module_has_its_mirror_and_those_that_import_it(changed: dict[str, Any]) -> None:
    found = changed["unit_tests"]([Path("lib/core/copy/engine.py")])
    assert Path("test/core/copy/test_engine.py") in found
    assert Path("test/web/test_pages.py") not in found


def test_support_has_all_unit_tests(changed: dict[str, Any]) -> None:
    assert len(changed["unit_tests"]([Path("test/conftest.py")])) > 100
    assert changed["unit_tests"]([Path("doc/verify.rst")]) == []


def test_tests_on_nodes_are_those_of_the_part_and_the_changed_ones(
    changed: dict[str, Any],
) -> None:
    found = changed["node_tests"](
        [Path("lib/core/snapshot/live.py"), Path("test/cluster/test_tls.py")]
    )
    assert found[0] == "test/cluster/test_tls.py"
    assert "test/cluster/test_snapshot.py" in found
    assert changed["node_tests"]([Path("lib/core/image.py")]) == ["test/cluster/test_instance.py"]
    assert changed["node_tests"]([Path("README.rst")]) == []
