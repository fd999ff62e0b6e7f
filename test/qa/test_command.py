"""Running one command, on real short ones."""

from __future__ import annotations

import sys

import pytest

from testbedlib import CommandTimeout, UnexpectedExit, assert_command
from testbedlib.command import run

# what is tested here is how processes are started and ended
pytestmark = pytest.mark.allow_process


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_output_and_exit_code_are_the_commands() -> None:
    done = run(
        python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"),
        timeout=20,
        check=False,
    )
    assert (done.stdout, done.stderr, done.exit_code) == ("out\n", "err\n", 3)


def test_a_failure_shows_command_exit_code_and_output() -> None:
    with pytest.raises(UnexpectedExit, match=r"(?s)here: .*exit code 3.*stderr: oops"):
        run(python("import sys; print('oops', file=sys.stderr); sys.exit(3)"), timeout=20)


def test_a_child_in_the_background_does_not_keep_us() -> None:
    done = run(["sh", "-c", "sleep 30 & echo $!"], timeout=10)
    assert done.seconds < 10
    run(["kill", done.stdout.strip()], timeout=5)


def test_time_over_kills() -> None:
    with pytest.raises(CommandTimeout, match="timed out") as caught:
        run(["sleep", "30"], timeout=0.1)
    assert caught.value.completed.exit_code == 124


def test_stdin_is_closed_unless_given() -> None:
    assert run(["cat"], timeout=5).stdout == ""
    assert run(["cat"], timeout=5, stdin=b"x").stdout == "x"


def test_the_locale_is_c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_MESSAGES", "de_DE.UTF-8")
    monkeypatch.setenv("PYTHONPATH", "/x")
    code = "import os; print(sorted(k for k in os.environ if k.startswith(('LC_', 'PYTHON'))))"
    assert run(python(code), timeout=20).stdout.strip() == "['LC_ALL']"


def test_assert_command_judges_the_exit_code() -> None:
    assert_command(["true"])
    assert_command(["false"], fail=True)
    assert_command(["sh", "-c", "exit 4"], fail=4)
    for cmd, fail in ((["false"], False), (["true"], True), (["false"], 4)):
        with pytest.raises(AssertionError, match="expected"):
            assert_command(cmd, fail=fail)
    with pytest.raises(AssertionError, match=r"not within 0\.1 s"):
        assert_command(["sleep", "30"], max_seconds=0.1)
