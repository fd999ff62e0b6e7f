"""Running another program."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ganeti_gluster.tools.command import CommandFailed, run

pytestmark = pytest.mark.allow_process


def test_output_and_exit_status_come_back() -> None:
    done = run(["sh", "-c", "echo out; echo err >&2; exit 3"], timeout=10, check=False)
    assert (done.exit_code, done.stdout, done.stderr) == (3, "out\n", "err\n")


def test_it_runs_in_the_c_locale_with_closed_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert run(["sh", "-c", "echo $LC_ALL; cat"], timeout=10).stdout == "C\n"


def test_no_shell_reads_the_arguments() -> None:
    assert run(["echo", "$(id); `id`"], timeout=10).stdout == "$(id); `id`\n"


@pytest.mark.parametrize(
    ("argv", "message", "exit_code"),
    [
        (["sh", "-c", "echo no >&2; exit 4"], "sh -c echo no >&2; exit 4: exit status 4: no", 4),
        (
            ["/no/such/program"],
            "/no/such/program: cannot be started: No such file or directory",
            None,
        ),
        (["sleep", "30"], "sleep 30: did not end within 0.1 s", None),
    ],
)
def test_a_failure_says_what_and_why(argv: list[str], message: str, exit_code: int | None) -> None:
    with pytest.raises(CommandFailed) as caught:
        run(argv, timeout=0.1 if argv[0] == "sleep" else 10)
    assert str(caught.value) == message
    assert caught.value.exit_code == exit_code


@pytest.mark.parametrize("stream", [1, 2])
def test_a_program_that_writes_without_end_is_ended(stream: int, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    endless = "echo $$ > %s; while :; do echo yes; done >&%d" % (pid, stream)
    with pytest.raises(CommandFailed) as caught:
        run(["sh", "-c", endless], timeout=20, longest=100_000)
    assert str(caught.value) == "sh -c %s: wrote more than 100000 bytes of output" % endless
    assert caught.value.exit_code is None
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_as_much_as_a_program_may_write_comes_back_whole() -> None:
    done = run(["head", "-c", "300000", "/dev/zero"], timeout=20, longest=300_000)
    assert done.stdout == "\0" * 300_000


def test_output_is_read_as_text() -> None:
    done = run(["printf", r"a\r\nb\rc\377"], timeout=10)
    assert done.stdout == "a\nb\nc\N{REPLACEMENT CHARACTER}"
