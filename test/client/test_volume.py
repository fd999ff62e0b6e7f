"""`gnt-gluster volume status`, through its own entry point."""

from __future__ import annotations

import contextlib
import errno
import json
from types import SimpleNamespace

import pytest

from ganeti_gluster.constants import MIB
from ganeti_gluster.core.volume import VolumeSpec
from ganeti_gluster.errors import VolumeUnreachable

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
