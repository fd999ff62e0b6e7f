"""Names and addresses of testbeds."""

from __future__ import annotations

import pytest

from testbedlib import TestbedError, layout


@pytest.mark.parametrize("name", ["testbed", "a", "check-54af653a", "a" * 20])
def test_a_good_name_is_taken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TESTBED_STATE", raising=False)
    assert layout.Layout(name).netns == "ggt-" + name


@pytest.mark.parametrize("name", ["", "A", "1a", "../x", "a b", "a/b", "a\n", "a" * 21])
def test_a_name_that_could_leave_its_directory_is_refused(name: str) -> None:
    with pytest.raises(TestbedError, match="testbed name"):
        layout.Layout(name)


def test_two_testbeds_share_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTBED_STATE", "/x")
    one, two = layout.Layout("one"), layout.Layout("two")
    assert str(one.directory) == "/x/one"
    for attribute in ("directory", "lock_file", "cgroup", "cgroup_mount", "netns_file"):
        assert getattr(one, attribute) != getattr(two, attribute)


def test_the_same_name_elsewhere_is_another_testbed(monkeypatch: pytest.MonkeyPatch) -> None:
    here = layout.Layout("one")
    names = set()
    for base in ("/x", "/y", layout.DEFAULT_STATE):
        monkeypatch.setenv("TESTBED_STATE", base)
        names |= {here.netns, here.cgroup.name}
    assert len(names) == 6


@pytest.fixture
def no_choice(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("SUITE", "QEMU"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("suite", "qemu", "chosen"),
    [
        (None, None, "trixie"),
        ("sid", None, "sid"),
        (None, "backports", "trixie+backports"),
        ("trixie", "backports", "trixie+backports"),
        ("trixie+backports", None, "trixie+backports"),
        ("trixie+backports", "backports", "trixie+backports"),
    ],
)
def test_suite_and_qemu_are_one_choice(
    suite: str | None, qemu: str | None, chosen: str, no_choice: pytest.MonkeyPatch
) -> None:
    assert layout.chosen_suite(suite, qemu) == chosen
    if suite:
        no_choice.setenv("SUITE", suite)
    if qemu:
        no_choice.setenv("QEMU", qemu)
    assert layout.chosen_suite() == chosen


def test_an_option_comes_before_the_environment(no_choice: pytest.MonkeyPatch) -> None:
    no_choice.setenv("SUITE", "bookworm")
    assert layout.chosen_suite("trixie") == "trixie"
    assert layout.chosen_suite("trixie", "backports") == "trixie+backports"


@pytest.mark.parametrize(
    ("suite", "qemu"), [("buster", None), ("bookworm", "backports"), ("trixie+", None)]
)
def test_a_suite_that_is_not_there_is_refused(
    suite: str, qemu: str | None, no_choice: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        TestbedError, match=r"it is one of trixie, trixie\+backports, bookworm, sid"
    ):
        layout.chosen_suite(suite, qemu)


@pytest.mark.parametrize("count", [0, -1, 10])
def test_a_count_of_nodes_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(TestbedError, match="1 to 9"):
        layout.node_names(count)


def test_every_node_has_an_address_of_its_own_in_the_hosts_file() -> None:
    lines = [line.split() for line in layout.hosts_file().splitlines()]
    assert ["192.0.2.11", "node1"] in lines
    assert ["192.0.2.2", "cluster1"] in lines
    addresses = [address for address, _ in lines]
    assert len(addresses) == len(set(addresses))
