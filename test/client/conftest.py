"""Ganeti's library as far as commands of ours are made of it; no test has all of Ganeti."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import ganeti_cli
import pytest

_PACKAGES = ("ganeti", "ganeti.http", "ganeti.rpc")
_KNOWN = {
    "ganeti.constants": {
        "EXIT_SUCCESS": 0,
        "EXIT_FAILURE": 1,
        "EXIT_NOTMASTER": 11,
        "EXIT_CONFIRMATION": 13,
    },
    "ganeti.errors": {
        "ECODE_INVAL": "wrong_input",
        "ECODE_NOENT": "unknown_entity",
        "ECODE_STATE": "wrong_state",
    },
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


@contextmanager
def _on_ganeti() -> Iterator[Callable[[str], Any]]:
    """What imports a module of `ganeti_gluster`, on Ganeti's library as it is here."""
    finder = _Finder()
    before = dict(sys.modules)
    sys.meta_path.insert(0, finder)
    try:
        yield lambda name: importlib.import_module("ganeti_gluster.%s" % name)
    finally:
        sys.meta_path.remove(finder)
        for name in set(sys.modules) - set(before):
            if name.partition(".")[0] in ("ganeti", "ganeti_gluster"):
                module = sys.modules.pop(name)
                parent, _, last = name.rpartition(".")
                if getattr(sys.modules.get(parent), last, None) is module:
                    delattr(sys.modules[parent], last)


@pytest.fixture
def client() -> Iterator[Callable[[str], Any]]:
    """Imports a module of `ganeti_gluster.client`, on Ganeti's library as it is here."""
    with _on_ganeti() as part:
        yield lambda name: part("client.%s" % name)


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


MASTER, OTHER = "node1.example.org", "node2.example.org"
NOT_MASTER = "This is not the master node, please connect to node '%s' and rerun the command"


class Entry:
    """`gnt-gluster` on a node that is not the master, until `be_master`."""

    def __init__(self, part: Callable[[str], Any], patch: pytest.MonkeyPatch, capsys: Any) -> None:
        #: Imports a module of ours.
        self.part = part
        self.patch = patch
        self.questions: list[str] = []
        self._capsys = capsys
        self._main = part("client.gnt_gluster").Main
        self._cli = importlib.import_module("ganeti.cli")
        self._ssconf = importlib.import_module("ganeti.ssconf")
        self._node(OTHER, self._refuse)
        self.replace_in(self._cli, AskUser=lambda question: pytest.fail("asked: %s" % question))
        self.replace_in(self._cli, GenerateTable=table)

    def _node(self, name: str, get_client: Callable[[], Any]) -> None:
        self.replace_in(self._ssconf, GetMasterAndMyself=lambda ss=None: (MASTER, name))
        self.replace_in(self._cli, GetClient=get_client)

    def _refuse(self) -> None:
        raise ganeti_cli.OpPrereqError(NOT_MASTER % MASTER, "wrong_input")

    def be_master(self, **answers: Any) -> None:
        """Be the master, whose daemon has these answers to the questions of these names."""
        replies = {name: lambda *words, reply=reply: reply for name, reply in answers.items()}
        self._node(MASTER, lambda: SimpleNamespace(**replies))

    def replace(self, name: str, **values: Any) -> None:
        """Put values in the place of what a module of ours has."""
        self.replace_in(self.part(name), **values)

    def replace_in(self, module: Any, **values: Any) -> None:
        for name, value in values.items():
            self.patch.setattr(module, name, value, raising=False)

    def answer(self, yes: bool) -> None:
        """Let somebody be there who is asked."""
        self.replace_in(self._cli, AskUser=lambda text: bool(self.questions.append(text)) or yes)

    def __call__(
        self, words: str, status: int, *, out: str | None = "", err: str | None = ""
    ) -> str:
        """Run the command; its exit status and what it says have to be these.

        "" is a stream on which nothing is said, another text is a part of what is said, and
        None is anything.  Returns the standard output.
        """
        self.patch.setattr(sys, "argv", ["/usr/sbin/gnt-gluster", *shlex.split(words)])
        try:
            found: object = self._main()
        except SystemExit as end:  # as optparse ends
            found = end.code
        said = self._capsys.readouterr()
        for name, wanted, stream in (("out", out, said.out), ("err", err, said.err)):
            if wanted == "":
                assert (name, stream) == (name, "")
            else:
                assert wanted is None or wanted in stream
        assert (found, type(found)) == (status, int), said
        return str(said.out)


def raiser(error: BaseException) -> Callable[..., Any]:
    """A function that raises this."""

    def fail(*args: object, **named: object) -> None:
        raise error

    return fail


def refused(text: str, kind: str = "wrong_input") -> str:
    """What Ganeti makes of an OpPrereqError."""
    return (
        "Failure: prerequisites not met for this operation:\nerror type: %s, error details:\n%s\n"
        % (kind, text)
    )


@pytest.fixture(scope="module")
def _entry_parts() -> Iterator[Callable[[str], Any]]:
    """All commands, on Ganeti's library with what runs them; imported once: it takes a second."""
    with _on_ganeti() as part:
        part("errors")
        cli = importlib.import_module("ganeti.cli")
        errors = importlib.import_module("ganeti.errors")
        for name, value in ganeti_cli.ERRORS.items():
            setattr(errors, name, value)
        for name in ("GenericMain", "ParseFields", "ToStdout", "ToStderr"):
            setattr(cli, name, getattr(ganeti_cli, name))
        for name, value in ganeti_cli.NAMES.items():
            setattr(cli, name, value)
        yield part


@pytest.fixture
def check(
    _entry_parts: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Entry:
    """Runs a command as a shell would, and looks at what came of it."""
    return Entry(_entry_parts, monkeypatch, capsys)
