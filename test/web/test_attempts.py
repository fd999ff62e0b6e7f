"""Limits that cannot be used to fill the memory, or to lock everybody out."""

from __future__ import annotations

import pytest

from ganeti_gluster.web.attempts import Attempts, network_of
from ganeti_gluster.web.sessions import Sessions


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8::1:2:3:4", "2001:db8::"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
    ],
)
def test_what_counts_as_one_address(address: str, network: str) -> None:
    assert network_of(address) == network


def test_counters_are_bounded() -> None:
    attempts = Attempts(clock=lambda: 0.0, max_counters=10)
    for number in range(100):
        attempts.failed("user%d" % number, "192.0.2.%d" % number)

    assert len(attempts._counters) == 10


def test_a_success_forgets_the_user_but_not_the_address() -> None:
    attempts = Attempts(clock=lambda: 0.0, user_limit=2, address_limit=3)
    for _ in range(2):
        attempts.failed("root", "192.0.2.1")
    assert attempts.wait("root", "192.0.2.1") > 0
    attempts.succeeded("root", "192.0.2.1")
    assert attempts.wait("root", "192.0.2.1") == 0
    attempts.failed("other", "192.0.2.1")

    assert attempts.wait("root", "192.0.2.1") > 0


def test_wrong_passwords_from_one_place_lock_nobody_out_elsewhere() -> None:
    attempts = Attempts(clock=lambda: 0.0, user_limit=10, address_limit=20)
    for _ in range(10):
        attempts.failed("root", "192.0.2.1")

    assert attempts.wait("root", "192.0.2.1") > 0
    assert attempts.wait("guest", "192.0.2.1") == 0
    assert attempts.wait("root", "192.0.2.2") == 0


def test_who_is_signed_in_counts_apart() -> None:
    attempts = Attempts(clock=lambda: 0.0, user_limit=10, address_limit=20)
    for number in range(30):
        attempts.failed("root" if number % 2 else "admin", "127.0.0.1", signed_in="guest")

    assert attempts.wait("root", "127.0.0.1", signed_in="guest") > 0
    assert attempts.wait("root", "127.0.0.1") == 0
    assert attempts.wait("root", "127.0.0.1", signed_in="admin") == 0


def test_sessions_are_bounded_for_each_user_and_in_all() -> None:
    sessions = Sessions(clock=lambda: 0.0, max_per_user=2, max_sessions=3)
    first = sessions.start("a", "")
    others = [sessions.start("a", "") for _ in range(2)]
    assert sessions.find(first) is None and len(sessions) == 2
    for user in "bc":
        sessions.start(user, "")

    assert len(sessions) == 3
    assert sessions.find(others[0]) is None and sessions.find(others[1]) is not None


def test_cookies_are_not_kept() -> None:
    sessions = Sessions(clock=lambda: 0.0)
    cookie = sessions.start("a", "")

    assert cookie not in repr(vars(sessions))
