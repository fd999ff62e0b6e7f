"""The hook of `gnt-cluster verify`.

It runs on every node of a group.  On the master it checks the whole cluster; on other nodes it
reports their own findings only if the master is not verified.  Ganeti shows a hook's output
only if it failed, in one line with its line ends escaped.  If the plugin is in the job
(`patches.cluster_verify`), which the environment shows, the hook passes the findings to it and
succeeds; otherwise it prints them, and fails for an ERROR.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
from collections.abc import Mapping

from ganeti import errors as ganeti_errors
from ganeti import ssconf

from ganeti_gluster.cmdlib import cluster_config, node_verify, verify
from ganeti_gluster.core.verify import expected_volumes
from ganeti_gluster.core.verify.finding import MARK, Finding, has_errors, ordered
from ganeti_gluster.errors import GanetiGlusterError, in_words
from ganeti_gluster.tools.decode import as_data


def main(environment: Mapping[str, str]) -> int:
    """Print what is wrong; 1 if one of it is an ERROR that nobody else shows, else 0."""
    logging.getLogger().addHandler(logging.handlers.SysLogHandler("/dev/log"))
    findings = ordered(_findings(environment))
    if expected_volumes.ENVIRONMENT in environment:
        print(MARK + json.dumps([as_data(finding) for finding in findings]))
        return 0
    for finding in findings:
        print(finding)
    return 1 if has_errors(findings) else 0


def _findings(environment: Mapping[str, str]) -> list[Finding]:
    """A check that breaks is a finding as well: it must neither be silent nor an error."""
    master, myself = ssconf.GetMasterAndMyself()
    try:
        params = _params(environment, myself)
        if master == myself:
            return _of_cluster(cluster_config.load())
        if params and not expected_volumes.master_looks(environment, master):
            return node_verify.local_findings(node_verify.local_facts(params))
    except (GanetiGlusterError, ganeti_errors.GenericError, OSError) as err:
        return [Finding.of("NOT_CHECKED", myself, in_words(err))]
    except Exception as err:
        logging.exception("ganeti-gluster: the hook of gnt-cluster verify failed")
        return [Finding.of("NOT_CHECKED", myself, "%s: %s" % (type(err).__name__, err))]
    return []


def _of_cluster(config: cluster_config.ClusterConfig) -> list[Finding]:
    if not config.used:  # no node has anything to tell
        return list(verify.provided(config))
    return verify.check_cluster(verify.look_at_cluster(config))


def _params(environment: Mapping[str, str], myself: str) -> list[dict[str, object]]:
    """The volumes this node should reach: from the environment, else the last ones given."""
    if expected_volumes.ENVIRONMENT not in environment:
        return expected_volumes.load(myself)
    params = expected_volumes.parse(environment[expected_volumes.ENVIRONMENT])
    expected_volumes.save(myself, params)
    return params
