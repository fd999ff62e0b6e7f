"""A pool's settings as tags of the cluster."""

from __future__ import annotations

import pytest

from ganeti_gluster.errors import InvalidParameter
from ganeti_gluster.pool import settings
from ganeti_gluster.pool.settings import Settings

BOTH = [
    Settings("gv0", "/srv/gluster/bricks", "/dev/disk/by-id/scsi-0:0", "join+extend", "rack1"),
    Settings("gv-1", "/srv/b"),
]


def test_what_is_written_is_read():
    tags = [tag for one in BOTH for tag in one.tags()]
    assert "gluster:pool:gv0:node-add:join+extend" in tags
    assert settings.parse(["other", *tags]) == {one.volume: one for one in BOTH}


def test_tags_of_one_volume():
    tags = [tag for one in BOTH for tag in one.tags()]
    assert settings.of_volume(tags, "gv-1") == BOTH[1].tags()


@pytest.mark.parametrize("directory", ["/srv/with space", "/srv/" + "x" * 120, "/srv/ä"])
def test_what_no_tag_can_hold_is_refused(directory):
    with pytest.raises(InvalidParameter, match="as a tag of the cluster it can have letters"):
        Settings("gv0", directory).tags()


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        (["gluster:pool:gv0:node-add:join"], {}),
        (["gluster:pool:gv0"], {}),
        (["gluster:pool:gv0:colour:red", "gluster:pool:gv0:dir:/b"], {"gv0": "join"}),
        (["gluster:pool:gv0:node-add:rebalance", "gluster:pool:gv0:dir:/b"], {"gv0": "off"}),
    ],
)
def test_tags_by_other_hands(tags, found):
    assert {name: one.node_add for name, one in settings.parse(tags).items()} == found
