"""Ganeti's library as far as commands of ours are made of it; no test has all of Ganeti."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

_PACKAGES = ("ganeti", "ganeti.http", "ganeti.rpc")
_KNOWN = {
    "ganeti.constants": {"EXIT_SUCCESS": 0, "EXIT_FAILURE": 1, "EXIT_CONFIRMATION": 13},
}


class _Anything:
    """A class that commands are made with, or what a function gives."""

    def __init__(self, *args: object, **named: object) -> None:
        pass


class _Stub(ModuleType):
    """A module of Ganeti's that has whatever is asked for: errors, classes, values."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in _KNOWN.get(self.__name__, {}):
            found: Any = _KNOWN[self.__name__][name]
        elif self.__name__ in _PACKAGES and name.islower():
            found = importlib.import_module("%s.%s" % (self.__name__, name))
        elif name.isupper() or name.islower():
            found = MagicMock(name="%s.%s" % (self.__name__, name))
        else:
            base = Exception if self.__name__ == "ganeti.errors" else _Anything
            found = type(name, (base,), {})
        setattr(self, name, found)
        return found


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] != "ganeti":
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return _Stub(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


class Person:
    """Whoever is asked: says yes, once `meanwhile` has happened."""

    def __init__(self) -> None:
        self.questions: list[str] = []
        self.shown: list[str] = []
        self.meanwhile: Callable[[], None] = lambda: None

    def ask(self, question: str) -> bool:
        self.questions.append(question)
        self.meanwhile()
        return True

    def show(self, text: str, *values: object) -> None:
        self.shown.append(text % values)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Imports a module of `ganeti_gluster.client`, on Ganeti's library as it is here."""
    finder = _Finder()
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    before = dict(sys.modules)
    yield lambda name: importlib.import_module("ganeti_gluster.client.%s" % name)
    for name in set(sys.modules) - set(before):
        if name.partition(".")[0] in ("ganeti", "ganeti_gluster"):
            module = sys.modules.pop(name)
            parent, _, last = name.rpartition(".")
            if getattr(sys.modules.get(parent), last, None) is module:
                delattr(sys.modules[parent], last)


@pytest.fixture
def person(client: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Person:
    """Whoever is at the terminal."""
    found = Person()
    cli = importlib.import_module("ganeti.cli")
    for name, value in (
        ("AskUser", found.ask),
        ("ToStdout", found.show),
        ("ToStderr", found.show),
        ("GenerateTable", table),
    ):
        monkeypatch.setattr(cli, name, value, raising=False)
    return found


def table(*, data: Sequence[Sequence[str]], **options: Any) -> list[str]:
    """A table without its looks."""
    return [" ".join(map(str, row)) for row in data]


@pytest.fixture
def opts() -> Any:
    """The options of a command that are given by nobody."""
    return SimpleNamespace(
        checksum=False,
        disks=None,
        dry_run=False,
        force=False,
        host=None,
        json=False,
        limit=None,
        no_headers=True,
        nodes=[],
        separator=" ",
        services=[],
        type=None,
        volume=None,
    )
