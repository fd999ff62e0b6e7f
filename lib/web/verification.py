"""Results of verification and monitoring on the master, for the page."""

from __future__ import annotations

import os

from ganeti_gluster.core.verify import last
from ganeti_gluster.errors import GanetiGlusterError
from ganeti_gluster.web import facts


def findings_facts() -> facts.Part:
    """What the last verification of the cluster found, and when."""
    when, findings = last.load()
    if when is None:
        raise GanetiGlusterError(
            "the cluster has not been verified yet", hint="run gnt-cluster verify"
        )
    return facts.Part(facts.FindingsFacts(findings), when)


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
