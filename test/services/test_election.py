"""Which node counts as the master where nodes differ."""

from __future__ import annotations

import pytest

from ganeti_gluster.services.election import rival


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
    assert rival(masters, "a") == found
