"""What systemd is given to run, and how it reads that."""

from __future__ import annotations

import pytest

from ganeti_gluster import transient_unit
from ganeti_gluster.errors import InvalidParameter

ODD = ["/bin/x", "a b", "${HOME}", "$$", "100%n", 'say "hi"', "back\\slash", ""]


def test_each_word_arrives_as_it_is() -> None:
    argv = transient_unit.run_argv("u.service", "Text", ODD, options=["--wait"])
    assert argv == [
        *("systemd-run", "--quiet", "--collect", "--wait", "--unit=u.service"),
        *("--description=Text", "--", "/bin/x", "a b", "$${HOME}", "$$$$", "100%n"),
        *('say "hi"', "back\\slash", ""),
    ]


def test_a_property_with_a_command_has_each_word_quoted() -> None:
    assert transient_unit.command_property("ExecStopPost", ODD) == (
        r'ExecStopPost=/bin/x "a b" "$${HOME}" "$$$$" 100%n "say \"hi\"" "back\\slash" ""'
    )


def test_what_is_started_again_has_no_word_that_changes_by_that() -> None:
    properties = ["Restart=always"]
    with pytest.raises(InvalidParameter, match="a unit that is started again can have no"):
        transient_unit.run_argv("u.service", "Text", ["/bin/x", "a$b"], properties=properties)
    argv = transient_unit.run_argv("u.service", "Text", ["/bin/x"], properties=properties)
    assert argv[-3:] == ["--property=Restart=always", "--", "/bin/x"]


def test_a_unit_that_never_starts_again_may_have_any_word() -> None:
    argv = transient_unit.run_argv("u", "d", ["true", "a$b"], properties=["Restart=no"])
    assert argv[-2:] == ["true", "a$$b"]
