"""Options of a volume against the profile."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from ganeti_gluster.core.pool import profile
from ganeti_gluster.tools.gluster_cli.volumes import parse_options

DATA = Path(__file__).parents[2] / "tools" / "gluster_cli" / "data"
REPLICATED = profile.options_for(replicated=True)
AS_WANTED = {option.name: option.value for option in REPLICATED}


def found(**changed):
    """The differences with some options changed; `_` stands for `.` and `-`."""
    actual = {**AS_WANTED}
    for name, value in changed.items():
        (full,) = [
            option for option in actual if option.replace(".", "_").replace("-", "_") == name
        ]
        actual[full] = value
    return profile.differences(REPLICATED, actual, copies=3)


def test_as_wanted_there_is_nothing_to_say():
    assert found() == []


@pytest.mark.parametrize(
    ("changed", "dangerous"),
    [
        ({"features_shard": "disable"}, True),
        ({"cluster_quorum_type": "none"}, True),
        ({"cluster_quorum_type": "fixed"}, True),
        ({"cluster_server_quorum_type": "off"}, True),
        ({"cluster_force_migration": "true"}, True),
        ({"cluster_favorite_child_policy": "mtime"}, True),
        ({"network_ping_timeout": "9"}, True),
        ({"network_ping_timeout": "42"}, False),
        ({"storage_reserve": "0"}, True),
        ({"client_strict_locks": "off"}, True),
        ({"storage_reserve": "1"}, False),
        ({"performance_quick_read": "on"}, False),
        ({"features_shard_block_size": "4MB"}, False),
        ({"cluster_heal_timeout": "600"}, False),
    ],
)
def test_another_value_is_told(changed, dangerous):
    (difference,) = found(**changed)
    assert difference.dangerous == dangerous


@pytest.mark.parametrize(
    "changed",
    [
        {"features_shard_block_size": "67108864"},
        {"performance_strict_o_direct": "enable"},
        {"cluster_granular_entry_heal": "on"},
        {"network_remote_dio": "off"},
        {"storage_reserve": "10"},
        {"storage_reserve": "5%"},
        {"client_event_threads": "8"},
        {"cluster_heal_timeout": "30"},
    ],
)
def test_the_same_in_other_words_or_more_of_it_is_right(changed):
    assert found(**changed) == []


def test_a_difference_is_one_sentence():
    (difference,) = found(storage_reserve="1")
    assert str(difference) == (
        "storage.reserve is 1, not at least 5: sharded images are corrupted when "
        "a brick is full (in per cent of the brick)"
    )


def test_a_difference_tells_which_way_a_number_may_differ():
    (difference,) = found(cluster_heal_timeout="600")
    assert str(difference).startswith("cluster.heal-timeout is 600, not at most 60: ")


def test_dangerous_ones_come_first():
    both = found(performance_quick_read="on", cluster_force_migration="on")
    assert [difference.dangerous for difference in both] == [True, False]


def test_an_unreplicated_volume_has_no_options_of_replication():
    names = {option.name for option in profile.options_for(replicated=False)}
    assert "features.shard" in names
    assert not {"cluster.quorum-type", "cluster.shd-max-threads"} & names


def test_images_belong_to_the_user_of_qemu():
    assert not [o for o in profile.options_for(replicated=True, owner=(0, 0)) if "owner" in o.name]
    owner = profile.options_for(replicated=True, owner=(107, 108))[-2:]
    assert profile.set_words(owner) == ["storage.owner-uid", "107", "storage.owner-gid", "108"]


@pytest.mark.parametrize(
    ("count", "copies", "dangerous"),
    [
        ("(null)", 3, True),
        ("0", 3, True),
        ("1", 3, True),
        ("2", 3, False),
        ("3", 3, False),
        ("1", 2, True),
        ("2", 2, False),
        ("2", 4, True),
    ],
)
def test_a_fixed_quorum_has_to_be_a_majority(count, copies, dangerous):
    actual = {
        **AS_WANTED,
        "cluster.quorum-type": "fixed",
        "cluster.quorum-count": count,
    }
    (difference,) = profile.differences(REPLICATED, actual, copies=copies)
    assert difference.dangerous == dangerous
    shown = "not set" if count in ("(null)", "0") else count
    assert str(difference).startswith(
        "cluster.quorum-type is fixed (cluster.quorum-count %s), not auto: " % shown
    )


def test_a_count_means_nothing_to_another_type_of_quorum():
    actual = {**AS_WANTED, "cluster.quorum-count": "1"}
    assert profile.differences(REPLICATED, actual, copies=3) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cluster.ensure-durability", "off"),
        ("cluster.halo-enabled", "True"),
        ("features.locks-revocation-secs", "1"),
        ("features.locks-revocation-max-blocked", "10"),
        ("features.locks-monkey-unlocking", "enable"),
        ("network.compression", "on"),
        ("rebalance.ensure-durability", "disable"),
    ],
)
def test_a_default_that_was_changed_is_dangerous(name, value):
    actual = {option.name: option.value for option in profile.DEFAULTS}
    assert profile.differences(profile.DEFAULTS, actual) == []
    (difference,) = profile.differences(profile.DEFAULTS, {**actual, name: value})
    assert difference.dangerous and difference.option.name == name


def test_each_danger_has_its_source():
    for option in (*profile.OPTIONS, *profile.DEFAULTS):
        assert bool(option.dangers) == bool(option.source), option.name


@pytest.mark.parametrize("version", ["10.3", "11.1"])
def test_the_defaults_are_as_glusterd_has_them(version):
    answer = ElementTree.fromstring((DATA / version / "volume-get.xml").read_text())
    actual = parse_options(answer)
    assert {option.name for option in profile.DEFAULTS} <= set(actual)
    assert profile.differences(profile.DEFAULTS, actual) == []


@pytest.mark.parametrize("version", ["10.3", "11.1"])
def test_glusterd_knows_every_option_by_this_name(version):
    # The volume has the group virt and a few of the options beyond it.
    answer = ElementTree.fromstring((DATA / version / "volume-get.xml").read_text())
    actual = parse_options(answer)
    assert set(AS_WANTED) <= set(actual)
    assert {difference.option.name for difference in profile.differences(REPLICATED, actual)} == {
        "client.strict-locks",
        "cluster.heal-timeout",
        "client.tcp-user-timeout",
        "performance.resync-failed-syncs-after-fsync",
        "storage.reserve",
    }
