"""The names of the cluster's nodes, from the ssconf files that Ganeti writes on each node."""

from __future__ import annotations

from ganeti import netutils, ssconf


def every() -> list[str]:
    """All nodes of the cluster."""
    return list(ssconf.SimpleStore().GetNodeList())


def offline() -> list[str]:
    """Those that the administrator has marked as offline."""
    store = ssconf.SimpleStore()
    return sorted(set(store.GetNodeList()) - set(store.GetOnlineNodeList()))


def own() -> str:
    """This node's name in Ganeti, which need not be what the system calls itself."""
    for line in ssconf.SimpleStore().GetNodePrimaryIPList():
        name, address = line.split()
        if netutils.IPAddress.Own(address):
            return str(name)
    return str(netutils.Hostname.GetSysName())


def master() -> str:
    """The cluster's master, as far as this node knows."""
    return str(ssconf.SimpleStore().GetMasterNode())
