"""Which units of systemd are ours, and that the documentation has what each may do."""

from __future__ import annotations

from pathlib import Path

import pytest

from ganeti_gluster.core.backup import scheduled_unit
from ganeti_gluster.core.export import Export, nbd, unit
from ganeti_gluster.core.pool import packages
from ganeti_gluster.core.services import publish
from ganeti_gluster.core.snapshot import service
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.storage.snapshot_worker import PROGRAM
from ganeti_gluster.tools import systemd

from .exposure import ROOT, documented

LIB = ROOT / "lib"
SPEC = VolumeSpec.from_params({"volume": "gv0", "host": "node1"})
EXPORT = Export(SPEC, "ganeti/x.0")

#: The modules that start a unit, with the name that each gives one.
STARTED = {
    "core/backup/scheduled_unit.py": scheduled_unit.UNIT,
    "core/export/unit.py": EXPORT.unit.replace(EXPORT.key, "*"),
    "core/pool/packages.py": packages.UNIT,
    "core/services/publish.py": publish.HOOK_UNIT + "-*.service",
    "core/snapshot/service.py": service.unit("vm1").replace("vm1", "*"),
}
INSTALLED = {
    path.name.removeprefix("ganeti-gluster.")
    for path in (ROOT / "debian").glob("ganeti-gluster.*.service")
}
#: What no unit of ours may do without.
ALWAYS = {
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "NoNewPrivileges=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectSystem=strict",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "SystemCallArchitectures=native",
    "UMask=0077",
}
#: What each has, to its own measure.
SOME = {"CapabilityBoundingSet", "RestrictAddressFamilies", "ReadWritePaths", "SystemCallFilter"}


def test_the_documentation_has_every_unit_and_no_other() -> None:
    units = {name.partition(" ")[0] for name in documented()}
    assert units == INSTALLED | set(STARTED.values())


def test_units_are_started_by_these_modules_alone() -> None:
    texts = {str(path.relative_to(LIB)): path.read_text() for path in LIB.rglob("*.py")}
    assert {name for name, text in texts.items() if "run_argv(" in text} - {
        "tools/systemd.py"
    } == set(STARTED)
    for program in ("systemd-run", "systemctl", "systemd-escape", "journalctl"):
        assert {name for name, text in texts.items() if '"%s"' % program in text} == {
            "tools/systemd.py"
        }


def has(lines: set[str]) -> None:
    assert lines >= ALWAYS
    assert {line.partition("=")[0] for line in lines} >= SOME


@pytest.mark.parametrize("name", sorted(INSTALLED))
def test_an_installed_unit_is_closed_but_for_what_it_needs(name: str) -> None:
    text = Path(ROOT / "debian" / ("ganeti-gluster.%s" % name)).read_text()
    has(set(text.partition("[Service]")[2].splitlines()))


@pytest.mark.parametrize(
    "profile", ["SNAPSHOT_WORKER", "BACKUP_SCHEDULES", "LOOP_EXPORTER", "NBD_EXPORTER"]
)
def test_so_is_a_transient_one(profile: str) -> None:
    has(set(getattr(systemd, profile)))


def test_each_is_started_with_its_profile() -> None:
    assert set(systemd.SNAPSHOT_WORKER) <= {
        word.removeprefix("--property=") for word in service.worker_argv(PROGRAM, "vm1")
    }
    assert set(systemd.BACKUP_SCHEDULES) <= {
        word.removeprefix("--property=") for word in scheduled_unit.argv(())
    }
    assert set(systemd.LOOP_EXPORTER) <= set(unit.EXPORTER_PROPERTIES)
    assert set(systemd.NBD_EXPORTER) <= set(nbd.PROPERTIES)
