"""What a node knows of its cluster by the files that Ganeti gives each node (ssconf).

They are read without Ganeti, which takes longer to load than most that is done here.
"""

from __future__ import annotations

import os
import socket

from ganeti_gluster import constants


def lines(name: str, directory: str = constants.GANETI_SSCONF_DIR) -> list[str]:
    """What is in one of them, a name each; nothing if there is no such file."""
    try:
        with open(os.path.join(directory, "ssconf_" + name), encoding="utf-8") as stream:
            return stream.read().split()
    except (FileNotFoundError, UnicodeDecodeError):
        return []


def in_cluster(directory: str = constants.GANETI_SSCONF_DIR) -> bool:
    """Whether this is a node of a cluster."""
    return bool(lines("master_node", directory))


def name(directory: str = constants.GANETI_SSCONF_DIR) -> str:
    """This node's name in the cluster, by the host's, which may be shorter."""
    host = socket.gethostname()
    known = lines("node_list", directory)
    if host in known:
        return host
    alike = [each for each in known if each.partition(".")[0] == host.partition(".")[0]]
    return alike[0] if len(alike) == 1 else socket.getfqdn()


def is_master(directory: str = constants.GANETI_SSCONF_DIR) -> bool:
    """Whether this node is the master, as far as it knows."""
    return lines("master_node", directory) == [name(directory)]
