"""How a volume's pool is to be kept, as tags of the Ganeti cluster.

Tags are in Ganeti's own configuration: on all master candidates, safe over a change of
master, and to be read on every node without asking anybody.  One tag a setting::

    gluster:pool:gv0:dir:/srv/gluster/bricks
    gluster:pool:gv0:device:/dev/vdb
    gluster:pool:gv0:node-add:join
    gluster:pool:gv0:group:default
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ganeti_gluster.errors import InvalidParameter
from ganeti_gluster.tools import names

PREFIX = "gluster:pool:"

#: What a node that is added to Ganeti's cluster becomes: nothing; a member of the pool
#: with the place for a brick; that, and bricks as soon as there are enough for a set.
OFF, JOIN, EXTEND = "off", "join", "join+extend"
NODE_ADD = (OFF, JOIN, EXTEND)

# Ganeti's own limits of a tag.
_TAG_LENGTH = 128
_TAG = re.compile(r"[\w.+*/:@-]+", re.ASCII)
_KEYS = {"dir": "directory", "device": "device", "node-add": "node_add", "group": "group"}


@dataclass(frozen=True)
class Settings:
    """Where bricks of `volume` are created on a node, and what node-add does.

    `device` is "" if the directory exists already; `group` is the node group whose nodes are used,
    "" for all.
    """

    volume: str
    directory: str
    device: str = ""
    node_add: str = JOIN
    group: str = ""

    def check(self) -> None:
        """Raise `InvalidParameter` for what nothing may be formatted or mounted by."""
        names.volume_name(self.volume)
        names.directory(self.directory)
        if self.device:
            names.device(self.device)

    def tags(self) -> list[str]:
        """As tags; raises `InvalidParameter` for what is not valid or does not go into one."""
        self.check()
        tags = []
        for key, name in _KEYS.items():
            value = getattr(self, name)
            tag = "%s%s:%s:%s" % (PREFIX, self.volume, key, value)
            if not value:
                continue
            if not _TAG.fullmatch(tag) or len(tag) > _TAG_LENGTH:
                raise InvalidParameter(
                    "%s %r: as a cluster tag it can only contain letters, digits and .+*/:@_-,"
                    " and at most %d characters including its name" % (key, value, _TAG_LENGTH)
                )
            tags.append(tag)
        return tags


def parse(tags: Iterable[str]) -> dict[str, Settings]:
    """The settings among a cluster's tags, by volume: only those that are valid.

    Anybody who may set tags has written them.  Tags that are not of this form are left
    alone, a volume without a directory as well, and an unknown node-add counts as off.
    """
    return {
        volume: settings
        for volume, settings in _read(tags).items()
        if isinstance(settings, Settings)
    }


def refused(tags: Iterable[str]) -> dict[str, str]:
    """Why nothing is done by the settings of some volumes, by volume."""
    return {volume: reason for volume, reason in _read(tags).items() if isinstance(reason, str)}


def _read(tags: Iterable[str]) -> dict[str, Settings | str]:
    """The settings of each volume, or what is wrong with them."""
    by_volume: dict[str, dict[str, list[str]]] = {}
    for tag in sorted(tags):
        if not tag.startswith(PREFIX):
            continue
        words = tag[len(PREFIX) :].split(":", 2)
        if len(words) == 3 and words[1] in _KEYS:
            by_volume.setdefault(words[0], {}).setdefault(words[1], []).append(words[2])
    return {
        volume: _settings(volume, values)
        for volume, values in by_volume.items()
        if "dir" in values
    }


def _settings(volume: str, values: dict[str, list[str]]) -> Settings | str:
    for key, several in values.items():
        if len(several) > 1:
            return "there are several tags for %s: %s" % (key, ", ".join(several))
    only = {_KEYS[key]: value for key, (value,) in values.items()}
    if only.get("node_add", JOIN) not in NODE_ADD:
        only["node_add"] = OFF
    settings = Settings(volume, **only)
    try:
        settings.check()
    except InvalidParameter as err:
        return str(err)
    return settings


def of_volume(tags: Iterable[str], volume: str) -> list[str]:
    """The tags among these that are settings of a volume."""
    return [tag for tag in tags if tag.startswith("%s%s:" % (PREFIX, volume))]
