"""What a hook is told of a move, and when it has nothing to say."""

from __future__ import annotations

from typing import Any

import pytest

from ganeti_gluster import command
from ganeti_gluster.cmdlib import move

ENV = {
    "GANETI_INSTANCE_NAME": "vm1",
    "GANETI_OLD_PRIMARY": "node1",
    "GANETI_NEW_PRIMARY": "node2",
    "GANETI_INSTANCE_HYPERVISOR": "kvm",
    "GANETI_INSTANCE_DISK0_DEV_TYPE": "gluster",
    "GANETI_INSTANCE_DISK0_ID": "ganeti/a.0",
    "GANETI_INSTANCE_DISK1_DEV_TYPE": "plain",
    "GANETI_INSTANCE_DISK1_ID": "lv",
    "GANETI_INSTANCE_DISK11_DEV_TYPE": "gluster",
    "GANETI_INSTANCE_DISK11_ID": "ganeti/a.11",
    "GANETI_INSTANCE_GLUSTER_HOST": "node1,node2",
    "GANETI_INSTANCE_GLUSTER_PORT": "24007",
    "GANETI_INSTANCE_GLUSTER_VOLUME": "gv0",
    "GANETI_INSTANCE_GLUSTER_VERSION": "0.1.0",
}


def test_the_environment_names_the_gluster_disks_and_their_volume() -> None:
    found = move.Move.from_env(ENV)
    assert (found.instance, found.old, found.new) == ("vm1", "node1", "node2")
    assert found.paths == {0: "ganeti/a.0", 11: "ganeti/a.11"}
    assert found.params["host"] == "node1,node2"
    assert found.params["volume"] == "gv0"
    assert found.version == "0.1.0"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        # QEMU 7.2 and 10.0 with the driver, and without qemu-block-extra
        ("qemu-img: Could not open 'driver=gluster': gluster: 'volume' missing\n", ""),
        (
            "qemu-img: Could not open 'driver=gluster': Unknown driver 'gluster'\n",
            "Could not open 'driver=gluster': Unknown driver 'gluster'",
        ),
    ],
)
def test_a_qemu_without_the_driver_is_known(
    monkeypatch: pytest.MonkeyPatch, said: str, expected: str
) -> None:
    def run(argv: Any, **options: Any) -> command.CommandResult:
        return command.CommandResult(tuple(argv), 1, "", said)

    monkeypatch.setattr(command, "run", run)
    assert move.qemu_problem() == expected
