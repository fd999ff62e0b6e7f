"""What a volume tells is shown so that no terminal takes it for an order."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ganeti_gluster.core.volume import VolumeSpec

from .conftest import Person

EVIL = "x\x1b]0;owned\x07\ny"
SPEC = VolumeSpec.from_params({"volume": "gv0", "host": "node1"})


def test_the_attributes_of_an_image(
    client: Callable[[str], Any], person: Person, opts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = client("disk")
    told = {
        "instance": "vm1",
        "disk": 0,
        "uuid": "u",
        "volume": "gv0",
        "path": EVIL,
        "configured_size": 1,
        "size": 1,
        "allocated": 1,
        "mode": "0600",
        "owner": [0, 0],
        "info": EVIL,
        "state": EVIL,
        "open_on": "",
        "served": EVIL,
    }
    monkeypatch.setattr(disk.instance_disks, "find", lambda names: [told, {**told, "error": EVIL}])
    monkeypatch.setattr(disk, "describe", lambda found: found)
    monkeypatch.setattr(disk, "_ask_servers", lambda disks: None)
    assert disk.ShowInfo(opts, ["vm1"]) == 1
    assert len(person.shown) == 14
    assert [line for line in person.shown if not line.isprintable()] == []


def test_the_names_of_snapshots(
    client: Callable[[str], Any], person: Person, opts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = client("snapshot")
    each = {
        "instance": "vm1",
        "name": EVIL,
        "taken": 5.0,
        "complete": False,
        "allocated": 1,
        "disks": {},
    }
    snapshot._print_table(opts, [each])
    assert len(person.shown) == 1 and person.shown[0].isprintable()


def test_the_names_of_images_that_nobody_has(
    client: Callable[[str], Any], person: Person, opts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    orphans = client("orphans")
    image = SimpleNamespace(path=EVIL, size=1, allocated=1, mtime=0.0)
    found = SimpleNamespace(spec=SPEC, image=image, leftover=False, origin=EVIL)
    monkeypatch.setattr(orphans.cluster_config, "load", lambda: None)
    monkeypatch.setattr(orphans.orphans, "find", lambda config: ([found], 0))
    monkeypatch.setattr(orphans.orphans, "remove", lambda candidate: True)
    orphans.RemoveOrphans(opts, [])
    assert len(person.shown) == 2
    assert [line for line in person.shown if not line.isprintable()] == []
