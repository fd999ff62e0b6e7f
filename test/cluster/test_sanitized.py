"""The server of images, built with the sanitizers, under its own tests."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .conftest import ROOT, Cluster

PROGRAM = "/usr/lib/ganeti-gluster/image-server"
BUILT = "/src/src/image-server-sanitized"
WORDS = ("AddressSanitizer", "LeakSanitizer", "runtime error")


@pytest.mark.slow
def test_no_memory_is_misused(cluster: Cluster) -> None:
    subprocess.run(["make", "-C", str(ROOT / "src"), "sanitized"], check=True, timeout=300)
    assert os.access(Path(ROOT, "src", "image-server-sanitized"), os.X_OK)
    node = "node2"
    cluster.run("mv", PROGRAM, PROGRAM + ".kept", node=node)
    try:
        cluster.run("install", "-m", "755", BUILT, PROGRAM, node=node)
        cluster.run(
            "mkdir", "-p", "/run/systemd/system/ganeti-gluster-image@.service.d", node=node
        )
        # The sanitizers map and unmap much, and say what they find on standard error.
        cluster.run(
            "sh",
            "-c",
            "printf '[Service]\\nMemoryDenyWriteExecute=no\\nSystemCallFilter=\\n"
            "Environment=ASAN_OPTIONS=detect_leaks=0\\n'"
            " > /run/systemd/system/ganeti-gluster-image@.service.d/sanitized.conf"
            " && systemctl daemon-reload",
            node=node,
        )
        argv = ["env", "GANETI_GLUSTER_INSTALLED=1", "PYTHONDONTWRITEBYTECODE=1"]
        argv += ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-q"]
        argv += ["-m", "not slow", "src/test/integration/test_serve.py"]
        cluster.run(*argv, node=node, max_seconds=900)
        told = cluster.run(
            "journalctl",
            "--no-pager",
            "--output=cat",
            "--unit",
            "ganeti-gluster-image@*",
            node=node,
        ).stdout
        assert not [line for line in told.splitlines() if any(word in line for word in WORDS)]
        assert "is back, opening the image again" in told
    finally:
        cluster.run("mv", PROGRAM + ".kept", PROGRAM, node=node)
        cluster.run(
            *("rm", "-rf", "/run/systemd/system/ganeti-gluster-image@.service.d"), node=node
        )
        cluster.run("systemctl", "daemon-reload", node=node)
