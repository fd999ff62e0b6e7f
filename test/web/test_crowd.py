"""Who has to go when too many come."""

from __future__ import annotations

from ganeti_gluster.web.crowd import Crowd


def test_one_address_cannot_have_all() -> None:
    crowd: Crowd[int] = Crowd(per_address=2, in_all=10)
    assert [crowd.enter(number, "192.0.2.1") for number in (1, 2)] == [None, None]
    assert crowd.enter(3, "192.0.2.1") == 1
    assert crowd.enter(4, "192.0.2.2") is None
    assert len(crowd) == 3


def test_a_network_of_ipv6_is_one_address() -> None:
    crowd: Crowd[int] = Crowd(per_address=1)
    assert crowd.enter(1, "2001:db8::1") is None
    assert crowd.enter(2, "2001:db8::2") == 1
    assert crowd.enter(3, "::ffff:192.0.2.1") is None
    assert crowd.enter(4, "192.0.2.1") == 3


def test_who_begins_anew_is_not_the_oldest() -> None:
    crowd: Crowd[int] = Crowd(per_address=2)
    crowd.enter(1, "a")
    crowd.enter(2, "a")
    crowd.renew(1, "a")
    crowd.renew(9, "a")
    crowd.renew(9, "b")
    assert crowd.enter(3, "a") == 2


def test_who_has_most_gives_way_when_there_are_too_many_in_all() -> None:
    crowd: Crowd[int] = Crowd(per_address=3, in_all=4)
    for number, address in enumerate("aaab"):
        assert crowd.enter(number, address) is None
    assert crowd.enter(5, "c") == 0
    assert crowd.enter(6, "c") == 1
    assert len(crowd) == 4


def test_who_leaves_has_left_and_nothing_remains() -> None:
    crowd: Crowd[int] = Crowd(per_address=1, in_all=1)
    for address in ("a", "b", "a"):
        crowd.enter(1, address)
        crowd.leave(2, address)
        assert len(crowd) == 1
        crowd.leave(1, address)
        crowd.leave(1, address)
        assert len(crowd) == 0
    assert not crowd._open
    crowd.enter(1, "a")
    assert crowd.enter(2, "b") == 1
    crowd.leave(1, "a")
    assert len(crowd) == 1
