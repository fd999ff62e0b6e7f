"""The monitoring agent of a node: collect data, and store it in files."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

from ganeti import errors, ssconf

from ganeti_gluster import constants
from ganeti_gluster.cmdlib import cluster_config, node_verify
from ganeti_gluster.core.snapshot import service
from ganeti_gluster.core.verify import last
from ganeti_gluster.core.verify.facts import Disk
from ganeti_gluster.monitoring import metrics, report
from ganeti_gluster.monitoring.collect import Collected, bricks_up, of_master
from ganeti_gluster.storage import lost_guests, operations, snapshot_worker
from ganeti_gluster.tools import private

#: Where the agent's timer leaves what it collected.
METRICS_FILE = constants.STATE_DIR + "/metrics.prom"
REPORT_FILE = constants.STATE_DIR + "/report.json"
#: Where Debian's prometheus-node-exporter takes metrics from, if it is installed.
TEXTFILE_DIR = "/var/lib/prometheus/node-exporter"
TEXTFILE = "ganeti-gluster.prom"

#: Seconds for which a file of the timer's is as good as a new look.
FRESH = 90.0


def collect() -> Collected:
    """Look at this node; takes some 40 s at most."""
    start = time.monotonic()
    facts = node_verify.local_facts()
    findings = node_verify.local_findings(facts) if facts.told else []
    master, myself = ssconf.GetMasterAndMyself()
    cluster: dict[str, Any] = {}
    if master == myself:
        split, profiles = of_master()
        verified, last_findings = last.load()
        cluster = {
            "split_brain": split,
            "profiles": profiles,
            "disks": _disks(),
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
        **cluster,
    )


def _disks() -> tuple[Disk, ...]:
    """The disks of all instances; none where the master daemon does not answer."""
    try:
        return cluster_config.load().disks
    except (errors.GenericError, OSError) as err:
        logging.warning("cannot list the disks of instances: %s", err)
        return ()


def exposition() -> str:
    """The metrics of this node in Prometheus's text format.

    What the timer left, if that is new, so that whoever asks often costs nothing.
    """
    try:
        if time.time() - os.stat(METRICS_FILE).st_mtime < FRESH:
            with open(METRICS_FILE, encoding="utf-8") as stream:
                return stream.read()
    except OSError:
        pass
    return metrics.exposition(metrics.families(collect()))


def write() -> Collected:
    """Collect, and replace the files, each as a whole.

    Ends guests whose image is lost, and clears up after snapshots that could not be.
    """
    lost_guests.end()
    service.clear_remains(snapshot_worker.PROGRAM)
    seen = collect()
    text = metrics.exposition(metrics.families(seen))
    private.write(METRICS_FILE, text)
    private.write_json(REPORT_FILE, report.report(seen))
    if os.path.isdir(TEXTFILE_DIR):
        # The exporter reads it as another user; it holds no secret.
        private.write(os.path.join(TEXTFILE_DIR, TEXTFILE), text, mode=0o644)
    return seen
