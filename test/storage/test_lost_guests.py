"""Guests behind a block device of an image that another node has by now."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.core.serve import control
from ganeti_gluster.storage import lost_guests


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """A node with a lost and a served image at devices; what is killed is noted."""
    killed: list[tuple[int, int]] = []
    states = {"gv0-a": control.LOST, "gv0-b": control.SERVING, "gv0-c": control.LOST}
    devices = {"gv0-a": "/dev/loop7", "gv0-b": "/dev/loop8"}
    monkeypatch.setattr(
        lost_guests.fleet, "statuses", lambda: {key: {"state": s} for key, s in states.items()}
    )
    monkeypatch.setattr(lost_guests.files, "configured", lambda key: (key, ""))
    monkeypatch.setattr(
        lost_guests, "Export", lambda key, _: SimpleNamespace(device=lambda: devices.get(key))
    )
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((pid, number)))
    links, pids = tmp_path / "links", tmp_path / "pids"
    links.mkdir()
    pids.mkdir()
    for name, device in (("vm1:0", "loop7"), ("vm1:1", "loop9"), ("vm2:0", "loop8")):
        (links / name).symlink_to("/dev/" + device)
    monkeypatch.setattr(lost_guests, "LINKS", str(links))
    monkeypatch.setattr(lost_guests, "PIDS", str(pids))
    return SimpleNamespace(killed=killed, pids=pids)


def test_the_devices_of_lost_images(node: Any) -> None:
    assert list(lost_guests.lost_devices()) == ["/dev/loop7"]


def test_the_instances_on_a_device(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(lost_guests.instances_on("/dev/loop7")) == ["vm1"]
    assert list(lost_guests.instances_on("/dev/loop1")) == []
    monkeypatch.setattr(lost_guests, "LINKS", "/nowhere")
    assert list(lost_guests.instances_on("/dev/loop7")) == []


@pytest.mark.parametrize(
    ("text", "qemu", "ended"),
    [("%d\n", True, True), ("%d\n", False, False), ("", True, False), ("999999999", True, False)],
    ids=["running", "another's", "empty", "ended"],
)
def test_only_a_running_qemu_is_ended(
    node: Any, monkeypatch: pytest.MonkeyPatch, text: str, qemu: bool, ended: bool
) -> None:
    mine = os.getpid()
    (node.pids / "vm1").write_text(text % mine if "%" in text else text)
    if qemu:
        name = Path("/proc/%d/comm" % mine).read_text().strip()
        monkeypatch.setattr(lost_guests, "_QEMU", name)
    assert lost_guests.end() == (["vm1"] if ended else [])
    assert node.killed == ([(mine, signal.SIGKILL)] if ended else [])


def test_an_instance_without_a_process_is_left(node: Any) -> None:
    assert lost_guests.end() == []
