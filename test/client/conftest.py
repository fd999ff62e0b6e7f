"""Ganeti's library as far as commands of ours are made of it; no test has all of Ganeti."""

from __future__ import annotations

import importlib
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import ganeti_cli
import pytest
from ganeti_library import on_ganeti


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
def client() -> Iterator[Callable[[str], Any]]:
    """Imports a module of `ganeti_gluster.client`, on Ganeti's library as it is here."""
    with on_ganeti() as part:
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
        confirm=False,
        disks=None,
        dry_run=False,
        force=False,
        host=None,
        json=False,
        limit=None,
        no_headers=True,
        nodes=[],
        plan="",
        separator=" ",
        services=[],
        type=None,
        volume=None,
    )


MASTER, OTHER = "node1.example.org", "node2.example.org"
NOT_MASTER = "This is not the master node, please connect to node '%s' and rerun the command"


class Entry:
    """`gnt-gluster` on the master, whose daemon is not asked until `be_master`."""

    def __init__(self, part: Callable[[str], Any], patch: pytest.MonkeyPatch, capsys: Any) -> None:
        #: Imports a module of ours.
        self.part = part
        self.patch = patch
        self.questions: list[str] = []
        self._capsys = capsys
        self._main = part("client.gnt_gluster").Main
        self._cli = importlib.import_module("ganeti.cli")
        self._ssconf = importlib.import_module("ganeti.ssconf")
        self._node(MASTER, lambda: pytest.fail("asked the master daemon"))
        self.patch.setattr(os, "geteuid", lambda: 0)
        self.replace_in(self._cli, AskUser=lambda question: pytest.fail("asked: %s" % question))
        self.replace_in(self._cli, GenerateTable=table)

    def _node(self, name: str, get_client: Callable[[], Any]) -> None:
        self.replace_in(self._ssconf, GetMasterAndMyself=lambda ss=None: (MASTER, name))
        self.replace_in(self._cli, GetClient=get_client)

    def _refuse(self) -> None:
        raise ganeti_cli.OpPrereqError(NOT_MASTER % MASTER, "wrong_input")

    def be_elsewhere(self) -> None:
        """Be a node that is not the master."""
        self._node(OTHER, self._refuse)

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
    with on_ganeti() as part:
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
