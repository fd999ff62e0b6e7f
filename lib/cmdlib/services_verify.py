"""The services' part of `gnt-cluster verify`."""

from __future__ import annotations

from collections.abc import Iterable

from ganeti_gluster.cmdlib import services
from ganeti_gluster.cmdlib.cluster_config import ClusterConfig
from ganeti_gluster.core.services import config, expected
from ganeti_gluster.core.verify.finding import Finding
from ganeti_gluster.errors import GanetiGlusterError


def findings(cluster: ClusterConfig) -> Iterable[Finding]:
    """Where services that are to be verified do not run; on the master, in some 10 s at most.

    Asks no node if none is to be verified.
    """
    try:
        configuration = config.load()
    except GanetiGlusterError as err:
        return [Finding.of("NOT_CHECKED", cluster.master, str(err))]
    found = list(expected.misnamed(cluster.master, configuration.types, cluster.nodes))
    types = [each for each in configuration.types if each.verify]
    if types:
        snapshot = services.fetch(types)
        for check in (expected.findings, expected.disabled):
            found += check(snapshot, types, offline=cluster.offline)
    return found
