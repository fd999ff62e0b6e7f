"""`gnt-gluster volume status`, through its own entry point."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
from types import SimpleNamespace

import pytest

from ganeti_gluster.constants import MIB
from ganeti_gluster.core.pool.steps import Step
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import GanetiGlusterError, VolumeUnreachable

from .conftest import Entry, raiser, refused


@pytest.fixture
def volumes(check: Entry) -> list[object]:
    """The volumes that groups use: gv0, for the master."""
    spec = VolumeSpec.from_params({"volume": "gv0", "host": "node1"})
    used = check.part("cmdlib.volumes").UsedVolume(spec, ["default"], 1, 2 * MIB)
    found: list[object] = [used]
    check.replace("cmdlib.volumes", find=lambda: list(found))
    volume = SimpleNamespace(space=lambda: SimpleNamespace(total=5 * MIB, free=3 * MIB))
    check.replace("cmdlib.volumes", connect=lambda spec: contextlib.nullcontext(volume))
    return found


def test_the_space_of_a_volume(check: Entry, volumes: list[object]) -> None:
    check("volume status", 0, out="gv0 node1:24007 default 5 2 3 1 2\n")
    (told,) = json.loads(check("volume status --json gv0", 0, out=None))
    assert (told["total"], told["used"], told["free"]) == (5 * MIB, 2 * MIB, 3 * MIB)


def test_volumes_that_nobody_uses(check: Entry, volumes: list[object]) -> None:
    said = refused("No node group uses the volume gv1, gv2", "unknown_entity")
    check("volume status gv2 gv0 gv1", 1, err=said)


def test_there_are_none(check: Entry, volumes: list[object]) -> None:
    volumes.clear()
    check("volume status", 0, err="No node group uses a volume\n")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (VolumeUnreachable("volume gv0 cannot be reached", volume="gv0"), "volume gv0 cannot be"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error\n"),
    ],
)
def test_a_volume_that_does_not_tell(
    check: Entry, volumes: list[object], error: Exception, said: str
) -> None:
    check.replace("cmdlib.volumes", connect=raiser(error))
    check("volume status", 1, out="gv0 node1:24007 default ? ? ? 1 2\n", err=said)
    (told,) = json.loads(check("volume status --json", 1, out=None))
    assert told["error"].startswith(said.strip())


@pytest.fixture
def heal(check: Entry) -> Entry:
    """A heal as it is on the master, where nobody else changes the pool."""
    check.be_master()
    check.replace(
        "cmdlib.pool_nodes",
        agents=lambda: None,
        exclusive=contextlib.nullcontext,
        logger=lambda: logging.getLogger("test"),
    )
    return check


def test_a_heal_is_started_and_waited_for(heal: Entry) -> None:
    healed: list[str] = []
    step = Step("volume gv0 healed", lambda: False, lambda: healed.append("gv0"))
    heal.replace("cmdlib.pool_heal", steps=lambda name, *others: [step])
    heal("volume heal gv0", 0, out="[1/1] volume gv0 healed: done")
    assert healed == ["gv0"]


def test_a_heal_of_what_is_no_volume(heal: Entry) -> None:
    heal("volume heal ../x", 1, err="Failure: volume name")
    heal.replace("cmdlib.pool_heal", steps=raiser(GanetiGlusterError("there is no volume gv1")))
    heal("volume heal gv1", 1, err="Failure: there is no volume gv1\n")
