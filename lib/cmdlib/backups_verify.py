"""The part of `gnt-cluster verify` that is about the schedules of backups."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial

from ganeti_gluster import constants
from ganeti_gluster.cmdlib import backup_schedule, cluster_config
from ganeti_gluster.cmdlib.cluster_config import ClusterConfig
from ganeti_gluster.core.backup import due, schedule
from ganeti_gluster.core.verify.finding import Finding
from ganeti_gluster.errors import GanetiGlusterError


def findings(cluster: ClusterConfig) -> Iterable[Finding]:
    """What schedules should have made and have not, as the master knows; asks nobody."""
    of = partial(Finding.of, "BACKUP_SCHEDULE", cluster.master, file=constants.BACKUP_CONF)
    try:
        config = schedule.load()
    except GanetiGlusterError as err:
        return [of(str(err))]
    if not config.schedules:
        return []
    known = backup_schedule.known(cluster_config.read())
    wanted = {
        (each.name, instance.member.name)
        for each in config.schedules
        for instance in backup_schedule.members(each, known)
    }
    entries = [e for e in due.load().entries if (e.schedule, e.instance) in wanted]
    return [
        *due.findings(entries, time.time()),
        *(
            of(problem)
            for each in config.schedules
            for problem in backup_schedule.unknown(each, known)
        ),
    ]
