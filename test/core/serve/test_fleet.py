"""What is done with all servers of a node when the package changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ganeti_gluster.core.serve import control, files, fleet

from .conftest import FakeServer, Serve


@pytest.fixture
def servers(serve: Serve, directory: Path) -> list[FakeServer]:
    """Two servers, and one that has ended meanwhile."""
    for key in ("a", "b", "c"):
        (directory / (key + ".conf")).touch()
    answers = {"renew": [""], "leave": ["ok\n"]}
    return [serve(key, dict(answers)) for key in ("a", "c")]


@pytest.mark.parametrize("action", ["renew", "leave"])
def test_each_server_is_asked(servers: list[FakeServer], action: str) -> None:
    assert fleet.main(["fleet", action]) == 0
    assert [server.asked for server in servers] == [[action], [action]]


def test_a_server_is_waited_for_before_the_next_is_renewed(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.make_directories()
    for key in ("a", "b"):
        (directory / (key + ".conf")).touch()
    calls: list[tuple[str, str]] = []
    monkeypatch.setattr(
        control, "ask", lambda key, question, timeout: calls.append((key, question))
    )
    monkeypatch.setattr(control, "status", lambda key, timeout: calls.append((key, "status")))
    assert fleet.renew_all() == []
    assert calls == [("a", "renew"), ("a", "status"), ("b", "renew"), ("b", "status")]


def test_one_that_does_not_answer_does_not_keep_the_others_from_it(
    directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files.make_directories()
    for key in ("a", "b"):
        (directory / (key + ".conf")).touch()
    asked = []

    def ask(key: str, question: str, *, timeout: float) -> dict[str, str]:
        asked.append(key)
        if key == "a":
            raise control.NoAnswer("its server does not answer within %g s" % timeout)
        return {}

    monkeypatch.setattr(control, "ask", ask)
    assert fleet.main(["fleet", "leave"]) == 1
    assert asked == ["a", "b"]
    assert capsys.readouterr().err == "image server a: its server does not answer within 60 s\n"


def test_a_node_without_open_images_has_nothing_to_do(directory: Path) -> None:
    assert fleet.main(["fleet", "renew"]) == 0


@pytest.mark.parametrize("argv", [["fleet"], ["fleet", "stop"], ["fleet", "renew", "leave"]])
def test_anything_else_is_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert fleet.main(argv) == 2
    assert capsys.readouterr().err == "usage: fleet renew|leave|status\n"
