"""Where a repository is, as commands name it."""

from __future__ import annotations

from ganeti_gluster.core.backup.directory import DirectoryStore
from ganeti_gluster.core.backup.store import Store
from ganeti_gluster.errors import InvalidParameter
from ganeti_gluster.tools import systemd

#: What a worker's unit does not see, or has another of.
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp", "/dev")


def store(text: str) -> Store:
    """The store of a repository, which is not touched yet; raises `InvalidParameter`."""
    if not text.startswith("/"):
        raise InvalidParameter("repository %.200r: expected the path of a directory" % text)
    found = DirectoryStore(text.rstrip("/") or "/")
    for place in _HIDDEN:
        if found.name == place or found.name.startswith(place + "/"):
            raise InvalidParameter(
                "repository %s: a backup cannot write below %s" % (found.name, place),
                hint="use another directory, for example below /srv or /mnt",
            )
    return found


def unit_properties(text: str) -> list[str]:
    """What the unit of a worker needs to use this repository."""
    return [systemd.path_property("ReadWritePaths", store(text).name)]
