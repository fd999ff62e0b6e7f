"""Topologies from client graphs that real glusterds wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from ganeti_gluster.tools.gfapi import topology

DATA = Path(__file__).parent / "data"
VERSIONS = ("10.3", "11.1")


def parse(version, shape):
    return topology.parse((DATA / ("glusterfs-%s-%s.vol" % (version, shape))).read_text())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("shape", "subvolumes"),
    [
        ("replica3", [("replicate", 3, 2, 0)]),
        ("arbiter", [("replicate", 3, 1, 1)]),
        ("distribute", [("single", 1, 0, 0)] * 3),
        ("distrep", [("replicate", 3, 2, 0)] * 2),
        ("disperse", [("disperse", 3, 1, 0)]),
        ("sharded", [("replicate", 3, 2, 0)]),
    ],
)
def test_the_subvolumes(version, shape, subvolumes):
    found = parse(version, shape)
    assert found.volume == shape
    assert [
        (s.kind, len(s.bricks), s.redundancy, s.arbiters) for s in found.subvolumes
    ] == subvolumes
    assert found.distributed == (len(subvolumes) > 1)
    assert found.replicated == (subvolumes[0][0] == "replicate")
    assert found.dispersed == (subvolumes[0][0] == "disperse")
    assert found.sharded == (shape == "sharded")


def test_bricks_in_their_order_with_host_path_and_role():
    found = parse("11.1", "arbiter")
    assert [(b.name, b.host, b.path, b.arbiter) for b in found.bricks] == [
        ("arbiter-client-0", "10.78.0.1", "/srv/bricks/arb-1", False),
        ("arbiter-client-1", "10.78.0.1", "/srv/bricks/arb-2", False),
        ("arbiter-client-2", "10.78.0.1", "/srv/bricks/arb-3", True),
    ]


@pytest.mark.parametrize(
    ("option", "size"),
    [("", 64 << 20), ("32MB", 32 << 20), ("4194304", 4 << 20), ("1GB", 1 << 30), ("8k", 8192)],
)
def test_the_shard_size(option, size):
    text = (DATA / "glusterfs-11.1-sharded.vol").read_text()
    line = "    type features/shard\n"
    if option:
        text = text.replace(line, line + "    option shard-block-size %s\n" % option)
    assert topology.parse(text).shard_size == size


def test_options_may_be_empty_or_have_spaces_and_comments_are_skipped():
    text = (
        "# a comment\nvolume a\n type x/y\n option empty\n option words two words\n"
        " option last 1\nend-volume\n"
    )
    (found,) = topology.translators(text)
    assert found.options == {"empty": "", "words": "two words", "last": "1"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "volume a\n type cluster/replicate\n",
        "volume a\n type protocol/client\n subvolumes missing\nend-volume\n",
        "volume a\n type x\nend-volume\nvolume b\n type y\nend-volume\n",
        "volume a\n type x/y\nend-volume\n",
    ],
)
def test_what_is_no_graph_is_refused(text):
    with pytest.raises(ValueError):
        topology.parse(text)


def test_a_refusal_does_not_show_the_password():
    text = "volume a\n type protocol/client\n option password secret\n rubbish\nend-volume\n"
    with pytest.raises(ValueError) as caught:
        topology.parse(text)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
