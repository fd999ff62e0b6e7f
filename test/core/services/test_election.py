"""Which node counts as the master where nodes differ."""

from __future__ import annotations

import pytest

from ganeti_gluster.core.services.election import rival


@pytest.mark.parametrize(
    ("masters", "found"),
    [
        ({}, ("", False)),  # cut off: nobody says otherwise
        ({"a": "a", "b": "a", "c": "a"}, ("", False)),
        ({"a": "a", "b": "b", "c": "b"}, ("b", False)),
        ({"a": "a", "b": "b", "c": "a"}, ("", False)),  # b was the master once
        ({"a": "a", "b": "b"}, ("b", True)),
        ({"b": "b"}, ("b", True)),  # that it does not answer itself is no vote less
        ({"a": "b", "b": "b"}, ("b", True)),
        ({"b": "", "c": ""}, ("", False)),  # of another version
        ({"b": "c", "c": "c", "d": "b", "e": "b"}, ("b", False)),
    ],
)
def test_the_master_is_whom_most_take_for_it(
    masters: dict[str, str], found: tuple[str, bool]
) -> None:
    assert rival(masters, "a", {"a", "b", "c"}) == found


def test_what_a_node_that_is_no_candidate_says_of_itself_decides_nothing() -> None:
    for masters in ({"z": "z"}, {"b": "z", "z": "z", "c": "z"}, {"z": "nobody"}):
        assert rival(masters, "a", {"a", "b", "c"}) == ("", False)
