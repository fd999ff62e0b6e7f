"""Imports point downwards only, and no two modules import each other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "ganeti_gluster"

#: The package's wings by layer, the highest first; within a layer they may import each other.
LAYERS = {
    "edges": "client web monitoring extstorage gnt-gluster services-sync agent hooks scripts",
    "cluster logic": "cmdlib",
    "adapters to Ganeti": (
        "storage patches objects_ext plugin plugin_status hook with_path under_way"
    ),
    "domain": "core plugin_state",
    "tools": "tools errors constants",
}
RANK = {wing: number for number, wings in enumerate(LAYERS.values()) for wing in wings.split()}


def sources() -> dict[str, ast.Module]:
    """The parsed source of each module and program, by its name within the package."""
    found = {}
    for path in sorted((ROOT / "lib").rglob("*")):
        if path.suffix == ".py" or (path.is_file() and is_program(path)):
            name = ".".join(path.relative_to(ROOT / "lib").with_suffix("").parts)
            found[name.removesuffix("__init__").rstrip(".")] = ast.parse(path.read_text())
    for folder in ("hooks", "extstorage"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and is_program(path):
                wing = "hooks" if folder == "hooks" else "scripts"
                found["%s.%s" % (wing, path.name)] = ast.parse(path.read_text())
    return found


def is_program(path: Path) -> bool:
    return path.read_bytes().startswith(b"#!/usr/bin/python3")


def imports(tree: ast.Module, modules: set[str]) -> Iterator[str]:
    """What a module imports of the package, late imports and modules named in strings too."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in docstrings:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                yield from named("%s.%s" % (node.module, alias.name), modules)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield from named(alias.name, modules)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            for word in re.findall(r"\b%s(?:\.\w+)+" % PACKAGE, node.value):
                yield from named(word, modules)


def named(dotted: str, modules: set[str]) -> Iterator[str]:
    """The module of the package that a dotted name is, or is in."""
    if dotted != PACKAGE and not dotted.startswith(PACKAGE + "."):
        return
    name = dotted[len(PACKAGE) :].lstrip(".")
    while name and name not in modules and name.partition(".")[0] != "constants":
        name = name.rpartition(".")[0]
    if name:
        yield name


SOURCES = sources()
MODULES = set(SOURCES)
IMPORTS = {name: sorted(set(imports(tree, MODULES)) - {name}) for name, tree in SOURCES.items()}


def wing(module: str) -> str:
    return module.partition(".")[0]


def test_each_module_has_its_layer() -> None:
    assert {wing(module) for module in MODULES if module} <= set(RANK)


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name))
def test_no_import_runs_upwards(module: str) -> None:
    upwards = [other for other in IMPORTS[module] if RANK[wing(other)] < RANK[wing(module)]]
    assert upwards == []


def test_no_modules_import_each_other() -> None:
    assert cycles() == []


def cycles() -> list[set[str]]:
    """The sets of modules each of which leads to all others of its set."""
    reach = {module: {module} for module in IMPORTS}
    changed = True
    while changed:
        changed = False
        for module, others in IMPORTS.items():
            found = reach[module].union(*(reach.get(other, set()) for other in others))
            if found != reach[module]:
                reach[module] = found
                changed = True
    found_cycles = []
    for module in reach:
        same = {other for other in reach[module] if other in reach and module in reach[other]}
        if len(same) > 1 and same not in found_cycles:
            found_cycles.append(same)
    return found_cycles


JOURNEYS = (ROOT / "doc" / "architecture.rst").read_text()


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"``((?:lib|src)/[\w/.-]+\w)``", JOURNEYS)))
)
def test_the_documentation_names_files_that_are_there(path: str) -> None:
    assert (ROOT / path).is_file()


@pytest.mark.parametrize(
    ("name", "path"), re.findall(r"``(\w+)``\s+of\s+``((?:lib|src)/[\w/.-]+\w)``", JOURNEYS)
)
def test_it_names_functions_that_are_there(name: str, path: str) -> None:
    text = (ROOT / path).read_text()
    assert re.search(r"^\s*(def|class|(static )?\w+) %s\b[(:]" % name, text, re.M)


def test_it_has_every_wing() -> None:
    wings = {path.parent.name for path in (ROOT / "lib").glob("*/__init__.py")}
    assert [wing for wing in sorted(wings) if wing + "/" not in JOURNEYS] == []
