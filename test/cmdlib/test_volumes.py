"""Volumes and disks, brought together."""

from __future__ import annotations

from ganeti_gluster.cmdlib.volumes import combine
from ganeti_gluster.core.verify.facts import Disk

GROUP_OF = {"n1": "default", "n2": "far"}


def disk(volume: str, node: str, size: int) -> Disk:
    return Disk("vm", 0, volume, "ganeti/x.0", size, node)


def test_parameters_that_share_a_server_mean_one_volume() -> None:
    params = {
        "default": [{"volume": "gv0", "host": "a,b"}, {"volume": "gv0", "host": "b,c"}],
        "far": [{"volume": "gv0", "host": "c"}],
    }
    (volume,) = combine(params, [], GROUP_OF)
    assert [server.host for server in volume.spec.servers] == ["a", "b", "c"]
    assert volume.groups == ["default", "far"]


def test_volumes_of_one_name_on_other_servers_are_two() -> None:
    params = {"default": [{"volume": "gv0", "host": "a"}], "far": [{"volume": "gv0", "host": "z"}]}
    disks = [disk("gv0", "n1", 10), disk("gv0", "n2", 1), disk("gv0", "n1", 5)]
    near, far = combine(params, disks, GROUP_OF)
    assert (near.groups, near.disks, near.provisioned) == (["default"], 2, 15)
    assert (far.groups, far.disks, far.provisioned) == (["far"], 1, 1)


def test_parameters_that_name_no_volume_are_none() -> None:
    assert combine({"default": [{"volume": "a/b", "host": "a"}]}, [], GROUP_OF) == []
