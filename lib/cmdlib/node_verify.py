"""A node's facts about itself: for the master's restricted command, the hook and the agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ganeti import constants as ganeti_constants
from ganeti import ssconf

from ganeti_gluster import constants
from ganeti_gluster.core.verify import here
from ganeti_gluster.core.verify.facts import NodeFacts
from ganeti_gluster.core.verify.finding import Finding
from ganeti_gluster.plugin_status import local_status
from ganeti_gluster.tools import private


def local_facts(params: Sequence[Mapping[str, Any]] | None = None) -> NodeFacts:
    """Check this node; `params` are the volumes to reach, by default the last ones given."""
    private.directory(constants.STATE_DIR)
    myself = ssconf.GetMasterAndMyself()[1]
    return here.facts(myself, local_status(), params)


def local_findings(facts: NodeFacts) -> list[Finding]:
    """What this node's own facts show to be wrong."""
    offline = ssconf.SimpleStore().ReadAll()[ganeti_constants.SS_OFFLINE_NODES].splitlines()
    return here.findings(facts, offline)
