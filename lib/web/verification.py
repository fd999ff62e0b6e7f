"""Results of verification and monitoring on the master, for the page."""

from __future__ import annotations

import json
import os

from ganeti_gluster.core.verify import last
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.monitoring.collect import VolumeUse
from ganeti_gluster.tools import decode
from ganeti_gluster.web import facts


def findings_facts() -> facts.Part:
    """What the last verification of the cluster found, and when."""
    when, findings = last.load()
    if when is None:
        raise GanetiGlusterError(
            "the cluster has not been verified yet", hint="run gnt-cluster verify"
        )
    return facts.Part(facts.FindingsFacts(findings), when)


def volumes_in_use(path: str) -> dict[str, VolumeUse]:
    """What the volumes hold by the agent's last report; nothing before the first one."""
    try:
        with open(path, encoding="utf-8") as stream:
            told = json.load(stream)["data"].get("volumes", ())
    except FileNotFoundError:
        return {}
    return {use.volume: use for use in (decode.build(VolumeUse, each) for each in told)}


def metrics_facts(path: str) -> facts.Part:
    """What the monitoring agent wrote last; which does so every minute."""
    try:
        with open(path, encoding="utf-8") as stream:
            return facts.Part(stream.read(), os.fstat(stream.fileno()).st_mtime)
    except FileNotFoundError:
        raise GanetiGlusterError(
            "nothing has been measured yet",
            hint="systemctl status ganeti-gluster-agent",
        ) from None
