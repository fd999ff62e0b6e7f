"""A pool's settings as tags of the cluster."""

from __future__ import annotations

import pytest

from ganeti_gluster.core.pool import settings
from ganeti_gluster.core.pool.settings import Settings
from ganeti_gluster.errors import InvalidParameter

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
    with pytest.raises(InvalidParameter, match="as a cluster tag it can only contain letters"):
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


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        (["dir:srv/b"], "directory 'srv/b': it is not an absolute path in normal form"),
        (["dir:/srv/../etc"], "directory '/srv/../etc': it is not an absolute path"),
        (["dir://srv"], "directory '//srv': it is not an absolute path in normal form"),
        (["dir:/"], "directory '/': it is the root of the file system"),
        (["dir:"], "directory '': it is empty"),
        (["dir:/b", "device:/srv/image"], "device '/srv/image': it is not below /dev"),
        (["dir:/b", "device:/dev/../srv/image"], "device '/dev/../srv/image': it is not an"),
        (["dir:/a", "dir:/b"], "there are several tags for dir: /a, /b"),
        (["dir:/b", "device:/dev/a", "device:/dev/b"], "there are several tags for device"),
    ],
)
def test_nothing_is_done_by_tags_that_are_not_valid(tags, reason):
    whole = ["gluster:pool:gv0:%s" % tag for tag in tags] + ["gluster:pool:gv1:dir:/b"]
    assert list(settings.parse(whole)) == ["gv1"]
    assert list(settings.refused(whole)) == ["gv0"]
    assert settings.refused(whole)["gv0"].startswith(reason)


@pytest.mark.parametrize("volume", ["..", "a/b", "-a", "all", ""])
def test_nothing_is_done_for_what_is_no_volume(volume):
    tags = ["gluster:pool:%s:dir:/b" % volume]
    assert settings.parse(tags) == {}
    assert settings.refused(tags)[volume].startswith("volume name ")


def test_what_is_not_valid_does_not_become_a_tag():
    with pytest.raises(InvalidParameter, match="device '/srv/x': it is not below /dev"):
        Settings("gv0", "/b", "/srv/x").tags()
