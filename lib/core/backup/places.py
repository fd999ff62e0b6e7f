"""Where a repository is, as commands name it.

A directory is an absolute path, a volume `gluster://HOST[,HOST...]/VOLUME`, and a directory of
another host `sftp://[USER@]HOST[:PORT]/PATH`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ganeti_gluster import constants
from ganeti_gluster.core import this_node
from ganeti_gluster.core.backup.by_sftp import SftpStore
from ganeti_gluster.core.backup.directory import DirectoryStore
from ganeti_gluster.core.backup.on_volume import VolumeStore
from ganeti_gluster.core.backup.store import BackupStore
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import InvalidParameter
from ganeti_gluster.tools import names, systemd
from ganeti_gluster.tools.sftp import Sftp, argv

#: What a worker's unit does not see, or has another of.
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp", "/dev")
_GLUSTER, _SFTP = "gluster://", "sftp://"
_USER = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"
_KNOWN_HOSTS = "~/.ssh/known_hosts /etc/ssh/ssh_known_hosts " + constants.GANETI_KNOWN_HOSTS


def store(text: str) -> BackupStore:
    """The store of a repository, which is not touched yet; raises `InvalidParameter`."""
    if text.startswith(_GLUSTER):
        return VolumeStore(text, _spec(text))
    if text.startswith(_SFTP):
        return SftpStore(text, *_remote(text))
    if text.startswith("/"):
        return _directory(text)
    raise InvalidParameter(
        "repository %.200r: expected /DIRECTORY, gluster://SERVERS/VOLUME or"
        " sftp://[USER@]HOST[:PORT]/DIRECTORY" % text
    )


def unit_properties(text: str) -> list[str]:
    """What the unit of a worker needs to use this repository."""
    if text.startswith(_SFTP):
        # The keys of root.
        return ["ProtectHome=read-only"]
    if text.startswith("/"):
        return [systemd.path_property("ReadWritePaths", _directory(text).name)]
    return []


def _directory(text: str) -> DirectoryStore:
    found = DirectoryStore(text.rstrip("/") or "/")
    for place in _HIDDEN:
        if found.name == place or found.name.startswith(place + "/"):
            raise InvalidParameter(
                "repository %s: a backup cannot write below %s" % (found.name, place),
                hint="use another directory, for example below /srv or /mnt",
            )
    return found


def _spec(text: str) -> VolumeSpec:
    servers, slash, volume = text.removeprefix(_GLUSTER).partition("/")
    if not slash:
        raise InvalidParameter("repository %.200r: expected gluster://SERVERS/VOLUME" % text)
    return VolumeSpec.from_params({"host": servers, "volume": volume})


class _Remote(NamedTuple):
    connection: Sftp
    directory: str


def _remote(text: str) -> _Remote:
    whole, slash, path = text.removeprefix(_SFTP).partition("/")
    user, at, server = whole.rpartition("@")
    if not slash or not server or (at and not re.fullmatch(_USER, user)):
        raise InvalidParameter(
            "repository %.200r: expected sftp://[USER@]HOST[:PORT]/DIRECTORY" % text
        )
    spec = VolumeSpec.from_params({"host": server, "volume": "x", "port": 22})
    if len(spec.servers) != 1:
        raise InvalidParameter("repository %.200r: only one host is possible" % text)
    ((host, port),) = spec.servers
    options = ["UserKnownHostsFile=%s" % _KNOWN_HOSTS]
    if host in this_node.lines("node_list"):
        # Ganeti knows all of its nodes by one key.
        options += ["HostKeyAlias=%s" % name for name in this_node.lines("cluster_name")]
    given = port if ":" in server.rpartition("]")[2] else None
    command = argv(host, user=user, port=given, options=options)
    return _Remote(Sftp(host, command), names.directory("/" + path.rstrip("/")))
