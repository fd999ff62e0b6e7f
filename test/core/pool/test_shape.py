"""Shapes of volumes: which there are, and which lose images."""

from __future__ import annotations

import pytest

from ganeti_gluster.core.pool.shape import Shape, whole_sets
from ganeti_gluster.errors import InvalidParameter


@pytest.mark.parametrize(
    ("asked", "words", "set_size"),
    [
        ({}, ["replica", "3"], 3),
        ({"replica": 3, "arbiter": 1}, ["replica", "3", "arbiter", "1"], 3),
        ({"replica": 2}, ["replica", "2"], 2),
        ({"replica": 1}, [], 1),
        ({"disperse": 3}, ["disperse", "3", "redundancy", "1"], 3),
        ({"disperse": 6, "redundancy": 2}, ["disperse", "6", "redundancy", "2"], 6),
    ],
)
def test_shapes_in_the_words_of_gluster(asked, words, set_size):
    shape = Shape.wanted(**asked)
    assert shape.words() == words
    assert shape.set_size == set_size


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"replica": 0}, "replica 0: it must be a number of copies"),
        ({"replica": 2, "arbiter": 1}, "arbiter 1 with replica 2: only one arbiter, with "),
        (
            {"arbiter": 2},
            "arbiter 2 with replica 3: only one arbiter, with replica 3, is possible",
        ),
        ({"redundancy": 1}, "redundancy belongs to a dispersed volume"),
        ({"disperse": 3, "replica": 3}, "a volume is either replicated or dispersed"),
        ({"disperse": 4, "redundancy": 2}, "disperse 4 with redundancy 2: it needs at least"),
        ({"disperse": 2}, "disperse 2 with redundancy 0: it needs at least 3 bricks"),
    ],
)
def test_shapes_that_there_are_not(asked, message):
    with pytest.raises(InvalidParameter) as caught:
        Shape.wanted(**asked)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("asked", "dangerous", "remarked"),
    [
        ({}, False, False),
        ({"arbiter": 1}, False, False),
        ({"replica": 2}, True, False),
        ({"replica": 1}, True, False),
        ({"disperse": 3}, False, True),
    ],
)
def test_shapes_that_lose_images_have_to_be_forced(asked, dangerous, remarked):
    shape = Shape.wanted(**asked)
    assert bool(shape.dangers()) == dangerous
    assert bool(shape.remarks()) == remarked


def test_nodes_that_make_no_whole_set_are_left_over():
    assert whole_sets(["a", "b", "c", "d"], Shape()) == (["a", "b", "c"], ["d"])
    assert whole_sets(["a", "b"], Shape()) == ([], ["a", "b"])
