"""The effective parameters of disk templates in each node group.

Ganeti's query merges them by template, not by parameter: if a group sets one parameter of a
template, the cluster's other parameters are missing from the answer, although they are effective
(Ganeti 3.0 and 3.1).
"""

from __future__ import annotations

from typing import Any

from ganeti import constants


def gluster(client: Any) -> dict[str, dict[str, Any]]:
    """The gluster template's parameters by the name of the node group."""
    defaults = constants.DISK_DT_DEFAULTS[constants.DT_GLUSTER]
    cluster = client.QueryClusterInfo()["diskparams"].get(constants.DT_GLUSTER, {})
    return {name: {**defaults, **cluster, **own} for name, own in gluster_own(client).items()}


def gluster_own(client: Any) -> dict[str, dict[str, Any]]:
    """Of those the ones that a group has for itself."""
    rows = client.QueryGroups([], ["name", "custom_diskparams"], False)
    return {name: (own or {}).get(constants.DT_GLUSTER, {}) for name, own in rows}
