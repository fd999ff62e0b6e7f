"""The monitoring agent of a node: collect data, and store it in files.

Ganeti is loaded only for what needs it: on the master for the disks of instances, and to find
out whose template this node has.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Any

from ganeti_gluster import constants
from ganeti_gluster.core import this_node
from ganeti_gluster.core.backup import due
from ganeti_gluster.core.pool import heal_watch
from ganeti_gluster.core.snapshot import service
from ganeti_gluster.core.verify import expected_volumes, here, last
from ganeti_gluster.core.verify.facts import Disk
from ganeti_gluster.core.verify.gather import VOLUMES
from ganeti_gluster.core.verify.keep import LONG, Keep
from ganeti_gluster.core.verify.stamps import of_file
from ganeti_gluster.monitoring import metrics, report
from ganeti_gluster.monitoring.collect import (
    Collected,
    bricks_up,
    of_master,
    services,
    volumes_in_use,
)
from ganeti_gluster.plugin_state import PluginState
from ganeti_gluster.storage import lost_guests, operations, snapshot_worker
from ganeti_gluster.tools import private

#: Where the agent leaves what it collected.
METRICS_FILE = constants.STATE_DIR + "/metrics.prom"
REPORT_FILE = constants.STATE_DIR + "/report.json"
#: Where Debian's prometheus-node-exporter takes metrics from, if it is installed.
TEXTFILE_DIR = "/var/lib/prometheus/node-exporter"
TEXTFILE = "ganeti-gluster.prom"

#: Ganeti's configuration, which the master has.
_CONFIGURATION = "/var/lib/ganeti/config.data"

#: Seconds for which a file of the agent's is as good as a new look.
FRESH = 90.0


def collect(keep: Keep | None = None) -> Collected:
    """Check this node; takes about 40 s at most.

    Previous results in `keep` are reused if nothing shows that they have changed.
    """
    keep = keep or Keep()
    start = time.monotonic()
    private.directory(constants.STATE_DIR)
    facts = here.facts(this_node.name(), plugin(keep), keep=keep)
    offline = this_node.lines("offline_nodes")
    findings = here.findings(facts, offline) if facts.told else []
    cluster: dict[str, Any] = {}
    if this_node.is_master():
        split, profiles = of_master(volumes=keep.value(VOLUMES))
        verified, last_findings = last.load()
        disks = (
            keep.get(
                "disks",
                of_file(_CONFIGURATION),
                _disks,
                seconds=LONG,
                keep=lambda found: found is not None,
            )
            or ()
        )
        cluster = {
            "split_brain": split,
            "profiles": profiles,
            "disks": disks,
            "volumes": volumes_in_use(expected_volumes.specs(facts.told), disks, keep),
            "services": services(),
            "backups": due.load().entries if os.path.exists(constants.BACKUP_CONF) else (),
            "verified": verified,
            "verified_findings": last_findings,
        }
    return Collected(
        facts=facts,
        findings=tuple(findings),
        time=time.time(),
        seconds=time.monotonic() - start,
        bricks_up=bricks_up(facts),
        operations=tuple(operations.read()),
        cluster=" ".join(this_node.lines("cluster_name")),
        **cluster,
    )


def plugin(keep: Keep) -> PluginState:
    """What registration came to here: for new processes, and in the node daemon that runs."""

    def look() -> PluginState:
        from ganeti_gluster.plugin_status import local_status  # loads all of Ganeti

        return local_status()

    files = (constants.NODED_PID_FILE, constants.NODED_STATE_FILE, constants.DISABLED_FILE)
    stamp = (*map(of_file, files), _noded_runs())
    return keep.get("plugin", stamp, look, seconds=LONG)


def _noded_runs() -> bool:
    try:
        with open(constants.NODED_PID_FILE, encoding="ascii") as stream:
            return os.path.exists("/proc/%d" % int(stream.read()))
    except (OSError, ValueError):
        return False


def _disks() -> tuple[Disk, ...] | None:
    """The disks of all instances; None if the master daemon does not answer."""
    from ganeti import errors

    from ganeti_gluster.cmdlib import cluster_config

    try:
        return cluster_config.load().disks
    except (errors.GenericError, OSError) as err:
        logging.warning("cannot list the disks of instances: %s", err)
        return None


def exposition() -> str:
    """The metrics of this node in Prometheus's text format.

    If the agent wrote them recently, these are returned, so that frequent requests cost nothing.
    """
    try:
        if time.time() - os.stat(METRICS_FILE).st_mtime < FRESH:
            with open(METRICS_FILE, encoding="utf-8") as stream:
                return stream.read()
    except OSError:
        pass
    return metrics.exposition(metrics.families(collect()))


def write(keep: Keep | None = None) -> Collected:
    """Collect, and replace the files, each as a whole.

    Ends guests whose image is lost, and clears up after snapshots that could not be.
    """
    clear_up()
    return write_files(collect(keep))


def clear_up() -> None:
    """End guests whose image is lost, and what is left of snapshots that could not be."""
    lost_guests.end()
    service.clear_remains(snapshot_worker.PROGRAM)


def write_files(seen: Collected) -> Collected:
    """Replace the files, each as a whole; note what the self-heal daemon lacks."""
    text = metrics.exposition(metrics.families(seen))
    private.write(METRICS_FILE, text)
    private.write_json(REPORT_FILE, report.report(seen))
    healer = seen.facts.self_heal
    heal_watch.note(healer is not None and healer.missing > 0, now=seen.time)
    if os.path.isdir(TEXTFILE_DIR):
        # The exporter reads it as another user; it holds no secret.
        private.write(os.path.join(TEXTFILE_DIR, TEXTFILE), text, mode=0o644)
    return seen
