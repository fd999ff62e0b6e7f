"""One name is one thing: no two classes of the sources share a name."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("lib", "constants", "hooks", "extstorage", "monitoring", "qa")


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Each Python file's path and what it says, programs without a suffix included."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix == ".py" or (path.is_file() and is_program(path)):
                yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def is_program(path: Path) -> bool:
    return path.read_bytes().startswith(b"#!/usr/bin/python3")


def named(tree: ast.Module) -> Iterator[str]:
    """The classes of a module, nested ones as well, and the types that it gives a name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield node.name
    for node in tree.body:
        if isinstance(node, ast.Assign) and not is_type_variable(node.value):
            for target in node.targets:
                if isinstance(target, ast.Name) and is_camel_case(target.id):
                    yield target.id


def is_camel_case(name: str) -> bool:
    return name.lstrip("_")[:1].isupper() and not name.isupper()


def is_type_variable(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and ast.unparse(value.func) == "TypeVar"


def test_no_two_classes_have_the_same_name() -> None:
    places = defaultdict(list)
    for path, tree in sources():
        for name in named(tree):
            places[name].append(path)
    assert {name: paths for name, paths in places.items() if len(paths) > 1} == {}
